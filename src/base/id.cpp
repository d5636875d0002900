#include "nexus/base/id.hpp"

#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::base {
namespace {

void fill_random(std::span<std::uint8_t> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto got = getrandom(out.data() + done, out.size() - done, 0);
    if (got > 0) done += static_cast<std::size_t>(got);
  }
}

/// RFC 9562 section 6.2, method 1: what is made within one millisecond is counted, in 26 bits that
/// begin anywhere in their lower half: 33 million ids before they could come round.
class Counter {
 public:
  static constexpr std::uint32_t kSeedMask = 0x1FFFFFFU;

  std::uint32_t next(std::uint64_t millis, std::uint32_t seed) {
    const std::lock_guard guard(mutex_);
    if (millis != millis_) {
      millis_ = millis;
      count_ = seed & kSeedMask;
      return count_;
    }
    return ++count_;
  }

 private:
  std::mutex mutex_;
  std::uint64_t millis_ = 0;
  std::uint32_t count_ = 0;
};

constinit Counter counter;

}  // namespace

std::string make_id(WallTime now) {
  std::array<std::uint8_t, 16> bytes;
  fill_random(bytes);
  const auto millis = static_cast<std::uint64_t>(to_unix_millis(now));
  std::uint32_t seed = 0;
  for (std::size_t i = 6; i < 10; ++i) seed = seed << 8U | bytes[i];
  const auto count = counter.next(millis, seed);
  for (std::size_t i = 0; i < 6; ++i) bytes[i] = static_cast<std::uint8_t>(millis >> (40 - 8 * i));
  bytes[6] = static_cast<std::uint8_t>(0x70U | (count >> 22U & 0x0FU));
  bytes[7] = static_cast<std::uint8_t>(count >> 14U);
  bytes[8] = static_cast<std::uint8_t>(0x80U | (count >> 8U & 0x3FU));
  bytes[9] = static_cast<std::uint8_t>(count);
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    fmt::format_to(std::back_inserter(out), "{:02x}", bytes[i]);
  }
  return out;
}

bool is_id(std::string_view text) noexcept {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return true;
}

std::string random_hex(std::size_t bytes) {
  std::vector<std::uint8_t> buffer(bytes);
  fill_random(buffer);
  return fmt::format("{:02x}", fmt::join(buffer, ""));
}

}  // namespace nexus::base
