#include "knowledge/integers.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "knowledge/ans.hpp"
#include "knowledge/limits.hpp"
#include "knowledge/rice.hpp"

namespace nexus::knowledge {
namespace {

using Residuals = std::array<std::uint64_t, kMaxBlockRows>;

constexpr unsigned kOrderMask = 3;  // 0: from the first value, 1: from the previous, 2: from the
                                    // line through two, 3: another column's steps
constexpr unsigned kOtherColumn = 3;
constexpr unsigned kUnsigned = 4;  // residuals are not negative
constexpr unsigned kBias = 8;
constexpr unsigned kParameterAt = 4;
constexpr unsigned kParameterMask = 63;
constexpr unsigned kAns = 63;  // in place of a Rice parameter
constexpr unsigned kShiftAt = 10;

/// Below that many values a table of frequencies takes more than it saves.
constexpr std::size_t kLeastForAns = 200;

unsigned bit_length(std::uint64_t value) noexcept {
  return static_cast<unsigned>(std::bit_width(value));
}

/// How residuals come from values: the difference of that order, less `bias`, with or without a
/// sign, in units of 2^shift.
struct Shape {
  unsigned order = 0;
  bool unsigned_ = false;
  std::uint64_t bias = 0;
  unsigned shift = 0;
};

void differences(std::span<const std::int64_t> values, Steps steps, unsigned order,
                 Residuals& out) noexcept {
  const auto at = [&](std::size_t i) { return static_cast<std::uint64_t>(values[i]); };
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (order == 0) {
      out[i] = at(i) - at(0);
    } else if (order == 2 && i > 1) {
      out[i] = at(i) - 2 * at(i - 1) + at(i - 2);
    } else {
      out[i] = at(i) - at(i - 1);
    }
    if (order == kOtherColumn) out[i] -= static_cast<std::uint64_t>(steps[i]);
  }
}

std::uint64_t residual(std::uint64_t difference, const Shape& shape) noexcept {
  const auto value = static_cast<std::int64_t>(difference - shape.bias);
  return shape.unsigned_ ? static_cast<std::uint64_t>(value) >> shape.shift
                         : zigzag(value >> shape.shift);
}

/// The zeros that all have at their end.
unsigned common_shift(std::span<const std::uint64_t> differences_, std::uint64_t bias) noexcept {
  std::uint64_t any = 0;
  for (const std::uint64_t difference : differences_) any |= difference - bias;
  return any == 0 ? 0 : static_cast<unsigned>(std::countr_zero(any));
}

// The sum of the residuals' lengths in bits: close to what the Rice code spends on them, up to a
// constant a row that is the same for all shapes.
std::uint64_t length_of(std::span<const std::uint64_t> differences_, const Shape& shape) noexcept {
  std::uint64_t lengths = 0;
  for (const std::uint64_t difference : differences_) {
    lengths += bit_length(residual(difference, shape));
  }
  return lengths;
}

std::uint64_t least_of(std::span<const std::uint64_t> differences_) noexcept {
  return *std::ranges::min_element(
      differences_, {}, [](std::uint64_t value) { return static_cast<std::int64_t>(value); });
}

/// Calls consider(shape, differences) for every shape worth a look.
void for_each_shape(std::span<const std::int64_t> values, Steps steps, Residuals& scratch,
                    const auto& consider) noexcept {
  const std::span<const std::uint64_t> used(scratch.data() + 1, values.size() - 1);
  if (!steps.empty()) {
    differences(values, steps, kOtherColumn, scratch);
    consider(Shape{kOtherColumn, false, 0}, used);
    return;
  }
  differences(values, steps, 1, scratch);
  consider(Shape{1, false, 0}, used);
  consider(Shape{1, true, least_of(used)}, used);
  const std::uint64_t span =
      static_cast<std::uint64_t>(values.back()) - static_cast<std::uint64_t>(values.front());
  const auto mean = static_cast<std::uint64_t>(static_cast<std::int64_t>(span) /
                                               static_cast<std::int64_t>(values.size() - 1));
  if (mean != 0) consider(Shape{1, false, mean}, used);
  differences(values, steps, 2, scratch);
  consider(Shape{2, false, 0}, used);
  differences(values, steps, 0, scratch);
  consider(Shape{0, true, least_of(used)}, used);
}

/// The shape whose residuals have the least bits.
Shape shape_for_rice(std::span<const std::int64_t> values, Steps steps) noexcept {
  Residuals scratch;
  Shape best;
  std::uint64_t best_length = ~0ULL;
  for_each_shape(values, steps, scratch,
                 [&](const Shape& shape, std::span<const std::uint64_t> used) {
                   const std::uint64_t length = length_of(used, shape);
                   if (length >= best_length) return;
                   best = shape;
                   best_length = length;
                 });
  return best;
}

struct AnsChoice {
  Shape shape;
  unsigned precision = 0;
  double bits = 1e300;
};

/// The shape that encode_ans() makes the least of.
AnsChoice shape_for_ans(std::span<const std::int64_t> values, Steps steps) noexcept {
  Residuals scratch;
  Residuals residuals;
  const std::span<std::uint64_t> made(residuals.data(), values.size() - 1);
  AnsChoice best;
  for_each_shape(values, steps, scratch, [&](Shape shape, std::span<const std::uint64_t> used) {
    shape.shift = common_shift(used, shape.bias);
    std::ranges::transform(used, made.begin(), [&](auto value) { return residual(value, shape); });
    unsigned precision = 0;
    const double bits = ans_cost(made, precision);
    if (bits < best.bits) best = {shape, precision, bits};
  });
  return best;
}

std::uint8_t* put_head(std::uint8_t* to, std::int64_t first, const Shape& shape,
                       unsigned parameter) noexcept {
  to = put_fixed(
      to, static_cast<std::uint16_t>(shape.order | (shape.unsigned_ ? kUnsigned : 0U) |
                                     (shape.bias != 0 ? kBias : 0U) | (parameter << kParameterAt) |
                                     (shape.shift << kShiftAt)));
  to = put_varint(to, zigzag(first));
  if (shape.bias != 0) to = put_varint(to, zigzag(static_cast<std::int64_t>(shape.bias)));
  return to;
}

/// Codes `differences_`, which become residuals.
std::uint8_t* put_rice(std::uint8_t* to, std::int64_t first, Shape shape,
                       std::span<std::uint64_t> differences_) noexcept {
  shape.shift = common_shift(differences_, shape.bias);
  for (std::uint64_t& value : differences_) value = residual(value, shape);
  const unsigned parameter = rice_parameter(differences_);
  to = put_head(to, first, shape, parameter);
  return encode_rice(differences_, parameter, to);
}

/// The same with the other code.
std::uint8_t* put_ans(std::uint8_t* to, std::int64_t first, const AnsChoice& choice,
                      std::span<std::uint64_t> differences_) noexcept {
  for (std::uint64_t& value : differences_) value = residual(value, choice.shape);
  to = put_head(to, first, choice.shape, kAns);
  return encode_ans(differences_, choice.precision, to);
}

/// Residuals become values.
void integrate(unsigned head, std::uint64_t first, std::uint64_t bias, Steps steps,
               std::span<std::int64_t> values) noexcept {
  const unsigned order = head & kOrderMask;
  const unsigned sign = (head & kUnsigned) == 0 ? 1 : 0;  // lowest bit of what is interleaved
  const unsigned shift = head >> kShiftAt;
  const auto step_of = [&](std::int64_t residual_) {
    const auto raw = static_cast<std::uint64_t>(residual_);
    return (((raw >> sign) ^ (0 - (raw & sign))) << shift) + bias;
  };
  std::uint64_t value = first;
  std::uint64_t slope = 0;
  values[0] = static_cast<std::int64_t>(first);
  const auto rest = values.subspan(1);
  switch (order) {
    case 0:
      for (auto& out : rest) out = static_cast<std::int64_t>(first + step_of(out));
      return;
    case 1:
      for (auto& out : rest) out = static_cast<std::int64_t>(value += step_of(out));
      return;
    case 2:
      for (auto& out : rest) out = static_cast<std::int64_t>(value += slope += step_of(out));
      return;
    default:
      for (std::size_t i = 0; i < rest.size(); ++i) {
        value += step_of(rest[i]) + static_cast<std::uint64_t>(steps[i + 1]);
        rest[i] = static_cast<std::int64_t>(value);
      }
  }
}

}  // namespace

