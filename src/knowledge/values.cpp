#include "knowledge/values.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "knowledge/bits.hpp"
#include "knowledge/limits.hpp"

namespace nexus::knowledge {
namespace {

// The first byte of a column of values: its encoding, and kExceptions when some values stand apart.
enum class Encoding : std::uint8_t { kConstant, kRuns, kDecimal, kBinary, kXor, kRaw };
constexpr std::uint8_t kExceptions = 0x40;

constexpr unsigned kMaxDecimals = 12;
constexpr std::array<double, kMaxDecimals + 1> kPowers{1,   1e1, 1e2, 1e3,  1e4,  1e5, 1e6,
                                                       1e7, 1e8, 1e9, 1e10, 1e11, 1e12};

std::uint64_t bits_of(double value) noexcept {
  return std::bit_cast<std::uint64_t>(value);
}
double from_bits(std::uint64_t bits) noexcept {
  return std::bit_cast<double>(bits);
}

/// A column as integers times a power of ten or two, and the few values that are none.
struct Scaled {
  std::array<std::int64_t, kMaxRows> integers;
  std::array<std::uint16_t, kMaxRows> exceptions;  // rows
  std::size_t exception_count = 0;

  // An exception's integer is its predecessor's, which costs next to nothing.
  void except(std::size_t row) noexcept {
    integers[row] = row == 0 ? 0 : integers[row - 1];
    exceptions[exception_count++] = static_cast<std::uint16_t>(row);
  }
};

std::size_t allowed_exceptions(std::size_t rows) noexcept {
  return 1 + rows / 16;
}

/// Whether value is exactly integer / 10^decimals, and that integer.
bool as_decimal(double value, unsigned decimals, std::int64_t& integer) noexcept {
  constexpr double kRound = 0x1.8p52;  // adding and subtracting it rounds to an integer
  const double scaled = value * kPowers[decimals];
  if (!(std::fabs(scaled) < 0x1p51)) return false;
  const double rounded = (scaled + kRound) - kRound;
  integer = static_cast<std::int64_t>(rounded);
  return bits_of(static_cast<double>(integer) / kPowers[decimals]) == bits_of(value);
}

/// The number of decimals with which all but a few values are exact.
bool find_decimals(std::span<const double> values, unsigned& decimals) noexcept {
  std::size_t odd = 0;
  std::int64_t ignored = 0;
  decimals = 0;
  for (const double value : values) {
    unsigned wanted = decimals;
    while (wanted <= kMaxDecimals && !as_decimal(value, wanted, ignored)) ++wanted;
    if (wanted <= kMaxDecimals) {
      decimals = wanted;
    } else if (++odd > allowed_exceptions(values.size())) {
      return false;
    }
  }
  return true;
}

bool scale_decimal(std::span<const double> values, unsigned& decimals, Scaled& out) noexcept {
  if (!find_decimals(values, decimals)) return false;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (as_decimal(values[i], decimals, out.integers[i])) continue;
    out.except(i);
    if (out.exception_count > allowed_exceptions(values.size())) return false;
  }
  return true;
}

constexpr int kMaxBinary = 900;  // keeps 2^exponent and 2^-exponent normal

bool is_scalable(double value) noexcept {
  return value != 0 && std::fabs(value) > 0x1p-800 && std::fabs(value) < 0x1p800;
}

/// 2^exponent is the lowest bit that any value has; integers then have at most 61 bits.
bool find_exponent(std::span<const double> values, int& exponent) noexcept {
  int lowest = kMaxBinary;
  int highest = -kMaxBinary;
  for (const double value : values) {
    if (!is_scalable(value)) continue;
    const std::uint64_t bits = bits_of(value);
    const int power = static_cast<int>((bits >> 52) & 0x7ff) - 1023;
    const std::uint64_t mantissa = (bits & ((1ULL << 52) - 1)) | (1ULL << 52);
    lowest = std::min(lowest, power - 52 + std::countr_zero(mantissa));
    highest = std::max(highest, power);
  }
  exponent = lowest;
  return lowest < kMaxBinary && highest - lowest <= 60;
}

bool scale_binary(std::span<const double> values, int& exponent, Scaled& out) noexcept {
  if (!find_exponent(values, exponent)) return false;
  const double factor = from_bits(static_cast<std::uint64_t>(1023 - exponent) << 52);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (is_scalable(values[i]) || bits_of(values[i]) == 0) {
      out.integers[i] = static_cast<std::int64_t>(values[i] * factor);
      continue;
    }
    out.except(i);
    if (out.exception_count > allowed_exceptions(values.size())) return false;
  }
  return true;
}

