#include "analyze/forecast/outlook.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace nexus::analyze {
namespace {

constexpr double kFarthestSeconds = 365.0 * 86'400;  // a date beyond it is no date
constexpr double kLeastMove = 0.01;                  // of the scale, to be called a trend
constexpr double kThirdOfSlope = 0.25;               // what each third must show of the whole slope
constexpr double kReach = 2;  // no farther ahead than so many times the time observed

double seconds(Millis duration) {
  return std::chrono::duration<double>(duration).count();
}

double within(const config::VitalConfig& vital, double value) {
  if (vital.minimum) value = std::max(value, *vital.minimum);
  if (vital.maximum) value = std::min(value, *vital.maximum);
  return value;
}

bool significant(const LinearFit& fit, double level) {
  return fit.slope_p_value() < 1 - level;
}

bool beyond(const config::VitalConfig& vital, double value, double threshold) {
  return vital.direction == config::Direction::kAbove ? value >= threshold : value <= threshold;
}

bool has_reached(const config::VitalConfig& vital, const std::optional<double>& threshold,
                 double value) {
  return threshold && beyond(vital, value, *threshold);
}

std::optional<double> time_to(const Track& track, const std::optional<double>& threshold,
                              double level) {
  if (!threshold) return std::nullopt;
  if (beyond(track.vital, track.current, *threshold)) return 0;
  const LinearFit& fit = *track.fit;
  const bool toward =
      track.vital.direction == config::Direction::kAbove ? fit.slope > 0 : fit.slope < 0;
  const bool possible = within(track.vital, *threshold) == *threshold;
  if (!toward || !possible || !significant(fit, level)) return std::nullopt;
  const double time = (*threshold - fit.intercept) / fit.slope;
  if (!(time <= kFarthestSeconds)) return std::nullopt;
  return std::max(time, 0.0);
}

std::string trend_of(const Track& track, double horizon, double level) {
  const config::VitalConfig& vital = track.vital;
  const double scale = vital.minimum && vital.maximum
                           ? *vital.maximum - *vital.minimum
                           : std::max(std::abs(track.current), std::abs(track.fit->intercept));
  const double move = track.fit->slope * horizon;
  if (!(std::abs(move) >= kLeastMove * scale) || !significant(*track.fit, level)) return "stable";
  return move > 0 ? "rising" : "falling";
}

std::string risk_of(const Track& track, const Prediction& prediction, double horizon) {
  const config::VitalConfig& vital = track.vital;
  const auto in = [](const std::optional<double>& time, double limit) {
    return time && *time <= limit;
  };
  if (in(prediction.seconds_to_critical, horizon / 4)) return "critical";
  if (in(prediction.seconds_to_critical, horizon)) return "high";
  if (has_reached(vital, vital.warning, track.current)) return "medium";
  if (in(prediction.seconds_to_warning, horizon)) return "low";
  return "none";
}

}  // namespace

void fit_track(std::span<const std::int64_t> times_ms, std::span<const double> values,
               double least_r_squared, Track& track) {
  track.fit = fit_line(times_ms, values);
  track.steady = false;
  if (!track.fit || track.fit->slope == 0 || track.fit->r_squared.value_or(0) < least_r_squared)
    return;
  const std::size_t third = times_ms.size() / 3;
  track.steady = true;
  for (std::size_t i = 0; i < 3 && track.steady; ++i) {
    const auto part =
        fit_line(times_ms.subspan(i * third, third), values.subspan(i * third, third));
    track.steady = part && part->slope / track.fit->slope >= kThirdOfSlope;
  }
}

Prediction predict(const Track& track, Millis horizon, const config::ForecastSection& section) {
  Prediction p;
  p.metric_name = track.vital.name;
  p.labels = track.labels;
  p.unit = track.vital.unit;
  p.current_value = p.predicted_value = p.lower = p.upper = track.current;
  p.horizon = horizon;
  p.trend = "stable";
  p.risk_level = has_reached(track.vital, track.vital.critical, track.current)  ? "critical"
                 : has_reached(track.vital, track.vital.warning, track.current) ? "medium"
                                                                                : "none";
  if (track.samples < section.minimum_samples || !track.fit) {
    p.model = fmt::format("warming up: {} of {} samples", track.samples,
                          std::max<std::size_t>(section.minimum_samples, 3));
    return p;
  }
  const double lead = seconds(horizon);
  const double centre = track.fit->at(lead);
  const double half = track.fit->half_width(lead, section.interval_level);
  if (!std::isfinite(track.current) || !std::isfinite(centre - half) ||
      !std::isfinite(centre + half)) {
    p.model = "no forecast: the values are not finite";
    return p;
  }
  p.predicted_value = within(track.vital, centre);
  p.lower = within(track.vital, centre - half);
  p.upper = within(track.vital, centre + half);
  p.fit = *track.fit;
  p.r_squared = track.fit->r_squared;
  p.confidence = p.r_squared.value_or(0);
  p.model = "linear_regression";
  p.ready = true;
  p.seconds_to_warning = time_to(track, track.vital.warning, section.interval_level);
  p.seconds_to_critical = time_to(track, track.vital.critical, section.interval_level);
  p.trend = trend_of(track, lead, section.interval_level);
  p.risk_level = risk_of(track, p, lead);
  return p;
}

std::optional<Severity> credible_crossing(const Track& track, const Prediction& p,
                                          const config::ForecastSection& section) {
  const double lead = seconds(p.horizon);
  const double least = seconds(std::min(section.window, p.horizon)) / 2;
  if (!p.ready || p.confidence < section.minimum_r_squared || !track.steady ||
      track.covered_seconds < least) {
    return std::nullopt;
  }
  const double farthest = std::min(lead, kReach * track.covered_seconds);
  const double nearer = track.vital.direction == config::Direction::kAbove ? p.lower : p.upper;
  const auto crosses = [&](const std::optional<double>& threshold,
                           const std::optional<double>& time) {
    return time && *time > 0 && *time <= farthest && has_reached(track.vital, threshold, nearer);
  };
  if (crosses(track.vital.critical, p.seconds_to_critical)) return Severity::kWarning;
  if (crosses(track.vital.warning, p.seconds_to_warning)) return Severity::kInfo;
  return std::nullopt;
}

}  // namespace nexus::analyze
