// Functions over the samples of a window: the *_over_time family, changes and resets.
#include <array>
#include <cmath>
#include <vector>

#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/exact_sums.hpp"
#include "knowledge/promql/lanes.hpp"
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

/// each_window() of a choice among samples: of windows that overlap what is chosen of each sixteen
/// samples is chosen once, and then from that.
template <double (*kChoose)(Values)>
void choose(const RangeInput& input, std::span<double> out) {
  constexpr std::uint32_t kPart = 16;
  if (!do_overlap(input.windows)) return each_window<kChoose>(input, out);
  const std::uint32_t begin = input.windows.front().begin;
  std::vector<double> parts;
  for (std::uint32_t at = begin; at + kPart <= input.windows.back().end; at += kPart) {
    parts.push_back(kChoose(input.values.subspan(at, kPart)));
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Window window = input.windows[i];
    if (window.size() == 0) continue;
    const std::uint32_t first = (window.begin - begin + kPart - 1) / kPart;
    const std::uint32_t end = (window.end - begin) / kPart;
    const Values all = input.values.subspan(window.begin, window.size());
    if (first >= end) {
      out[i] = kChoose(all);
      continue;
    }
    const std::uint32_t head = begin + first * kPart - window.begin;
    const std::uint32_t tail = window.end - (begin + end * kPart);
    std::array<double, 3> chosen;  // in the order of the samples: of equals the first counts
    std::size_t count = 0;
    if (head > 0) chosen[count++] = kChoose(all.first(head));
    chosen[count++] = kChoose(Values(parts).subspan(first, end - first));
    if (tail > 0) chosen[count++] = kChoose(all.last(tail));
    out[i] = kChoose(Values(chosen).first(count));
  }
}

/// The sums of eight windows; `spread` of the samples of all.
LaneSum sums(const RangeInput& input, std::size_t first, double spread) {
  LaneSum out;
  const std::uint32_t size = input.windows[first].size();
  lane_kernels().sums(begins_of(input.values, input.windows, first).data(), size,
                      settled_after(spread, size), out);
  return out;
}

/// `value_of` (sums, lane, how many) for windows whose sum is finite, `kBody` for the others.
template <double (*kBody)(Values), typename ValueOf>
void from_sums(const RangeInput& input, std::span<double> out, ValueOf&& value_of) {
  if (const auto exact = ExactSums::of(input)) {
    LaneSum all;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const Window window = input.windows[i];
      if (window.size() == 0) continue;
      all.sum[0] = exact->sum(window);
      out[i] = value_of(all, 0, window.size());
    }
    return;
  }
  const double spread = spread_of(input.values, input.windows);
  in_lanes(
      input.windows,
      [&](std::size_t first) {
        const LaneSum all = sums(input, first, spread);
        std::uint32_t undone = 0;
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
          if (all.is_finite(lane)) {
            out[first + lane] = value_of(all, lane, input.windows[first].size());
          } else {
            undone |= 1U << lane;
          }
        }
        return undone;
      },
      [&](std::size_t i) {
        const Window window = input.windows[i];
        out[i] = kBody(input.values.subspan(window.begin, window.size()));
      });
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

template <double (*kBody)(Values), typename ValueOf>
void from_variances(const RangeInput& input, std::span<double> out, ValueOf&& value_of) {
  in_lanes(
      input.windows,
      [&](std::size_t first) {
        LaneSum mean;
        LaneSum squares;
        const std::uint32_t size = input.windows[first].size();
        lane_kernels().variances(begins_of(input.values, input.windows, first).data(), size, mean,
                                 squares);
        std::uint32_t undone = 0;
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
          if (mean.is_finite(lane) && squares.is_finite(lane)) {
            out[first + lane] = value_of(squares.value(lane) / static_cast<double>(size));
          } else {
            undone |= 1U << lane;
          }
        }
        return undone;
      },
      [&](std::size_t i) {
        const Window window = input.windows[i];
        out[i] = kBody(input.values.subspan(window.begin, window.size()));
      });
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
  from_sums<mean>(input, out, [](const LaneSum& all, std::size_t lane, std::uint32_t size) {
    const auto count = static_cast<double>(size);
    return all.sum[lane] / count + all.compensation[lane] / count;
  });
}
void min_over_time(const RangeInput& input, std::span<double> out) {
  choose<least>(input, out);
}
void max_over_time(const RangeInput& input, std::span<double> out) {
  choose<greatest>(input, out);
}
void sum_over_time(const RangeInput& input, std::span<double> out) {
  from_sums<sum>(input, out, [](const LaneSum& all, std::size_t lane, std::uint32_t) {
    return all.value(lane) + 0.0;  // as a sum begun at 0: of -0 it is 0
  });
}
void count_over_time(const RangeInput& input, std::span<double> out) {
  each_window<number_of>(input, out);
}
void last_over_time(const RangeInput& input, std::span<double> out) {
  each_window<last>(input, out);
}
void stddev_over_time(const RangeInput& input, std::span<double> out) {
  from_variances<deviation>(input, out, [](double variance) { return std::sqrt(variance); });
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
  from_variances<variance>(input, out, [](double variance) { return variance; });
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
