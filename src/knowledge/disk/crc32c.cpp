#include "knowledge/disk/crc32c.hpp"

#include <isa-l/crc.h>

#include <algorithm>
#include <array>

namespace nexus::knowledge::disk {
namespace {

constexpr std::array<std::uint32_t, 256> kTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t state = byte;
    for (int bit = 0; bit < 8; ++bit) state = state >> 1U ^ (state & 1U) * 0x82f63b78U;
    table[byte] = state;
  }
  return table;
}();

}  // namespace

std::uint32_t crc32c(Bytes bytes, std::uint32_t before) noexcept {
  constexpr std::size_t kMost = 1U << 30;  // the library counts in int
  std::uint32_t state = ~before;
  while (!bytes.empty()) {
    const Bytes part = bytes.first(std::min(bytes.size(), kMost));
    // The library only reads, and takes no pointer to const.
    state =
        crc32_iscsi(const_cast<unsigned char*>(part.data()), static_cast<int>(part.size()), state);
    bytes = bytes.subspan(part.size());
  }
  return ~state;
}

std::optional<std::size_t> flipped_bit(Bytes bytes, std::uint32_t checksum) noexcept {
  // The checksum is linear: what a bit changes depends on its place alone, from the end.
  const std::uint32_t wanted = crc32c(bytes) ^ checksum;
  std::array<std::uint32_t, 8> changes{};
  for (std::size_t bit = 0; bit < changes.size(); ++bit) changes[bit] = kTable[1U << bit];
  for (std::size_t byte = bytes.size(); byte-- > 0;) {
    for (std::size_t bit = 0; bit < changes.size(); ++bit) {
      std::uint32_t& change = changes[bit];
      if (change == wanted) return byte * 8 + bit;
      change = change >> 8U ^ kTable[change & 0xffU];
    }
  }
  return std::nullopt;
}

}  // namespace nexus::knowledge::disk
