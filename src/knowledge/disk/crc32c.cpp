#include "knowledge/disk/crc32c.hpp"

#include <isa-l/crc.h>

#include <algorithm>

namespace nexus::knowledge::disk {

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

}  // namespace nexus::knowledge::disk
