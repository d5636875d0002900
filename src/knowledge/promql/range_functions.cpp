// Functions over the samples of a window: the *_over_time family, changes and resets.
#include <cmath>
#include <vector>

#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/quantile.hpp"
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
double first(Values values) {
  return values.front();
}
double last(Values values) {
  return values.back();
}
double one(Values) {
  return 1;
}

/// Welford's algorithm, compensated.
double variance(Values values) {
  CompensatedSum mean;
  CompensatedSum squares;
  double count = 0;
  for (const double value : values) {
    count += 1;
    const double distance = value - mean.value();
    mean.add(distance / count);
    squares.add(distance * (value - mean.value()));
  }
  return squares.value() / count;
}
double deviation(Values values) {
  return std::sqrt(variance(values));
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

/// Writes the time of the sample that kFind points to.
template <std::size_t (*kFind)(Values)>
void each_time(const RangeInput& input, std::span<double> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Window window = input.windows[i];
    if (window.size() == 0) continue;
    const std::size_t found = kFind(input.values.subspan(window.begin, window.size()));
    out[i] = static_cast<double>(input.times[window.begin + found]) / 1000.0;
  }
}

std::size_t first_of(Values) {
  return 0;
}
std::size_t last_of(Values values) {
  return values.size() - 1;
}
std::size_t last_least(Values values) {
  std::size_t found = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] <= values[found] || std::isnan(values[found])) found = i;
  }
  return found;
}
std::size_t last_greatest(Values values) {
  std::size_t found = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] >= values[found] || std::isnan(values[found])) found = i;
  }
  return found;
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

void first_over_time(const RangeInput& input, std::span<double> out) {
  each_window<first>(input, out);
}
void stdvar_over_time(const RangeInput& input, std::span<double> out) {
  each_window<variance>(input, out);
}

void quantile_over_time(const RangeInput& input, std::span<double> out) {
  std::vector<double> sorted;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Window window = input.windows[i];
    if (window.size() == 0) continue;
    const Values values = input.values.subspan(window.begin, window.size());
    sorted.assign(values.begin(), values.end());
    out[i] = quantile(input.scalars[0][i], sorted);
  }
}

void mad_over_time(const RangeInput& input, std::span<double> out) {
  std::vector<double> sorted;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Window window = input.windows[i];
    if (window.size() == 0) continue;
    const Values values = input.values.subspan(window.begin, window.size());
    sorted.assign(values.begin(), values.end());
    const double median = quantile(0.5, sorted);
    for (double& value : sorted) value = std::fabs(value - median);
    out[i] = quantile(0.5, sorted);
  }
}

void ts_of_first_over_time(const RangeInput& input, std::span<double> out) {
  each_time<first_of>(input, out);
}
void ts_of_last_over_time(const RangeInput& input, std::span<double> out) {
  each_time<last_of>(input, out);
}
void ts_of_min_over_time(const RangeInput& input, std::span<double> out) {
  each_time<last_least>(input, out);
}
void ts_of_max_over_time(const RangeInput& input, std::span<double> out) {
  each_time<last_greatest>(input, out);
}

}  // namespace nexus::knowledge::promql
