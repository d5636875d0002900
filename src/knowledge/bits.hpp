// BitWriter, BitReader and varints over plain byte buffers, least significant bit first.
//
// No bounds are checked: writers are given a buffer for the worst case, readers a buffer with
// kBitPadding readable bytes behind it. Thread safety: plain values.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace nexus::knowledge {

inline constexpr std::size_t kBitPadding = 8;

static_assert(std::endian::native == std::endian::little, "blocks are little-endian");

[[nodiscard]] constexpr std::uint64_t zigzag(std::int64_t value) noexcept {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
[[nodiscard]] constexpr std::int64_t unzigzag(std::uint64_t value) noexcept {
  return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

inline std::uint8_t* put_varint(std::uint8_t* to, std::uint64_t value) noexcept {
  for (; value >= 0x80; value >>= 7) *to++ = static_cast<std::uint8_t>(value | 0x80);
  *to++ = static_cast<std::uint8_t>(value);
  return to;
}
inline std::uint64_t get_varint(const std::uint8_t*& from) noexcept {
  std::uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    const std::uint8_t byte = *from++;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

template <typename T>
std::uint8_t* put_fixed(std::uint8_t* to, T value) noexcept {
  std::memcpy(to, &value, sizeof value);
  return to + sizeof value;
}
template <typename T>
T get_fixed(const std::uint8_t*& from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  from += sizeof value;
  return value;
}

class BitWriter {
 public:
  explicit BitWriter(std::uint8_t* to) noexcept : to_(to) {}

  /// `value` has no bits above `count`; count <= 56.
  void put(std::uint64_t value, unsigned count) noexcept {
    pending_ |= value << fill_;
    fill_ += count;
    std::memcpy(to_, &pending_, sizeof pending_);
    to_ += fill_ >> 3;
    pending_ >>= fill_ & 56;
    fill_ &= 7;
  }
  /// count <= 64.
  void put_wide(std::uint64_t value, unsigned count) noexcept {
    if (count > 32) {
      put(value & 0xffffffffU, 32);
      put(value >> 32, count - 32);
    } else {
      put(value, count);
    }
  }
  /// The end of what was written; the last byte is filled with zeros.
  [[nodiscard]] std::uint8_t* end() const noexcept { return to_ + (fill_ > 0 ? 1 : 0); }

 private:
  std::uint8_t* to_;
  std::uint64_t pending_ = 0;
  unsigned fill_ = 0;  // < 8 between calls
};

class BitReader {
 public:
  explicit BitReader(const std::uint8_t* from) noexcept : from_(from) {}

  /// At least 57 valid bits.
  [[nodiscard]] std::uint64_t peek() const noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, from_ + (at_ >> 3), sizeof word);
    return word >> (at_ & 7);
  }
  void skip(unsigned count) noexcept { at_ += count; }
  /// count <= 56.
  std::uint64_t get(unsigned count) noexcept {
    const std::uint64_t value = peek() & ((1ULL << count) - 1);
    at_ += count;
    return value;
  }
  /// count <= 64.
  std::uint64_t get_wide(unsigned count) noexcept {
    if (count <= 32) return get(count);
    const std::uint64_t low = get(32);
    return low | (get(count - 32) << 32);
  }

 private:
  const std::uint8_t* from_;
  std::size_t at_ = 0;
};

}  // namespace nexus::knowledge
