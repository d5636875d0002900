// Functions that fit a trend to the samples of a window: linear regression and double exponential
// smoothing.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/exact_sums.hpp"
#include "knowledge/promql/lanes.hpp"
#include "knowledge/promql/summation.hpp"

namespace nexus::knowledge::promql {
namespace {

struct Line {
  double slope;
  double intercept;  // at the origin of time that was asked for
};

/// Of values that are all the same.
Line level(double value) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  return std::isinf(value) ? Line{kNan, kNan} : Line{0, value};
}

Line through(double x, double y, double xy, double xx, std::uint32_t size) {
  const auto n = static_cast<double>(size);
  const double slope = (xy - x * y / n) / (xx - x * x / n);
  return {slope, y / n - slope * x / n};
}

/// Of a line, times in seconds from `origin`.
struct Sums {
  CompensatedSum x;
  CompensatedSum y;
  CompensatedSum xy;
  CompensatedSum xx;

  void add(const RangeInput& input, std::uint32_t begin, std::uint32_t end, std::int64_t origin) {
    for (std::uint32_t i = begin; i < end; ++i) {
      const double value = input.values[i];
      const double time = static_cast<double>(input.times[i] - origin) / 1000.0;
      x.add(time);
      y.add(value);
      xy.add(time * value);
      xx.add(time * time);
    }
  }
  [[nodiscard]] Line line(std::uint32_t size) const {
    return through(x.value(), y.value(), xy.value(), xx.value(), size);
  }
};

/// Least squares over a window.
Line fit_line(const RangeInput& input, const Window& window, std::int64_t origin) {
  const double first = input.values[window.begin];
  const auto rest = input.values.subspan(window.begin + 1, window.size() - 1);
  if (std::ranges::all_of(rest, [&](double value) { return value == first; })) return level(first);
  Sums sums;
  sums.add(input, window.begin, window.end, origin);
  return sums.line(window.size());
}

/// The times of a window relative to its origin, and their sums: regular samples under regular
/// steps have the same in every window.
class Offsets {
 public:
  explicit Offsets(const RangeInput& input) {
    const std::uint32_t end = input.windows.empty() ? 0 : input.windows.back().end;
    for (std::uint32_t i = end == 0 ? 0 : input.windows.front().begin + 2; i < end; ++i) {
      are_regular_ &=
          input.times[i] - input.times[i - 1] == input.times[i - 1] - input.times[i - 2];
    }
  }
  [[nodiscard]] bool are_those_of(std::span<const std::int64_t> times,
                                  std::int64_t origin) const noexcept {
    if (times.size() != millis_.size()) return false;
    if (are_regular_) return times.front() - origin == millis_.front();
    bool same = true;
    for (std::size_t i = 0; i < times.size(); ++i) same &= times[i] - origin == millis_[i];
    return same;
  }
  void take(std::span<const std::int64_t> times, std::int64_t origin) {
    millis_.resize(times.size());
    seconds_.resize(times.size());
    CompensatedSum sum;
    CompensatedSum squares;
    for (std::size_t i = 0; i < times.size(); ++i) {
      millis_[i] = times[i] - origin;
      const double x = static_cast<double>(millis_[i]) / 1000.0;
      seconds_[i] = x;
      sum.add(x);
      squares.add(x * x);
    }
    sum_ = sum.value();
    squares_ = squares.value();
  }
  /// After so many samples of that spread the sum of their products with these times is larger than
  /// each of the products.
  [[nodiscard]] std::uint32_t settled_after(double spread) const noexcept {
    const auto size = static_cast<std::uint32_t>(seconds_.size());
    const bool are_of_one_sign = seconds_.front() >= 0 || seconds_.back() <= 0;
    if (!are_of_one_sign || !std::isfinite(spread)) return size;
    std::uint32_t settled = 0;
    double sum = 0;  // of the sizes of the times before
    for (std::uint32_t i = 0; i < size; ++i) {
      const double x = std::fabs(seconds_[i]);
      if (sum < x * spread) settled = i + 1;
      sum += x;
    }
    return settled;
  }
  [[nodiscard]] std::span<const double> seconds() const noexcept { return seconds_; }
  [[nodiscard]] double sum() const noexcept { return sum_; }
  [[nodiscard]] double squares() const noexcept { return squares_; }