std::uint8_t* encode_integers(std::span<const std::int64_t> values, Steps steps,
                              std::uint8_t* to) noexcept {
  if (values.size() == 1) {
    to = put_fixed<std::uint16_t>(to, 0);
    return put_varint(to, zigzag(values[0]));
  }
  Residuals scratch;
  const std::span<std::uint64_t> used(scratch.data() + 1, values.size() - 1);
  const Shape rice = shape_for_rice(values, steps);
  differences(values, steps, rice.order, scratch);
  std::uint8_t* const end = put_rice(to, values[0], rice, used);
  if (values.size() < kLeastForAns) return end;
  const AnsChoice ans = shape_for_ans(values, steps);
  if (ans.bits / 8 > static_cast<double>(end - to)) return end;
  differences(values, steps, ans.shape.order, scratch);
  std::uint8_t* const other_end = put_ans(end, values[0], ans, used);
  if (other_end - end >= end - to) return end;
  std::memmove(to, end, static_cast<std::size_t>(other_end - end));
  return to + (other_end - end);
}

bool decode_integers(Bytes from, Steps steps, std::span<std::int64_t> values) noexcept {
  ByteReader reader(from);
  const unsigned head = reader.get_fixed<std::uint16_t>();
  const auto first = static_cast<std::uint64_t>(unzigzag(reader.get_varint()));
  const std::uint64_t bias =
      (head & kBias) != 0 ? static_cast<std::uint64_t>(unzigzag(reader.get_varint())) : 0;
  if (!reader.ok() || values.empty()) return reader.ok();
  if ((head & kOrderMask) == kOtherColumn && steps.size() < values.size()) return false;
  const unsigned parameter = (head >> kParameterAt) & kParameterMask;
  // A signed integer may be looked at as the unsigned one of its size.
  const std::span residuals(reinterpret_cast<std::uint64_t*>(values.data()) + 1, values.size() - 1);
  if (parameter == kAns) {
    if (!decode_ans(reader.rest(), residuals)) return false;
  } else if (decode_rice(reader.rest(), parameter, residuals) > reader.rest().size()) {
    return false;
  }
  integrate(head, first, bias, steps, values);
  return true;
}

unsigned step_shift(std::span<const std::int64_t> values) noexcept {
  std::uint64_t any = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    any |= static_cast<std::uint64_t>(values[i]) - static_cast<std::uint64_t>(values[i - 1]);
  }
  return any == 0 ? 0 : static_cast<unsigned>(std::countr_zero(any));
}

void make_steps(const StepRule& rule, std::span<std::int64_t> values) noexcept {
  std::uint64_t previous = values.empty() ? 0 : static_cast<std::uint64_t>(values[0]);
  for (std::int64_t& value : values) {
    const auto here = static_cast<std::uint64_t>(value);
    const std::int64_t units = static_cast<std::int64_t>(here - previous) >> rule.right;
    const auto bits = static_cast<std::uint64_t>(units);
    const std::uint64_t step = (rule.negated ? 0 - bits : bits) << rule.left;
    value = static_cast<std::int64_t>(step);
    previous = here;
  }
}

}  // namespace nexus::knowledge
