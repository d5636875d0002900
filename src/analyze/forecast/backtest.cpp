#include "nexus/analyze/backtest.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "nexus/analyze/detect.hpp"
#include "nexus/analyze/rolling.hpp"

namespace nexus::analyze {
namespace {

/// Values by slot from the first row's on, NaN where there is none.
std::vector<double> grid_of(std::span<const std::int64_t> times, std::span<const double> values,
                            std::int64_t step) {
  constexpr std::int64_t kMostSlots = 10'000'000;
  const std::int64_t first = times.front() / step;
  const std::int64_t last = std::min(times.back() / step, first + kMostSlots);
  std::vector<double> grid(static_cast<std::size_t>(std::max<std::int64_t>(last - first, 0) + 1),
                           std::nan(""));
  std::vector<double> counts(grid.size());
  for (std::size_t i = 0; i < times.size(); ++i) {
    const std::int64_t at = times[i] / step - first;
    if (at < 0 || at >= static_cast<std::int64_t>(grid.size()) || !std::isfinite(values[i]))
      continue;
    const auto slot = static_cast<std::size_t>(at);
    counts[slot] += 1;
    grid[slot] =
        counts[slot] == 1 ? values[i] : grid[slot] + (values[i] - grid[slot]) / counts[slot];
  }
  return grid;
}

struct Sums {
  double error = 0, last = 0, seasonal = 0, seasonal_n = 0, in80 = 0, in95 = 0, n = 0;
};

void compare(const std::vector<double>& grid, const std::vector<ForecastPoint>& points,
             std::size_t now, std::size_t day, Sums& sums) {
  for (std::size_t k = 1; k <= points.size() && now + k < grid.size(); ++k) {
    const double truth = grid[now + k];
    if (!std::isfinite(truth)) continue;
    const ForecastPoint& p = points[k - 1];
    sums.n += 1;
    sums.error += std::abs(p.mean - truth);
    sums.last += std::abs(grid[now] - truth);
    sums.in80 += truth >= p.lo80 && truth <= p.hi80 ? 1 : 0;
    sums.in95 += truth >= p.lo95 && truth <= p.hi95 ? 1 : 0;
    const std::size_t back = (k + day - 1) / day * day;
    if (now + k < back || !std::isfinite(grid[now + k - back])) continue;
    sums.seasonal_n += 1;
    sums.seasonal += std::abs(grid[now + k - back] - truth);
  }
}

}  // namespace

BacktestResult backtest(std::span<const std::int64_t> times, std::span<const double> values,
                        const BacktestPlan& plan) {
  BacktestResult out;
  if (times.empty() || times.size() != values.size()) return out;
  const std::int64_t step = plan.step.count();
  const std::vector<double> grid = grid_of(times, values, step);
  const auto day = static_cast<std::size_t>(std::max<std::int64_t>(86'400'000 / step, 1));
  const auto hour = std::max<std::size_t>(day / 24, 1);
  Combination::Shape shape;
  shape.step = plan.step;
  shape.leads = Combination::leads_up_to(plan.leads);
  shape.minimum = plan.minimum;
  shape.maximum = plan.maximum;
  Combination model(shape);
  Sums sums;
  const auto beyond = [&](double value) {
    return plan.threshold && (plan.above ? value >= *plan.threshold : value <= *plan.threshold);
  };
  std::vector<std::size_t> warned(grid.size() + plan.leads +
                                  1);  // first row that foretold this one
  std::size_t good = 0;                // rows on the good side so far
  const std::int64_t first = times.front() / step;
  for (std::size_t i = 0; i < grid.size(); ++i) {
    model.add(first + static_cast<std::int64_t>(i), grid[i]);
    const bool crossed = std::isfinite(grid[i]) && beyond(grid[i]);
    if (i >= grid.size() / 2 && crossed && good >= hour) {
      ++out.crossings;
      Crossing crossing;
      crossing.time = (first + static_cast<std::int64_t>(i)) * step;
      if (warned[i] > 0) {
        ++out.foretold;
        out.warned_seconds +=
            static_cast<double>((static_cast<std::int64_t>(i - warned[i]) + 1) * step) / 1000;
        crossing.foretold_seconds =
            static_cast<double>((static_cast<std::int64_t>(i - warned[i]) + 1) * step) / 1000;
      }
      out.each.push_back(crossing);
    }
    good = crossed ? 0 : good + 1;
    if (!model.ready() || i + 1 < grid.size() / 2 || !std::isfinite(grid[i])) continue;
    std::vector<ForecastPoint> points;
    for (std::uint32_t lead = 1; lead <= plan.leads; ++lead) points.push_back(model.at(lead));
    compare(grid, points, i, day, sums);
    if (crossed) continue;
    bool named = false;
    for (std::size_t k = 1; k <= points.size(); ++k) {
      named |= beyond(points[k - 1].mean) ||
               beyond(plan.above ? points[k - 1].hi80 : points[k - 1].lo80);
      if (named && warned[i + k] == 0) warned[i + k] = i + 1;
    }
  }
  if (sums.n == 0) return out;
  out.forecasts = static_cast<std::size_t>(sums.n);
  out.error = sums.error / sums.n;
  out.last_value_error = sums.last / sums.n;
  if (sums.seasonal_n > 0) out.seasonal_error = sums.seasonal / sums.seasonal_n;
  out.coverage80 = sums.in80 / sums.n;
  out.coverage95 = sums.in95 / sums.n;
  if (out.foretold > 0) out.warned_seconds /= static_cast<double>(out.foretold);
  return out;
}

void judge_alarms(std::span<const std::int64_t> times, std::span<const double> values,
                  const BacktestPlan& plan, BacktestResult& result) {
  constexpr std::int64_t kOneAlarm = 300'000;
  constexpr std::int64_t kHour = 3'600'000;
  if (times.size() != values.size()) return;
  VitalDetector detector(plan.alarms_a_day);
  std::vector<std::int64_t> alarms;
  std::int64_t last = 0;
  std::optional<std::int64_t> ready;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto score = detector.push(times[i], values[i]);
    if (!score || !score->ready) continue;
    if (!ready) ready = times[i];
    if (!score->flag) continue;
    if (alarms.empty() || times[i] - last > kOneAlarm) alarms.push_back(times[i]);
    last = times[i];
  }
  if (ready) result.alarm_days = static_cast<double>(times.back() - *ready) / (24.0 * kHour);
  result.alarms = alarms.size();
  for (const std::int64_t alarm : alarms) {
    bool right = false;
    for (auto i = static_cast<std::size_t>(std::ranges::lower_bound(times, alarm) - times.begin());
         plan.threshold && !right && i < times.size() && times[i] <= alarm + kHour; ++i)
      right = plan.above ? values[i] >= *plan.threshold : values[i] <= *plan.threshold;
    result.false_alarms += right ? 0 : 1;
  }
  for (Crossing& crossing : result.each) {
    const auto earliest = std::ranges::lower_bound(alarms, crossing.time - kHour);
    if (earliest != alarms.end() && *earliest <= crossing.time)
      crossing.alarm_seconds = static_cast<double>(crossing.time - *earliest) / 1000;
  }
}

}  // namespace nexus::analyze