 private:
  bool are_regular_ = true;
  std::vector<std::int64_t> millis_;
  std::vector<double> seconds_;
  double sum_ = 0;
  double squares_ = 0;
};

/// What the samples of many windows have in common.
class Common {
 public:
  explicit Common(const RangeInput& input)
      : begin_(input.windows.empty() ? 0 : input.windows.front().begin),
        spread_(spread_of(input.values, input.windows)) {
    if (input.windows.empty()) return;
    const std::uint32_t count = input.windows.back().end - begin_;
    changes_.resize(count + 1);
    for (std::uint32_t i = 0; i < count; ++i) {
      const bool differs = i > 0 && input.values[begin_ + i] != input.values[begin_ + i - 1];
      changes_[i + 1] = changes_[i] + (differs ? 1 : 0);
    }
  }
  /// Whether all samples of the window, which is not empty, are the same.
  [[nodiscard]] bool is_level(const Window& window) const noexcept {
    return changes_[window.end - begin_] == changes_[window.begin - begin_ + 1];
  }
  [[nodiscard]] double spread() const noexcept { return spread_; }
  /// Nothing when sums are rounded. Found out when it is asked for first.
  [[nodiscard]] const std::optional<ExactSums>& exact(const RangeInput& input) {
    if (!is_exact_known_) exact_ = ExactSums::of(input);
    is_exact_known_ = true;
    return exact_;
  }

 private:
  std::uint32_t begin_;
  double spread_;
  bool is_exact_known_ = false;
  std::optional<ExactSums> exact_;
  std::vector<std::uint32_t> changes_;  // samples before each that differ from the one before them
};

/// Lines through eight windows that have the same size and offsets; `put` (window, line). Says
/// which lanes it could not do.
template <typename Put>
std::uint32_t fit_lines(const RangeInput& input, std::size_t first, const Offsets& offsets,
                        Common& common, Put&& put) {
  const std::uint32_t size = input.windows[first].size();
  const std::optional<ExactSums>& exact = common.exact(input);
  LaneSum y_sum;
  LaneSum xy_sum;
  const auto begins = begins_of(input.values, input.windows, first);
  const double* const seconds = offsets.seconds().data();
  const std::uint32_t settled = offsets.settled_after(common.spread());
  if (exact) {
    lane_kernels().only_products(begins.data(), size, settled, seconds, xy_sum);
  } else {
    lane_kernels().products(begins.data(), size,
                            std::max(settled, settled_after(common.spread(), size)), seconds, y_sum,
                            xy_sum);
  }
  std::uint32_t undone = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const Window window = input.windows[first + lane];
    if (!y_sum.is_finite(lane) || !xy_sum.is_finite(lane)) {
      undone |= 1U << lane;
    } else if (common.is_level(window)) {
      put(first + lane, level(input.values[window.begin]));
    } else {
      const double y = exact ? exact->sum(window) : y_sum.value(lane);
      put(first + lane, through(offsets.sum(), y, xy_sum.value(lane), offsets.squares(), size));
    }
  }
  return undone;
}

constexpr std::uint32_t kAllLanes = (1U << kLanes) - 1;

/// Lines through any eight windows: as many samples as all have go side by side, what a window has
/// more of comes after them. `put` and what is returned as above.
template <typename OriginOf, typename Put>
std::uint32_t fit_uneven_lines(const RangeInput& input, std::size_t first, const Common& common,
                               OriginOf&& origin_of, Put&& put) {
  constexpr std::uint32_t kWorthwhile = 16;
  constexpr std::int64_t kFarthest = std::int64_t{1} << 51;
  std::array<const std::int64_t*, kLanes> times;
  std::array<std::int64_t, kLanes> origins;
  std::uint32_t size = input.windows[first].size();
  bool are_past = true;  // the farthest first: then sums outgrow what is added at once
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const Window window = input.windows[first + lane];
    size = std::min(size, window.size());
    if (size < kWorthwhile) return kAllLanes;
    times[lane] = input.times.data() + window.begin;
    origins[lane] = origin_of(first + lane);
    are_past = are_past && input.times[window.end - 1] <= origins[lane];
    if (*times[lane] <= origins[lane] - kFarthest ||
        input.times[window.end - 1] >= origins[lane] + kFarthest) {
      return kAllLanes;
    }
  }
  LaneLines sums;
  const auto begins = begins_of(input.values, input.windows, first);
  lane_kernels().lines(begins.data(), times.data(), origins.data(), size,
                       are_past ? settled_after(common.spread(), size) : size, sums);
  const auto taken = [](const LaneSums& lanes, std::size_t lane) {
    return CompensatedSum{lanes.sum[lane], lanes.compensation[lane]};
  };
  std::uint32_t undone = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const Window window = input.windows[first + lane];
    Sums all{taken(sums.x, lane), taken(sums.y, lane), taken(sums.xy, lane), taken(sums.xx, lane)};
    if (!std::isfinite(all.x.value() + all.y.value() + all.xy.value() + all.xx.value())) {
      undone |= 1U << lane;
    } else if (common.is_level(window)) {
      put(first + lane, level(input.values[window.begin]));
    } else {
      all.add(input, window.begin + size, window.end, origins[lane]);
      put(first + lane, all.line(window.size()));
    }
  }
  return undone;
}

