// Functions that fit a trend to the samples of a window: linear regression and double exponential
// smoothing.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/summation.hpp"

namespace nexus::knowledge::promql {
namespace {

struct Line {
  double slope;
  double intercept;  // at the origin of time that was asked for
};

/// Least squares over a window, times in seconds from `origin`.
Line fit_line(const RangeInput& input, const Window& window, std::int64_t origin) {
  CompensatedSum x_sum;
  CompensatedSum y_sum;
  CompensatedSum xy_sum;
  CompensatedSum xx_sum;
  const double first = input.values[window.begin];
  bool constant = true;
  for (std::uint32_t i = window.begin; i < window.end; ++i) {
    const double y = input.values[i];
    const double x = static_cast<double>(input.times[i] - origin) / 1000.0;
    if (i > window.begin && y != first) constant = false;
    x_sum.add(x);
    y_sum.add(y);
    xy_sum.add(x * y);
    xx_sum.add(x * x);
  }
  if (constant) {
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    return std::isinf(first) ? Line{kNan, kNan} : Line{0, first};
  }
  const auto n = static_cast<double>(window.size());
  const double x = x_sum.value();
  const double y = y_sum.value();
  const double slope = (xy_sum.value() - x * y / n) / (xx_sum.value() - x * x / n);
  return {slope, y / n - slope * x / n};
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
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Window window = input.windows[i];
    // An origin near the samples keeps the sums small.
    if (window.size() >= 2) out[i] = fit_line(input, window, input.times[window.begin]).slope;
  }
}

void predict_linear(const RangeInput& input, std::span<double> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Window window = input.windows[i];
    if (window.size() < 2) continue;
    const Line line = fit_line(input, window, input.steps.at(i));
    out[i] = line.slope * input.scalars[0][i] + line.intercept;
  }
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
