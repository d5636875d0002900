#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "knowledge/limits.hpp"
#include "knowledge/near.hpp"
#include "knowledge/scale.hpp"
#include "knowledge/values.hpp"
#include "knowledge/values_format.hpp"

namespace nexus::knowledge {
namespace {

double from_bits(std::uint64_t bits) noexcept {
  return std::bit_cast<double>(bits);
}

bool get_constant(ByteReader& from, double& value) noexcept {
  const std::uint8_t decimals = from.get_byte();
  if (decimals == kConstantBits) {
    value = from_bits(from.get_fixed<std::uint64_t>());
    return from.ok();
  }
  const Scale scale{decimals, false, 0};
  const std::int64_t integer = unzigzag(from.get_varint());
  if (!from.ok() || !is_valid(scale)) return false;
  value = value_of(integer, scale);
  return true;
}

/// Calls visit(value, first, end) for each run until `end` places are named.
bool for_each_run(ByteReader& from, std::size_t end, const auto& visit) noexcept {
  for (std::size_t i = 0; i < end;) {
    const double value = from_bits(from.get_fixed<std::uint64_t>());
    const std::uint64_t length = from.get_varint();
    if (!from.ok() || length == 0) return false;
    const std::size_t run_end =
        i + static_cast<std::size_t>(std::min<std::uint64_t>(length, end - i));
    visit(value, i, run_end);
    i = run_end;
  }
  return true;
}

bool decode_xor(ByteReader& from, std::span<double> values) noexcept {
  std::uint64_t value = from.get_fixed<std::uint64_t>();
  if (!from.ok() || values.empty()) return from.ok();
  values[0] = from_bits(value);
  BitReader bits(from.rest());
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
  return bits.ok();
}

/// What stands before the integers of a scaled column.
struct ScaledHead {
  Scale scale;
  StepRule rule;
  bool is_predicted = false;
  std::uint64_t exception_count = 0;
  ByteReader exceptions{Bytes()};
};

bool get_scaled_head(std::uint8_t head, ByteReader& from, ScaledHead& out) noexcept {
  out.is_predicted = (head & kReference) != 0;
  if (out.is_predicted) {
    out.rule.negated = (from.get_varint() & 1) != 0;
    out.rule.right = from.get_byte();
    out.rule.left = from.get_byte();
    if (out.rule.right > 63 || out.rule.left > 63) return false;
  }
  out.scale.is_binary = static_cast<Encoding>(head & kEncodingMask) == Encoding::kBinary;
  if (out.scale.is_binary) {
    out.scale.exponent = from.get_fixed<std::int16_t>();
  } else {
    out.scale.decimal = from.get_byte();
  }
  if ((head & kExceptions) != 0) {
    out.exception_count = from.get_varint();
    out.exceptions = from;
    for (std::uint64_t left = out.exception_count; left > 0 && from.ok(); --left) {
      from.get_varint();
      from.skip(sizeof(double));
    }
  }
  return from.ok() && is_valid(out.scale);
}

bool is_scaled(std::uint8_t head) noexcept {
  const auto encoding = static_cast<Encoding>(head & kEncodingMask);
  return encoding == Encoding::kDecimal || encoding == Encoding::kBinary;
}

/// The steps that the column `base` predicts.
bool get_steps(Bytes base, const StepRule& rule, std::span<std::int64_t> steps) noexcept {
  ByteReader from(base);
  const std::uint8_t head = from.get_byte();
  ScaledHead base_head;
  if (!from.ok() || !is_scaled(head) || (head & kReference) != 0) return false;
  if (!get_scaled_head(head, from, base_head)) return false;
  if (!decode_integers(from.rest(), {}, steps)) return false;
  make_steps(rule, steps);
  return true;
}

bool get_integers(const ScaledHead& head, ByteReader& from, Bytes base,
                  std::span<std::int64_t> integers) noexcept {
  if (!head.is_predicted) return decode_integers(from.rest(), {}, integers);
  std::array<std::int64_t, kMaxBlockRows> steps;
  const std::span<std::int64_t> used(steps.data(), integers.size());
  return get_steps(base, head.rule, used) && decode_integers(from.rest(), used, integers);
}

bool put_exceptions(ScaledHead& head, std::span<double> values) noexcept {
  for (std::uint64_t left = head.exception_count; left > 0; --left) {
    const std::uint64_t row = head.exceptions.get_varint();
    const auto bits = head.exceptions.get_fixed<std::uint64_t>();
    if (row < values.size()) values[row] = from_bits(bits);
  }
  return head.exceptions.ok();
}

bool decode_scaled(std::uint8_t first, ByteReader& from, Bytes base,
                   std::span<double> values) noexcept {
  ScaledHead head;
  if (!get_scaled_head(first, from, head)) return false;
  std::array<std::int64_t, kMaxBlockRows> integers;
  const std::span<std::int64_t> used(integers.data(), values.size());
  if (!get_integers(head, from, base, used)) return false;
  values_of(used, head.scale, values);
  return head.exception_count == 0 || put_exceptions(head, values);
}

/// Without making doubles: the order of integers is that of their values, and their sum is exact.
void aggregate_integers(std::span<const std::int64_t> integers, const Scale& scale,
                        Aggregate& to) noexcept {
  std::int64_t least = integers.front();
  std::int64_t most = least;
  std::int64_t high = 0;
  std::uint64_t low = 0;
  for (const std::int64_t integer : integers) {
    least = std::min(least, integer);
    most = std::max(most, integer);
    high += integer >> 32;
    low += static_cast<std::uint32_t>(integer);
  }
  const double sum = static_cast<double>(high) * 0x1p32 + static_cast<double>(low);
  to.add(value_of(least, scale), value_of(most, scale), scale_number(sum, scale),
         value_of(integers.back(), scale), integers.size());
}

void aggregate_doubles(std::span<const double> values, Aggregate& to) noexcept {
  for (const double value : values) to.add(value);
}

}  // namespace

std::uint64_t reference_of(Bytes from) noexcept {
  ByteReader reader(from);
  const std::uint8_t head = reader.get_byte();
  return is_scaled(head) && (head & kReference) != 0 ? reader.get_varint() >> 1 : 0;
}

bool decode_values(Bytes bytes, Bytes base, std::span<double> values) noexcept {
  ByteReader from(bytes);
  const std::uint8_t head = from.get_byte();
  if (!from.ok() || values.size() > kMaxBlockRows) return false;
  switch (static_cast<Encoding>(head & kEncodingMask)) {
    case Encoding::kConstant: {
      double value = 0;
      if (!get_constant(from, value)) return false;
      std::ranges::fill(values, value);
      return true;
    }
    case Encoding::kRuns:
      return for_each_run(from, values.size(), [&](double value, std::size_t i, std::size_t end) {
        std::ranges::fill(values.subspan(i, end - i), value);
      });
    case Encoding::kDecimal:
    case Encoding::kBinary:
      return decode_scaled(head, from, base, values);
    case Encoding::kXor:
      return decode_xor(from, values);
    case Encoding::kRaw:
      if (from.rest().size() < values.size_bytes()) return false;
      std::memcpy(values.data(), from.rest().data(), values.size_bytes());
      return true;
    case Encoding::kNear:
      return get_near(from, values);
  }
  return false;
}

bool aggregate_values(Bytes bytes, Bytes base, std::size_t first, std::size_t end,
                      Aggregate& to) noexcept {
  ByteReader from(bytes);
  const std::uint8_t head = from.get_byte();
  if (!from.ok() || end > kMaxBlockRows) return false;
  if (first >= end) return true;
  switch (static_cast<Encoding>(head & kEncodingMask)) {
    case Encoding::kConstant: {
      double value = 0;
      if (!get_constant(from, value)) return false;
      to.add(value, end - first);
      return true;
    }
    case Encoding::kRuns:
      return for_each_run(from, end, [&](double value, std::size_t i, std::size_t run_end) {
        if (run_end > first) to.add(value, run_end - std::max(i, first));
      });
    default:
      break;
  }
  if (is_scaled(head) && (head & kExceptions) == 0) {
    ScaledHead scaled;
    if (!get_scaled_head(head, from, scaled)) return false;
    std::array<std::int64_t, kMaxBlockRows> integers;
    if (!get_integers(scaled, from, base, {integers.data(), end})) return false;
    aggregate_integers({integers.data() + first, end - first}, scaled.scale, to);
    return true;
  }
  std::array<double, kMaxBlockRows> values;
  if (!decode_values(bytes, base, {values.data(), end})) return false;
  aggregate_doubles({values.data() + first, end - first}, to);
  return true;
}

}  // namespace nexus::knowledge
