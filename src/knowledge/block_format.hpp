// What a block's bytes are; see README.md. Only the builder and the view know it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nexus::knowledge {

inline constexpr std::uint32_t kBlockMagic = 0x0042584e;  // "NXB", then the version
inline constexpr std::uint32_t kBlockMagicMask = 0x00ffffff;
/// 2 brought dense times and values near decimals. Blocks of version 1 are read as well.
inline constexpr std::uint32_t kBlockVersion = 2;
inline constexpr std::uint32_t kFirstBlockVersion = 1;

/// In place of the width of a deviation: a u16, and so many bytes of dense_times.hpp.
inline constexpr std::uint8_t kDenseTimes = 16;

struct BlockHeader {
  std::uint32_t magic = kBlockMagic | (kBlockVersion << 24);
  std::uint32_t size = 0;  // of the whole block
  std::int64_t first_time = 0;
  std::int64_t last_time = 0;
  std::uint64_t samples = 0;
  std::uint32_t columns = 0;
  std::uint32_t ids_size = 0;
  std::uint32_t lengths_size = 0;
  std::uint16_t rows = 0;
  std::uint8_t time_width = 0;
  std::uint8_t reserved = 0;  // 0
};
static_assert(sizeof(BlockHeader) == 48, "the header is written as it is");

/// Finding a column adds up to this many lengths.
inline constexpr std::uint32_t kStride = 32;
struct Stride {
  std::uint32_t data = 0;     // where the column begins
  std::uint32_t lengths = 0;  // where its length does
};

inline constexpr std::uint8_t kSomeRows = 0x80;  // in a column's first byte: presence follows it

/// Strides of so many columns; the first column needs none.
[[nodiscard]] constexpr std::size_t stride_count(std::uint32_t columns) noexcept {
  return columns == 0 ? 0 : (columns - 1) / kStride;
}

}  // namespace nexus::knowledge