/// The same lines where all sums are exact; false when some are not, and all are to be made anew.
template <typename OriginOf, typename Put>
bool put_exact_lines(const RangeInput& input, OriginOf&& origin_of, Put&& put) {
  const auto some =
      std::ranges::find_if(input.windows, [](const Window& window) { return window.size() > 0; });
  if (some == input.windows.end()) return true;
  const auto place = static_cast<std::size_t>(some - input.windows.begin());
  if ((origin_of(place) - input.times[some->begin]) % 1000 != 0) return false;
  const auto exact = ExactLines::of(input);
  if (!exact) return false;
  for (std::size_t i = 0; i < input.windows.size(); ++i) {
    const Window window = input.windows[i];
    if (window.size() < 2) continue;
    const auto sums = exact->sums(window, origin_of(i));
    if (!sums) return false;
    put(i, sums->is_level ? level(input.values[window.begin])
                          : through(sums->x, sums->y, sums->xy, sums->xx, window.size()));
  }
  return true;
}

/// A line for each window of two samples or more; `origin_of` (window) is where its time begins.
template <typename OriginOf, typename Put>
void each_line(const RangeInput& input, OriginOf&& origin_of, Put&& put) {
  const auto one = [&](std::size_t i) {
    if (input.windows[i].size() >= 2) put(i, fit_line(input, input.windows[i], origin_of(i)));
  };
  if (put_exact_lines(input, origin_of, put)) return;
  Offsets offsets(input);
  Common common(input);
  const auto times_of = [&](std::size_t i) {
    return input.times.subspan(input.windows[i].begin, input.windows[i].size());
  };
  const auto have_same_offsets = [&](std::size_t first) {
    if (!are_alike(input.windows, first) || input.windows[first].size() < 2) return false;
    // Two of them are looked at before anything is made for all.
    const std::int64_t between = origin_of(first + 1) - origin_of(first);
    if (!std::ranges::equal(times_of(first), times_of(first + 1), {}, {},
                            [&](std::int64_t time) { return time - between; })) {
      return false;
    }
    if (!offsets.are_those_of(times_of(first), origin_of(first))) {
      offsets.take(times_of(first), origin_of(first));
    }
    for (std::size_t lane = 1; lane < kLanes; ++lane) {
      if (!offsets.are_those_of(times_of(first + lane), origin_of(first + lane))) return false;
    }
    return true;
  };
  for (std::size_t i = 0; i < input.windows.size(); i += kLanes) {
    std::uint32_t undone = kAllLanes;
    if (i + kLanes <= input.windows.size()) {
      undone = have_same_offsets(i) ? fit_lines(input, i, offsets, common, put)
                                    : fit_uneven_lines(input, i, common, origin_of, put);
    }
    for (std::size_t lane = 0; lane < kLanes && i + lane < input.windows.size(); ++lane) {
      if ((undone >> lane & 1U) != 0) one(i + lane);
    }
  }
}

/// Holt's linear method: the level and its trend, each a weighted mean of the old and the new.
double smooth(std::span<const double> values, double smoothing, double trending) {
  double before = 0;
  double level = values[0];
  double trend = values[1] - values[0];
  for (std::size_t i = 1; i < values.size(); ++i) {
    const double observed = smoothing * values[i];
    if (i > 1) trend = trending * (level - before) + (1 - trending) * trend;
    const double expected = (1 - smoothing) * (level + trend);
    before = level;
    level = observed + expected;
  }
  return level;
}

/// False, with the problem noted, when the factor is none.
bool is_factor(const RangeInput& input, double factor, std::string_view name) {
  if (!(factor <= 0 || factor >= 1)) return true;  // NaN passes, as in Prometheus
  *input.problem = fmt::format("invalid {} factor. Expected: 0 < {} < 1, got: {:f}", name,
                               name[0] == 's' ? "sf" : "tf", factor);
  return false;
}

}  // namespace

void deriv(const RangeInput& input, std::span<double> out) {
  each_line(
      input,
      // An origin near the samples keeps the sums small.
      [&](std::size_t i) { return input.times[input.windows[i].begin]; },
      [&](std::size_t i, const Line& line) { out[i] = line.slope; });
}

void predict_linear(const RangeInput& input, std::span<double> out) {
  each_line(
      input, [&](std::size_t i) { return input.steps.at(i); },
      [&](std::size_t i, const Line& line) {
        out[i] = line.slope * input.scalars[0][i] + line.intercept;
      });
}

void double_exponential_smoothing(const RangeInput& input, std::span<double> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Window window = input.windows[i];
    if (window.size() == 0) continue;
    const double smoothing = input.scalars[0][i];
    const double trending = input.scalars[1][i];
    if (!is_factor(input, smoothing, "smoothing") || !is_factor(input, trending, "trend")) return;
    if (window.size() < 2) continue;
    out[i] = smooth(input.values.subspan(window.begin, window.size()), smoothing, trending);
  }
}

}  // namespace nexus::knowledge::promql
