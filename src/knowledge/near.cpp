#include "knowledge/near.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "knowledge/integers.hpp"
#include "knowledge/scale.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::uint8_t kMostDecimals = 12;
constexpr std::uint8_t kMultiple = 0xff;  // in place of decimals: first and unit follow
constexpr std::size_t kProbes = 32;
constexpr double kMostUnits = 0x1p51;

std::uint64_t bits_of(double value) noexcept {
  return std::bit_cast<std::uint64_t>(value);
}

double number_of(std::int64_t integer, const NearRule& rule) noexcept {
  if (rule.is_multiple) return rule.first + static_cast<double>(integer) * rule.unit;
  return value_of(integer, Scale{rule.decimals, false, 0});
}

struct Parts {
  std::int64_t integer = 0;
  std::int64_t offset = 0;
};

/// What is near no number is told by its offset from the one before.
Parts parts_of(double value, const NearRule& rule, double tens, std::int64_t before) noexcept {
  const double units = rule.is_multiple ? (value - rule.first) / rule.unit : value * tens;
  Parts parts{before, 0};
  if (std::fabs(units) < kMostUnits) parts.integer = static_cast<std::int64_t>(std::rint(units));
  parts.offset =
      static_cast<std::int64_t>(bits_of(value) - bits_of(number_of(parts.integer, rule)));
  return parts;
}

double tens_of(const NearRule& rule) noexcept {
  return std::pow(10, rule.decimals);
}

unsigned length_of(std::int64_t from, std::int64_t to) noexcept {
  const std::uint64_t step = static_cast<std::uint64_t>(to) - static_cast<std::uint64_t>(from);
  return static_cast<unsigned>(std::bit_width(zigzag(static_cast<std::int64_t>(step))));
}

/// Calls visit(value before, value) for some neighbours.
void for_each_probe(std::span<const double> values, const auto& visit) noexcept {
  const std::size_t stride = std::max<std::size_t>(1, (values.size() - 1) / kProbes);
  for (std::size_t i = 1; i < values.size(); i += stride) visit(values[i - 1], values[i]);
}

/// Bits of the steps between neighbours, as integers and offsets.
unsigned cost_of(std::span<const double> values, const NearRule& rule) noexcept {
  const double tens = tens_of(rule);
  unsigned bits = 0;
  for_each_probe(values, [&](double one, double other) {
    const Parts before = parts_of(one, rule, tens, 0);
    const Parts here = parts_of(other, rule, tens, before.integer);
    bits += length_of(before.integer, here.integer) + length_of(before.offset, here.offset);
  });
  return bits;
}

/// The same of the doubles' own bits.
unsigned cost_of_bits(std::span<const double> values) noexcept {
  unsigned bits = 0;
  for_each_probe(values, [&](double one, double other) {
    bits += length_of(static_cast<std::int64_t>(bits_of(one)),
                      static_cast<std::int64_t>(bits_of(other)));
  });
  return bits;
}

/// A number that is wrong by `error` at most.
struct Rough {
  double number = 0;
  double error = 0;
};

/// A step has to be so many times larger than what is not known of it: values that have nothing in
/// common come to a smaller one after two or three of them.
constexpr double kClear = 4096;

bool is_clear(const Rough& step) noexcept {
  return step.number > step.error * kClear;
}

/// The largest step of which both are multiples, after Euclid; none is clear where there is none.
Rough common_step(Rough step, Rough way) noexcept {
  while (is_clear(step)) {
    const double rest = std::fabs(std::remainder(way.number, step.number));
    const double times = std::rint(way.number / step.number);
    const double error = way.error + times * step.error;
    if (rest > 4 * error) {
      way = step;
      step = {rest, error};
      continue;
    }
    if (error * 8 > step.number) return {step.number, step.number};  // nobody can tell
    // The longer the way that is so many steps, the better known is the step.
    if (way.error < step.error * times) step = {way.number / times, way.error / times};
    break;
  }
  return step;
}

}  // namespace

