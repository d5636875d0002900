// BitWriter, BitReader and varints over plain byte buffers, least significant bit first.
//
// Writers are given a buffer for the worst case and check nothing. Readers never leave their bytes,
// whatever these are: a ByteReader stops and says so; a BitReader needs kBitPadding readable bytes
// behind its own and tells at the end whether it was asked for more than there was. Thread safety:
// plain values.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

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

template <typename T>
std::uint8_t* put_fixed(std::uint8_t* to, T value) noexcept {
  std::memcpy(to, &value, sizeof value);
  return to + sizeof value;
}

using Bytes = std::span<const std::uint8_t>;

/// Numbers from bytes that may be anything. After a failure every number is 0.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) noexcept : at_(bytes.data()), end_(at_ + bytes.size()) {}

  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] Bytes rest() const noexcept { return {at_, end_}; }

  std::uint8_t get_byte() noexcept {
    if (at_ == end_) return fail();
    return *at_++;
  }
  std::uint64_t get_varint() noexcept {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint8_t byte = get_byte();
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return fail();
  }
  template <typename T>
  T get_fixed() noexcept {
    if (static_cast<std::size_t>(end_ - at_) < sizeof(T)) return fail();
    T value;
    std::memcpy(&value, at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  void skip(std::size_t count) noexcept {
    if (static_cast<std::size_t>(end_ - at_) < count) {
      fail();
    } else {
      at_ += count;
    }
  }

 private:
  std::uint8_t fail() noexcept {
    ok_ = false;
    at_ = end_;
    return 0;
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  bool ok_ = true;
};

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
  explicit BitReader(Bytes bytes) noexcept : from_(bytes.data()), size_(bytes.size()) {}

  /// At least 57 valid bits.
  [[nodiscard]] std::uint64_t peek() const noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, from_ + std::min(at_ >> 3, size_), sizeof word);
    return word >> (at_ & 7);
  }
  void skip(unsigned count) noexcept { at_ += count; }
  /// count <= 56.
  std::uint64_t get(unsigned count) noexcept {
    const std::uint64_t value = peek() & ((1ULL << count) - 1);
    at_ += count;
    return value;
  }
  /// The same while left() is not less.
  std::uint64_t get_unchecked(unsigned count) noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, from_ + (at_ >> 3), sizeof word);
    const std::uint64_t value = (word >> (at_ & 7)) & ((1ULL << count) - 1);
    at_ += count;
    return value;
  }
  /// Bits that were not read.
  [[nodiscard]] std::size_t left() const noexcept { return size_ * 8 - std::min(at_, size_ * 8); }
  /// count <= 64.
  std::uint64_t get_wide(unsigned count) noexcept {
    if (count <= 32) return get(count);
    const std::uint64_t low = get(32);
    return low | (get(count - 32) << 32);
  }
  /// Bytes that were begun.
  [[nodiscard]] std::size_t used() const noexcept { return (at_ + 7) >> 3; }
  /// Whether all that was read was there.
  [[nodiscard]] bool ok() const noexcept { return used() <= size_; }

 private:
  const std::uint8_t* from_;
  std::size_t size_;
  std::size_t at_ = 0;
};

}  // namespace nexus::knowledge
