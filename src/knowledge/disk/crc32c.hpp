// CRC32C (Castagnoli), the checksum of everything that the history has on disk.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace nexus::knowledge::disk {

using Bytes = std::span<const std::uint8_t>;

/// Of `bytes`, going on from the checksum of what stood before them.
[[nodiscard]] std::uint32_t crc32c(Bytes bytes, std::uint32_t before = 0) noexcept;

/// The one bit of `bytes` (8 * byte + bit) that has to be turned for them to have that checksum;
/// nothing when there is none. Of damage that is more than one bit, one in 2^29 / size is taken for
/// one bit.
[[nodiscard]] std::optional<std::size_t> flipped_bit(Bytes bytes, std::uint32_t checksum) noexcept;

}  // namespace nexus::knowledge::disk
