#include "analyze/forecast/outlook.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace nexus::analyze {
namespace {

constexpr double kFarthestSeconds = 365.0 * 86'400;  // a date beyond it is no date
constexpr double kLeastMove = 0.01;                  // of the scale, to be called a trend
constexpr double kThirdOfSlope = 0.25;               // what each third must show of the whole slope
constexpr double kToleratedOfValue = 0.1;            // as in the combination
constexpr double kReach = 2;  // a line leads no farther ahead than so many times the time observed

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

}  // namespace

std::optional<double> time_to(const Track& track, const std::optional<double>& threshold,
                              double level) {
  if (!track.fit) return std::nullopt;
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

namespace {

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

namespace {

/// Of a lead: what minutes have shown says nothing about an hour.
double led_by_line(const Track& track, double lead) {
  return std::min(lead, kReach * track.covered_seconds);
}

/// The straight line's part; says in `model` why there is none.
void predict_line(const Track& track, const config::ForecastSection& section, Prediction& p) {
  if (track.samples < section.minimum_samples || !track.fit) {
    p.model = fmt::format("warming up: {} of {} samples", track.samples,
                          std::max<std::size_t>(section.minimum_samples, 3));
    return;
  }
  const double lead = seconds(p.horizon);
  const double centre = track.fit->at(led_by_line(track, lead));
  const double half = track.fit->half_width(lead, section.interval_level);
  // Whether it goes on as it did is not known where it was not seen for long: the band has both.
  const double onward = track.fit->at(lead);
  const double least = std::min(centre, onward) - half;
  const double most = std::max(centre, onward) + half;
  if (!std::isfinite(track.current) || !std::isfinite(least) || !std::isfinite(most)) {
    p.model = "no forecast: the values are not finite";
    return;
  }
  p.predicted_value = within(track.vital, centre);
  p.lower = within(track.vital, least);
  p.upper = within(track.vital, most);
  p.fit = *track.fit;
  p.r_squared = track.fit->r_squared;
  p.confidence = p.r_squared.value_or(0);
  p.model = "linear_regression";
  p.ready = true;
  p.seconds_to_warning = time_to(track, track.vital.warning, section.interval_level);
  p.seconds_to_critical = time_to(track, track.vital.critical, section.interval_level);
  p.trend = trend_of(track, lead, section.interval_level);
}

/// The scale that has learnt this lead, and the lead in its steps; nothing before it was verified.
const ScaleView* scale_for(const ModelView& view, Millis horizon, std::size_t& lead,
                           std::size_t& record) {
  for (const ScaleView* scale : {&view.near, &view.far}) {
    if (scale->points.empty()) continue;
    lead = static_cast<std::size_t>((horizon + scale->step - Millis(1)) / scale->step);
    if (lead < 1 || lead > scale->points.size()) continue;
    record = 0;
    while (record + 1 < scale->records.size() && scale->records[record].lead < lead) ++record;
    if (scale->records[record].verified >= Forecaster::kVerified) return scale;
  }
  return nullptr;
}

/// The combination's part, over the line's; false: it has not learnt this lead.
bool predict_combination(const Track& track, Prediction& p) {
  if (!track.view || !std::isfinite(track.current)) return false;
  std::size_t lead = 0;
  std::size_t at = 0;
  const ScaleView* scale = scale_for(*track.view, p.horizon, lead, at);
  if (scale == nullptr) return false;
  const ForecastPoint& point = scale->points[lead - 1];
  const LeadRecord& record = scale->records[at];
  p.predicted_value = within(track.vital, point.mean);
  p.lower = within(track.vital, point.lo95);
  p.upper = within(track.vital, point.hi95);
  p.lower80 = within(track.vital, point.lo80);
  p.upper80 = within(track.vital, point.hi80);
  p.confidence = record.within_tolerance;
  p.tolerance = track.view->tolerance > 0 ? track.view->tolerance
                                          : std::abs(track.current) * kToleratedOfValue;
  p.past_error = record.error;
  p.model = "combination: " + scale->experts[at];
  p.ready = true;
  return true;
}

/// Over a day or more the growth of what fills knows better than an hour's line.
void predict_reach(const Track& track, Prediction& p) {
  if (!track.view || !track.view->capacity || track.view->capacity->days_seen < 1) return;
  const Capacity& capacity = *track.view->capacity;
  const auto take = [](const Reach& reach, std::optional<double>& time) {
    if (!time || *time > 0) time = reach.seconds;
  };
  take(capacity.warning, p.seconds_to_warning);
  take(capacity.critical, p.seconds_to_critical);
}

}  // namespace

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
  predict_line(track, section, p);
  const bool learnt = predict_combination(track, p);
  if (!p.ready) return p;
  predict_reach(track, p);
  const double lead = seconds(horizon);
  p.risk_level = risk_of(track, p, learnt ? lead : led_by_line(track, lead));
  return p;
}

std::optional<Severity> credible_crossing(const Track& track, const Prediction& p,
                                          const config::ForecastSection& section) {
  const double lead = seconds(p.horizon);
  const double least = seconds(std::min(section.window, p.horizon)) / 2;
  if (!p.ready || p.r_squared.value_or(0) < section.minimum_r_squared || !track.steady ||
      track.covered_seconds < least || !track.fit) {
    return std::nullopt;
  }
  const double farthest = led_by_line(track, lead);
  const double nearer = track.vital.direction == config::Direction::kAbove ? p.lower : p.upper;
  const auto crosses = [&](const std::optional<double>& threshold) {
    const auto time = time_to(track, threshold, section.interval_level);
    return time && *time > 0 && *time <= farthest && has_reached(track.vital, threshold, nearer);
  };
  if (crosses(track.vital.critical)) return Severity::kWarning;
  if (crosses(track.vital.warning)) return Severity::kInfo;
  return std::nullopt;
}

}  // namespace nexus::analyze
