#include <algorithm>
#include <bit>
#include <cstring>

#include "knowledge/near.hpp"
#include "knowledge/scale.hpp"
#include "knowledge/values.hpp"
#include "knowledge/values_format.hpp"

namespace nexus::knowledge {
namespace {

std::uint64_t bits_of(double value) noexcept {
  return std::bit_cast<std::uint64_t>(value);
}

std::uint8_t* put_head(std::uint8_t* to, Encoding encoding, std::uint8_t flags = 0) noexcept {
  *to = static_cast<std::uint8_t>(static_cast<std::uint8_t>(encoding) | flags);
  return to + 1;
}

/// A column as it is predicted by another one.
struct Prediction {
  std::uint64_t distance = 0;  // in columns; 0: by none
  StepRule rule;
  Steps steps;
};

std::uint8_t* put_scaled(std::uint8_t* to, std::span<const double> values, const Scaled& scaled,
                         const Prediction& prediction) noexcept {
  const Encoding encoding = scaled.scale.is_binary ? Encoding::kBinary : Encoding::kDecimal;
  const auto flags = static_cast<std::uint8_t>((scaled.exception_count > 0 ? kExceptions : 0) |
                                               (prediction.distance > 0 ? kReference : 0));
  to = put_head(to, encoding, flags);
  if (prediction.distance > 0) {
    to = put_varint(to, (prediction.distance << 1) | (prediction.rule.negated ? 1 : 0));
    *to++ = prediction.rule.right;
    *to++ = prediction.rule.left;
  }
  if (scaled.scale.is_binary) {
    to = put_fixed(to, scaled.scale.exponent);
  } else {
    *to++ = scaled.scale.decimal;
  }
  if (scaled.exception_count > 0) {
    to = put_varint(to, scaled.exception_count);
    for (std::size_t i = 0; i < scaled.exception_count; ++i) {
      to = put_varint(to, scaled.exceptions[i]);
      to = put_fixed(to, bits_of(values[scaled.exceptions[i]]));
    }
  }
  return encode_integers({scaled.integers.data(), values.size()}, prediction.steps, to);
}

std::uint8_t* encode_constant(double value, std::uint8_t* to) noexcept {
  std::int64_t integer = 0;
  to = put_head(to, Encoding::kConstant);
  for (std::uint8_t decimals = 0; decimals <= kMaxConstantDecimals; ++decimals) {
    if (!as_decimal(value, decimals, integer)) continue;
    *to++ = decimals;
    return put_varint(to, zigzag(integer));
  }
  *to++ = kConstantBits;
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

std::uint8_t* encode_near(std::span<const double> values, std::uint8_t* to) noexcept {
  Near near;
  split_near(values, near);
  return put_near(near, values.size(), put_head(to, Encoding::kNear));
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

/// The column by its own past, or by an earlier column when that saves a tenth.
std::uint8_t* encode_scaled(std::span<const double> values, const Scaled& scaled,
                            std::uint32_t column, const References& references, std::uint8_t* to) {
  std::uint8_t* const end = put_scaled(to, values, scaled, {});
  if (values.size() < kLeastForReference) return end;
  const std::span<const std::int64_t> integers(scaled.integers.data(), values.size());
  const std::optional<Reference> reference = references.find(integers);
  if (reference) {
    const std::span<const std::int64_t> base = references.integers(reference->column);
    std::vector<std::int64_t> steps(base.begin(), base.end());
    make_steps(reference->rule, steps);
    std::uint8_t* const other_end =
        put_scaled(end, values, scaled, {column - reference->column, reference->rule, steps});
    if ((other_end - end) * 10 < (end - to) * 9) {
      std::memmove(to, end, static_cast<std::size_t>(other_end - end));
      return to + (other_end - end);
    }
  }
  return end;
}

/// The smallest encoding of a column that is not constant.
std::uint8_t* encode_varying(std::span<const double> values, std::size_t runs, std::uint32_t column,
                             const References& references, Scaled& scaled, std::uint8_t* to) {
  std::uint8_t* end = nullptr;
  if (scale_decimal(values, scaled)) {
    end = encode_scaled(values, scaled, column, references, to);
  } else {
    end = scale_binary(values, scaled) ? encode_scaled(values, scaled, column, references, to)
                                       : encode_raw(values, to);
    end = keep_smaller(encode_xor, values, to, end);
    if (end - to > static_cast<std::ptrdiff_t>(values.size_bytes())) end = encode_raw(values, to);
    if (values.size() >= kLeastForNear) end = keep_smaller(encode_near, values, to, end);
  }
  const std::size_t least = 1 + runs * (sizeof(double) + 1);
  if (static_cast<std::size_t>(end - to) > least) end = keep_smaller(encode_runs, values, to, end);
  return end;
}

/// Only what stands for itself, as integers, may predict others.
bool may_predict(std::uint8_t head) noexcept {
  const auto encoding = static_cast<Encoding>(head & kEncodingMask);
  return (encoding == Encoding::kDecimal || encoding == Encoding::kBinary) &&
         (head & kReference) == 0;
}

}  // namespace

std::uint8_t* encode_values(std::span<const double> values, std::uint32_t column,
                            References& references, std::uint8_t* to) {
  std::size_t runs = 1;
  for (std::size_t i = 1; i < values.size(); ++i) {
    runs += bits_of(values[i]) != bits_of(values[i - 1]) ? 1 : 0;
  }
  if (runs == 1) return encode_constant(values[0], to);
  Scaled scaled;
  std::uint8_t* const end = encode_varying(values, runs, column, references, scaled, to);
  if (values.size() >= kLeastForReference && may_predict(*to)) {
    references.keep(column, {scaled.integers.data(), values.size()});
  }
  return end;
}

}  // namespace nexus::knowledge