std::uint8_t* put_head(std::uint8_t* to, Encoding encoding, bool exceptions = false) noexcept {
  *to = static_cast<std::uint8_t>(static_cast<std::uint8_t>(encoding) |
                                  (exceptions ? kExceptions : 0));
  return to + 1;
}

std::uint8_t* put_scaled(std::uint8_t* to, std::span<const double> values,
                         const Scaled& scaled) noexcept {
  if (scaled.exception_count > 0) {
    to = put_varint(to, scaled.exception_count);
    for (std::size_t i = 0; i < scaled.exception_count; ++i) {
      to = put_varint(to, scaled.exceptions[i]);
      to = put_fixed(to, bits_of(values[scaled.exceptions[i]]));
    }
  }
  return encode_integers({scaled.integers.data(), values.size()}, to);
}

std::uint8_t* encode_constant(double value, std::uint8_t* to) noexcept {
  std::int64_t integer = 0;
  to = put_head(to, Encoding::kConstant);
  for (unsigned decimals = 0; decimals <= kMaxDecimals; ++decimals) {
    if (!as_decimal(value, decimals, integer)) continue;
    *to++ = static_cast<std::uint8_t>(decimals);
    return put_varint(to, zigzag(integer));
  }
  *to++ = 0xff;
  return put_fixed(to, bits_of(value));
}

std::uint8_t* encode_runs(std::span<const double> values, std::uint8_t* to) noexcept {
  to = put_head(to, Encoding::kRuns);
  for (std::size_t i = 0; i < values.size();) {
    std::size_t length = 1;
    while (i + length < values.size() && bits_of(values[i + length]) == bits_of(values[i]))
      ++length;
    to = put_fixed(to, bits_of(values[i]));
    to = put_varint(to, length);
    i += length;
  }
  return to;
}

// After Gorilla (Pelkonen et al., VLDB 2015): the exclusive or with the predecessor, in the window
// of its predecessor's meaningful bits or in one of its own.
std::uint8_t* encode_xor(std::span<const double> values, std::uint8_t* to) noexcept {
  to = put_head(to, Encoding::kXor);
  std::uint64_t previous = bits_of(values[0]);
  to = put_fixed(to, previous);
  BitWriter bits(to);
  unsigned trailing = 64;
  unsigned length = 0;
  for (const double value : values.subspan(1)) {
    const std::uint64_t change = bits_of(value) ^ previous;
    previous = bits_of(value);
    if (change == 0) {
      bits.put(0, 1);
      continue;
    }
    const auto zeros = static_cast<unsigned>(std::countr_zero(change));
    const unsigned width = static_cast<unsigned>(std::bit_width(change)) - zeros;
    const bool fits = zeros >= trailing && zeros + width <= trailing + length;
    if (fits && length < width + 12) {
      bits.put(1, 2);
    } else {
      trailing = zeros;
      length = width;
      bits.put(3 | (trailing << 2) | ((length - 1) << 8), 14);
    }
    bits.put_wide(change >> trailing, length);
  }
  return bits.end();
}

std::uint8_t* encode_raw(std::span<const double> values, std::uint8_t* to) noexcept {
  to = put_head(to, Encoding::kRaw);
  std::memcpy(to, values.data(), values.size_bytes());
  return to + values.size_bytes();
}

void decode_constant(const std::uint8_t* from, std::span<double> values) noexcept {
  const unsigned decimals = *from++;
  const double value = decimals == 0xff
                           ? from_bits(get_fixed<std::uint64_t>(from))
                           : static_cast<double>(unzigzag(get_varint(from))) / kPowers[decimals];
  std::ranges::fill(values, value);
}

void decode_runs(const std::uint8_t* from, std::span<double> values) noexcept {
  for (std::size_t i = 0; i < values.size();) {
    const double value = from_bits(get_fixed<std::uint64_t>(from));
    const std::size_t length = std::min<std::size_t>(get_varint(from), values.size() - i);
    std::ranges::fill(values.subspan(i, length), value);
    i += length;
  }
}

