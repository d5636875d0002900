#include "knowledge/promql/exact_sums.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "knowledge/promql/lanes.hpp"

namespace nexus::knowledge::promql {
namespace {

constexpr std::uint64_t kMostUnits = 1ULL << 53;  // a double holds all integers below
constexpr int kMostExponent = 300;
constexpr std::int64_t kMostSeconds = 1LL << 20;  // of times: sums of squares fit in 63 bits

/// The exponent of the lowest bit that is set in a number that is not zero.
int lowest_bit(double value) noexcept {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const auto power = static_cast<int>((bits >> 52) & 0x7ff) - 1023;
  const std::uint64_t mantissa = (bits & ((1ULL << 52) - 1)) | (1ULL << 52);
  return power - 52 + std::countr_zero(mantissa);
}

double two_to(int exponent) noexcept {
  return std::bit_cast<double>(static_cast<std::uint64_t>(1023 + exponent) << 52);
}

/// The greatest power of two that all are multiples of and whose sizes add up to less than 2^53 of
/// it; nothing when there is none. Most numbers that are none say so after two of them.
std::optional<int> unit_of(std::span<const double> values) noexcept {
  constexpr std::size_t kAtOnce = 32;
  int lowest = kMostExponent;
  double total = 0;
  for (std::size_t i = 0; i < values.size();) {
    const std::size_t end = std::min(values.size(), i + (i == 0 ? 2 : kAtOnce));
    for (; i < end; ++i) {
      const double value = values[i];
      if (std::bit_cast<std::uint64_t>(value) == 0) continue;
      const double size = std::fabs(value);
      if (!(size > 0x1p-300 && size < 0x1p300)) return std::nullopt;  // NaN, infinities, -0 too
      lowest = std::min(lowest, lowest_bit(value));
      total += size;
    }
    // The total may be rounded: half the limit leaves room for that.
    if (total * two_to(-lowest) >= static_cast<double>(kMostUnits / 2)) return std::nullopt;
  }
  return lowest == kMostExponent ? 0 : lowest;
}

}  // namespace

std::optional<ExactSums> ExactSums::of(const RangeInput& input) {
  if (!do_overlap(input.windows)) return std::nullopt;
  ExactSums out;
  out.begin_ = input.windows.front().begin;
  const auto values = input.values.subspan(out.begin_, input.windows.back().end - out.begin_);
  const auto exponent = unit_of(values);
  if (!exponent) return std::nullopt;
  out.unit_ = two_to(*exponent);
  const double factor = two_to(-*exponent);
  out.before_.resize(values.size() + 1);
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto units = static_cast<std::int64_t>(values[i] * factor);
    out.greatest_ = std::max(out.greatest_, static_cast<std::uint64_t>(std::abs(units)));
    sum += units;
    out.before_[i + 1] = sum;
  }
  return out;
}

std::optional<ExactLines> ExactLines::of(const RangeInput& input) {
  auto values = ExactSums::of(input);
  if (!values) return std::nullopt;
  ExactLines out(std::move(*values));
  const ExactSums& given = out.values_;
  const std::size_t count = given.before_.size() - 1;
  if (count == 0) return std::nullopt;
  const auto times = input.times.subspan(given.begin_, count);
  out.base_ = times.front();
  out.last_ = (times.back() - times.front()) / 1000;
  std::uint64_t longest = 0;
  for (const Window& window : input.windows)
    longest = std::max<std::uint64_t>(longest, window.size());
  // Times from an origin are at most twice as far as from the base (see sums()).
  const double farthest = 2 * static_cast<double>(out.last_ + 1);
  const double of_window = farthest * static_cast<double>(longest);
  const auto greatest = static_cast<double>(std::max<std::uint64_t>(given.greatest_, 1));
  constexpr auto kMost = static_cast<double>(kMostUnits);
  const bool is_small = out.last_ < kMostSeconds && count < (1U << 20) &&
                        of_window * greatest < kMost && of_window * farthest < kMost &&
                        farthest * greatest * static_cast<double>(count) < 0x1p61;
  if (!is_small) return std::nullopt;
  for (auto* all : {&out.x_, &out.xx_, &out.xy_}) all->resize(count + 1);
  out.changes_.resize(count + 1);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t millis = times[i] - out.base_;
    if (millis % 1000 != 0) return std::nullopt;
    const std::int64_t x = millis / 1000;
    const std::int64_t y = given.before_[i + 1] - given.before_[i];
    out.x_[i + 1] = out.x_[i] + x;
    out.xx_[i + 1] = out.xx_[i] + x * x;
    out.xy_[i + 1] = out.xy_[i] + x * y;
    const bool differs = i > 0 && y != given.before_[i] - given.before_[i - 1];
    out.changes_[i + 1] = out.changes_[i] + (differs ? 1 : 0);
  }
  return out;
}

std::optional<LineSums> ExactLines::sums(const Window& window, std::int64_t origin) const noexcept {
  const std::int64_t millis = origin - base_;
  const std::int64_t from = millis / 1000;
  // Within the samples or as far behind them as they reach: of() has seen to that much.
  if (millis % 1000 != 0 || from < 0 || from > 2 * last_) return std::nullopt;
  const std::uint32_t begin = window.begin - values_.begin_;
  const std::uint32_t end = window.end - values_.begin_;
  const auto n = static_cast<std::int64_t>(window.size());
  const std::int64_t x = x_[end] - x_[begin];
  const std::int64_t y = values_.units(window);
  LineSums out;
  out.x = static_cast<double>(x - n * from);
  out.y = static_cast<double>(y) * values_.unit_;
  out.xy = static_cast<double>(xy_[end] - xy_[begin] - from * y) * values_.unit_;
  out.xx = static_cast<double>(xx_[end] - xx_[begin] - 2 * from * x + n * from * from);
  out.is_level = changes_[end] == changes_[begin + 1];
  return out;
}

}  // namespace nexus::knowledge::promql
