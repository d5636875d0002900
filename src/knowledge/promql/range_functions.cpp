// Functions over the samples of a window: the *_over_time family, changes and resets, and linear
// regression.
#include <cmath>
#include <limits>

#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/summation.hpp"

namespace nexus::knowledge::promql {
namespace {

using Values = std::span<const double>;

template <double (*kBody)(Values)>
void each_window(const RangeInput& input, std::span<double> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Window window = input.windows[i];
    if (window.size() > 0) out[i] = kBody(input.values.subspan(window.begin, window.size()));
  }
}

double mean(Values values) {
  CompensatedMean mean;
  for (const double value : values) mean.add(value);
  return mean.value();
}

double sum(Values values) {
  CompensatedSum sum;
  for (const double value : values) sum.add(value);
  return std::isinf(sum.sum) ? sum.sum : sum.value();
}

// NaN is neither the least nor the greatest as long as there is a number.
double least(Values values) {
  double least = values.front();
  for (const double value : values) {
    if (value < least || std::isnan(least)) least = value;
  }
  return least;
}

double greatest(Values values) {
  double greatest = values.front();
  for (const double value : values) {
    if (value > greatest || std::isnan(greatest)) greatest = value;
  }
  return greatest;
}

double number_of(Values values) {
  return static_cast<double>(values.size());
}
double last(Values values) {
  return values.back();
}
double one(Values) {
  return 1;
}

/// Welford's algorithm, compensated.
double deviation(Values values) {
  CompensatedSum mean;
  CompensatedSum squares;
  double count = 0;
  for (const double value : values) {
    count += 1;
    const double distance = value - mean.value();
    mean.add(distance / count);
    squares.add(distance * (value - mean.value()));
  }
  return std::sqrt(squares.value() / count);
}

double number_of_changes(Values values) {
  double count = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    const bool both_nan = std::isnan(values[i]) && std::isnan(values[i - 1]);
    if (values[i] != values[i - 1] && !both_nan) ++count;
  }
  return count;
}

double number_of_resets(Values values) {
  double count = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (values[i] < values[i - 1]) ++count;
  }
  return count;
}

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

}  // namespace

void avg_over_time(const RangeInput& input, std::span<double> out) {
  each_window<mean>(input, out);
}
void min_over_time(const RangeInput& input, std::span<double> out) {
  each_window<least>(input, out);
}
void max_over_time(const RangeInput& input, std::span<double> out) {
  each_window<greatest>(input, out);
}
void sum_over_time(const RangeInput& input, std::span<double> out) {
  each_window<sum>(input, out);
}
void count_over_time(const RangeInput& input, std::span<double> out) {
  each_window<number_of>(input, out);
}
void last_over_time(const RangeInput& input, std::span<double> out) {
  each_window<last>(input, out);
}
void stddev_over_time(const RangeInput& input, std::span<double> out) {
  each_window<deviation>(input, out);
}
void present_over_time(const RangeInput& input, std::span<double> out) {
  each_window<one>(input, out);
}
void changes(const RangeInput& input, std::span<double> out) {
  each_window<number_of_changes>(input, out);
}
void resets(const RangeInput& input, std::span<double> out) {
  each_window<number_of_resets>(input, out);
}

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
    out[i] = line.slope * input.scalar[i] + line.intercept;
  }
}

}  // namespace nexus::knowledge::promql
