// CRC32C (Castagnoli), the checksum of everything that the history has on disk.
//
// Thread safety: a pure function.
#pragma once

#include <cstdint>
#include <span>

namespace nexus::knowledge::disk {

using Bytes = std::span<const std::uint8_t>;

/// Of `bytes`, going on from the checksum of what stood before them.
[[nodiscard]] std::uint32_t crc32c(Bytes bytes, std::uint32_t before = 0) noexcept;

}  // namespace nexus::knowledge::disk
