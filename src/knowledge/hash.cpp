#include "knowledge/hash.hpp"

#include <cstring>

#include "nexus/base/id.hpp"
#include "nexus/base/text.hpp"

namespace nexus::knowledge {
namespace {

__extension__ using Wide = unsigned __int128;

// Multiply to 128 bits and fold: the mixer of wyhash and its relatives.
std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

constexpr std::uint64_t kOdd1 = 0xa0761d6478bd642fULL;
constexpr std::uint64_t kOdd2 = 0xe7037ed1a0b428dbULL;

std::uint64_t load(const char* from, std::size_t bytes) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, from, bytes);
  return word;
}

}  // namespace

std::uint64_t hash_seed() noexcept {
  static const std::uint64_t seed = base::parse_uint(base::random_hex(8), 16).value_or(kOdd1);
  return seed;
}

std::uint64_t hash_bytes(std::string_view text, std::uint64_t seed) noexcept {
  std::uint64_t state = seed ^ kOdd1;
  const char* at = text.data();
  std::size_t left = text.size();
  for (; left >= 16; at += 16, left -= 16) {
    state = mix(load(at, 8) ^ kOdd2, load(at + 8, 8) ^ state);
  }
  std::uint64_t tail[2] = {0, 0};
  if (left > 8) {
    tail[0] = load(at, 8);
    tail[1] = load(at + 8, left - 8);
  } else if (left > 0) {
    tail[0] = load(at, left);
  }
  return mix(tail[0] ^ kOdd2 ^ text.size(), mix(tail[1] ^ kOdd1, state ^ kOdd2));
}

}  // namespace nexus::knowledge