void decode_xor(const std::uint8_t* from, std::span<double> values) noexcept {
  std::uint64_t value = get_fixed<std::uint64_t>(from);
  values[0] = from_bits(value);
  BitReader bits(from);
  unsigned trailing = 0;
  unsigned length = 0;
  for (double& out : values.subspan(1)) {
    if (bits.get(1) != 0) {
      if (bits.get(1) != 0) {
        trailing = static_cast<unsigned>(bits.get(6));
        length = static_cast<unsigned>(bits.get(6)) + 1;
      }
      value ^= bits.get_wide(length) << trailing;
    }
    out = from_bits(value);
  }
}

void decode_scaled(const std::uint8_t* from, bool has_exceptions, double multiplier, double divisor,
                   std::span<double> values) noexcept {
  const std::uint8_t* exceptions = from;
  if (has_exceptions) {
    for (std::uint64_t left = get_varint(from); left > 0; --left) {
      get_varint(from);
      from += sizeof(double);
    }
  }
  std::array<std::int64_t, kMaxRows> integers;
  decode_integers(from, {integers.data(), values.size()});
  if (divisor == 1) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<double>(integers[i]) * multiplier;
    }
  } else {
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<double>(integers[i]) / divisor;
    }
  }
  if (!has_exceptions) return;
  for (std::uint64_t left = get_varint(exceptions); left > 0; --left) {
    const std::uint64_t row = get_varint(exceptions);
    values[row] = from_bits(get_fixed<std::uint64_t>(exceptions));
  }
}

/// Tries the encodings that may be smaller than `end`; keeps the smallest at `to`.
std::uint8_t* keep_smaller(std::uint8_t* (*encode)(std::span<const double>, std::uint8_t*),
                           std::span<const double> values, std::uint8_t* to,
                           std::uint8_t* end) noexcept {
  std::uint8_t* other_end = encode(values, end);
  const std::ptrdiff_t size = other_end - end;
  if (size >= end - to) return end;
  std::memmove(to, end, static_cast<std::size_t>(size));
  return to + size;
}

std::uint8_t* encode_varying(std::span<const double> values, std::uint8_t* to) noexcept {
  Scaled scaled;
  unsigned decimals = 0;
  if (scale_decimal(values, decimals, scaled)) {
    std::uint8_t* at = put_head(to, Encoding::kDecimal, scaled.exception_count > 0);
    *at++ = static_cast<std::uint8_t>(decimals);
    return put_scaled(at, values, scaled);
  }
  int exponent = 0;
  scaled.exception_count = 0;
  std::uint8_t* end = nullptr;
  if (scale_binary(values, exponent, scaled)) {
    end = put_head(to, Encoding::kBinary, scaled.exception_count > 0);
    end = put_fixed(end, static_cast<std::int16_t>(exponent));
    end = put_scaled(end, values, scaled);
  } else {
    end = encode_raw(values, to);
  }
  end = keep_smaller(encode_xor, values, to, end);
  if (end - to > static_cast<std::ptrdiff_t>(values.size_bytes())) end = encode_raw(values, to);
  return end;
}

}  // namespace

std::uint8_t* encode_values(std::span<const double> values, std::uint8_t* to) noexcept {
  std::size_t runs = 1;
  for (std::size_t i = 1; i < values.size(); ++i) {
    runs += bits_of(values[i]) != bits_of(values[i - 1]) ? 1 : 0;
  }
  if (runs == 1) return encode_constant(values[0], to);
  std::uint8_t* end = encode_varying(values, to);
  const std::size_t least = 1 + runs * (sizeof(double) + 1);
  if (static_cast<std::size_t>(end - to) > least) end = keep_smaller(encode_runs, values, to, end);
  return end;
}

void decode_values(const std::uint8_t* from, std::span<double> values) noexcept {
  const std::uint8_t head = *from++;
  const bool exceptions = (head & kExceptions) != 0;
  switch (static_cast<Encoding>(head & 0x0f)) {
    case Encoding::kConstant:
      return decode_constant(from, values);
    case Encoding::kRuns:
      return decode_runs(from, values);
    case Encoding::kDecimal: {
      const double divisor = kPowers[std::min<unsigned>(*from++, kMaxDecimals)];
      return decode_scaled(from, exceptions, 1, divisor, values);
    }
    case Encoding::kBinary: {
      const int exponent = get_fixed<std::int16_t>(from);
      const double factor = from_bits(static_cast<std::uint64_t>(1023 + exponent) << 52);
      return decode_scaled(from, exceptions, factor, 1, values);
    }
    case Encoding::kXor:
      return decode_xor(from, values);
    case Encoding::kRaw:
      std::memcpy(values.data(), from, values.size_bytes());
      return;
  }
}

}  // namespace nexus::knowledge
