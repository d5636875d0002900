#include "nexus/analyze/models.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "nexus/analyze/anomaly.hpp"
#include "nexus/analyze/forecast.hpp"

namespace nexus::analyze {
namespace {

constexpr double kLevel = 0.95;
constexpr std::size_t kMaxTrained = 256;  // every tree sees every row, the newest among them

/// At most `most` of the places 0 to count - 1, evenly, the last among them.
std::vector<std::size_t> thinned(std::size_t count, std::size_t most) {
  std::vector<std::size_t> places;
  const std::size_t step = (count + most - 1) / most;
  for (std::size_t i = (count - 1) % step; i < count; i += step) places.push_back(i);
  return places;
}

struct Line {
  LinearFit fit;
  double lead = 0;  // seconds from the last sample to now
};

std::optional<Line> line_through(const knowledge::Models::Window& window) {
  const double lead = static_cast<double>(window.now - window.times.back()) / 1000;
  std::optional<LinearFit> fit;
  if (window.times.size() <= StandardModels::kMaxPoints) {
    fit = fit_line(window.times, window.values);
  } else {
    std::vector<std::int64_t> times;
    std::vector<double> values;
    for (const std::size_t i : thinned(window.times.size(), StandardModels::kMaxPoints)) {
      times.push_back(window.times[i]);
      values.push_back(window.values[i]);
    }
    fit = fit_line(times, values);
  }
  if (!fit) return std::nullopt;
  return Line{*fit, lead};
}

}  // namespace

std::optional<knowledge::Models::Forecast> StandardModels::forecast(const Window& window,
                                                                    double horizon) const {
  const auto line = line_through(window);
  if (!line || !std::isfinite(horizon)) return std::nullopt;
  const double lead = line->lead + horizon;
  const double value = line->fit.at(lead);
  const double half = line->fit.half_width(lead, kLevel);
  return Forecast{value, value - half, value + half};
}

std::optional<double> StandardModels::time_to(const Window& window, double threshold) const {
  const auto line = line_through(window);
  if (!line || std::isnan(threshold)) return std::nullopt;
  const double value = line->fit.at(line->lead);
  if (value == threshold) return 0;
  constexpr double kNever = std::numeric_limits<double>::infinity();
  if (line->fit.slope == 0 || !(line->fit.slope_p_value() <= 1 - kLevel)) return kNever;
  const double seconds = (threshold - value) / line->fit.slope;
  return seconds >= 0 ? seconds : kNever;
}

std::optional<double> StandardModels::anomaly(const Window& window) const {
  std::vector<double> values;
  std::ranges::copy_if(window.values, std::back_inserter(values),
                       [](double value) { return std::isfinite(value); });
  if (values.size() < kMinScored || !std::isfinite(window.values.back())) return std::nullopt;
  const double newest = values.back();
  const std::span<const double> before(values.data(), values.size() - 1);
  const auto [least, greatest] = std::ranges::minmax(before);
  if (least == greatest) return newest == least ? 0.0 : 1.0;
  const double middle = least / 2 + greatest / 2;  // the forest compares 32-bit floats: near zero
  std::vector<double> rows;
  for (const std::size_t i : thinned(values.size() - 1, kMaxTrained)) {
    rows.push_back(values[i + 1] - middle);
    rows.push_back(values[i + 1] - values[i]);
  }
  IsolationForest::Options options;
  options.subsample =
      static_cast<std::uint32_t>(std::min<std::size_t>(options.subsample, rows.size() / 2));
  const auto forest = IsolationForest::fit(rows, 2, options);
  if (!forest) return std::nullopt;
  const double row[] = {newest - middle, newest - before.back()};
  return forest->anomaly_score(row);
}

const StandardModels& standard_models() noexcept {
  static const StandardModels kModels;
  return kModels;
}

}  // namespace nexus::analyze
