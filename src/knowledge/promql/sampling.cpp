#include "knowledge/promql/sampling.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <string>

namespace nexus::knowledge::promql {
namespace {

constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87ULL;
constexpr std::uint64_t kPrime2 = 0xC2B2AE3D27D4EB4FULL;
constexpr std::uint64_t kPrime3 = 0x165667B19E3779F9ULL;
constexpr std::uint64_t kPrime4 = 0x85EBCA77C2B2AE63ULL;
constexpr std::uint64_t kPrime5 = 0x27D4EB2F165667C5ULL;

/// Little-endian.
template <typename Word>
Word take(std::string_view& bytes) {
  Word word;
  std::memcpy(&word, bytes.data(), sizeof(word));
  static_assert(std::endian::native == std::endian::little);
  bytes.remove_prefix(sizeof(word));
  return word;
}

std::uint64_t mixed(std::uint64_t lane, std::uint64_t word) {
  return std::rotl(lane + word * kPrime2, 31) * kPrime1;
}

/// Each string behind its length: a byte, or 255 and three bytes.
void append(std::string& out, std::string_view text) {
  if (text.size() < 255) {
    out += static_cast<char>(text.size());
  } else {
    out += '\xff';
    for (unsigned shift = 0; shift < 24; shift += 8) {
      out += static_cast<char>((text.size() >> shift) & 0xffU);
    }
  }
  out += text;
}

}  // namespace

std::uint64_t xxh64(std::string_view bytes) noexcept {
  const std::uint64_t size = bytes.size();
  std::uint64_t hash = kPrime5;
  if (size >= 32) {
    std::array<std::uint64_t, 4> lanes = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
    while (bytes.size() >= 32) {
      for (std::uint64_t& lane : lanes) lane = mixed(lane, take<std::uint64_t>(bytes));
    }
    hash = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) +
           std::rotl(lanes[3], 18);
    for (const std::uint64_t lane : lanes) hash = (hash ^ mixed(0, lane)) * kPrime1 + kPrime4;
  }
  hash += size;
  while (bytes.size() >= 8) {
    hash = std::rotl(hash ^ mixed(0, take<std::uint64_t>(bytes)), 27) * kPrime1 + kPrime4;
  }
  if (bytes.size() >= 4) {
    hash = std::rotl(hash ^ take<std::uint32_t>(bytes) * kPrime1, 23) * kPrime2 + kPrime3;
  }
  while (!bytes.empty()) {
    hash = std::rotl(hash ^ take<std::uint8_t>(bytes) * kPrime5, 11) * kPrime1;
  }
  hash = (hash ^ (hash >> 33U)) * kPrime2;
  hash = (hash ^ (hash >> 29U)) * kPrime3;
  return hash ^ (hash >> 32U);
}

double place_of(const Labels& labels) {
  std::string bytes;
  for (const Label& label : labels) {
    append(bytes, label.name);
    append(bytes, label.value);
  }
  return static_cast<double>(xxh64(bytes)) / 0x1p64;
}

}  // namespace nexus::knowledge::promql