double common_step(std::span<const double> values) noexcept {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::fabs(value));
  const double rounding = largest * 0x1p-50;  // four units in the last place
  if (!(rounding > 0) || !std::isfinite(largest)) return 0;
  Rough step;
  const auto add = [&](double way) {
    way = std::fabs(way);
    if (!(way > 4 * rounding)) return;  // NaN too
    step = step.number == 0 ? Rough{way, rounding} : common_step(step, {way, rounding});
  };
  for_each_probe(values, [&](double one, double other) { add(other - one); });
  for_each_probe(values, [&](double, double other) { add(other - values.front()); });
  return is_clear(step) ? step.number : 0;
}

void split_near(std::span<const double> values, Near& out) noexcept {
  unsigned best = ~0U;
  const auto consider = [&](const NearRule& rule) {
    const unsigned cost = cost_of(values, rule);
    if (cost >= best) return;
    best = cost;
    out.rule = rule;
  };
  for (std::uint8_t decimals = 0; decimals <= kMostDecimals; ++decimals) {
    consider({.decimals = decimals});
  }
  if (const double unit = common_step(values); unit > 0) {
    consider({.is_multiple = true, .first = values.front(), .unit = unit});
  }
  // Random mantissas take the same bits whichever way they are cut in two: they are not cut.
  if (best * 8 >= cost_of_bits(values) * 7) {
    out.rule = {};
    std::fill_n(out.integers.begin(), values.size(), 0);
    std::ranges::transform(values, out.offsets.begin(),
                           [](double value) { return static_cast<std::int64_t>(bits_of(value)); });
    return;
  }
  const double tens = tens_of(out.rule);
  std::int64_t before = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Parts parts = parts_of(values[i], out.rule, tens, before);
    before = out.integers[i] = parts.integer;
    out.offsets[i] = parts.offset;
  }
}

std::uint8_t* put_near(const Near& near, std::size_t count, std::uint8_t* to) noexcept {
  *to++ = near.rule.is_multiple ? kMultiple : near.rule.decimals;
  if (near.rule.is_multiple) {
    to = put_fixed(to, bits_of(near.rule.first));
    to = put_fixed(to, bits_of(near.rule.unit));
  }
  // The length of the offsets stands before them and is known after them.
  constexpr std::size_t kMostOfLength = 5;
  std::uint8_t* const offsets = to + kMostOfLength;
  const std::uint8_t* const end = encode_integers({near.offsets.data(), count}, {}, offsets);
  const auto size = static_cast<std::size_t>(end - offsets);
  to = put_varint(to, size);
  std::memmove(to, offsets, size);
  return encode_integers({near.integers.data(), count}, {}, to + size);
}

bool get_near(ByteReader& from, std::span<double> values) noexcept {
  NearRule rule;
  rule.decimals = from.get_byte();
  rule.is_multiple = rule.decimals == kMultiple;
  if (rule.is_multiple) {
    rule.first = std::bit_cast<double>(from.get_fixed<std::uint64_t>());
    rule.unit = std::bit_cast<double>(from.get_fixed<std::uint64_t>());
  }
  const std::uint64_t size = from.get_varint();
  if (!from.ok() || (!rule.is_multiple && rule.decimals > kMostDecimals) ||
      size > from.rest().size() || values.size() > kMaxBlockRows) {
    return false;
  }
  std::array<std::int64_t, kMaxBlockRows> offsets;
  std::array<std::int64_t, kMaxBlockRows> integers;
  const std::span<std::int64_t> used(integers.data(), values.size());
  const Bytes bytes = from.rest().first(static_cast<std::size_t>(size));
  if (!decode_integers(bytes, {}, {offsets.data(), values.size()})) return false;
  from.skip(static_cast<std::size_t>(size));
  if (!decode_integers(from.rest(), {}, used)) return false;
  if (rule.is_multiple) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = number_of(used[i], rule);
  } else {
    values_of(used, Scale{rule.decimals, false, 0}, values);
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = std::bit_cast<double>(bits_of(values[i]) + static_cast<std::uint64_t>(offsets[i]));
  }
  return true;
}

}  // namespace nexus::knowledge
