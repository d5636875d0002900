#include "nexus/knowledge/queryable.hpp"

#include <bit>

namespace nexus::knowledge {
namespace {
constexpr std::uint64_t kStaleBits = 0x7ff0000000000002ULL;  // as in Prometheus's value.StaleNaN
}

double stale_marker() noexcept {
  return std::bit_cast<double>(kStaleBits);
}

bool is_stale_marker(double value) noexcept {
  return std::bit_cast<std::uint64_t>(value) == kStaleBits;
}

}  // namespace nexus::knowledge
