// [[vital]], [[alert]], [forecast] and [anomaly]: what samples are judged by.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "nexus/config/values.hpp"

namespace nexus::config {

/// What becomes of a finding whose data is gone: it ends, stays as it is, or begins.
enum class OnMissing { kResolve, kHold, kFire };
[[nodiscard]] std::string_view to_string(OnMissing policy) noexcept;  // resolve hold fire

/// [[vital]]: a recording rule with unit and thresholds. One result series per element of the
/// expression's vector.
struct VitalConfig {
  std::string name;
  Expression expr;
  std::string unit;  // percent, bytes, bytes_per_second, seconds, ratio, count, ...
  std::string help;
  std::optional<double> warning;
  std::optional<double> critical;
  Direction direction = Direction::kAbove;
  std::optional<double> clear;    // where a finding ends: beyond `warning`, on the good side
  std::optional<double> minimum;  // natural bounds of the value: forecasts are kept inside
  std::optional<double> maximum;
  Millis pending = 0s;  // `for`: how long a threshold must be crossed before its finding fires
  Millis keep_firing_for = 0s;
  OnMissing on_missing = OnMissing::kResolve;
  bool forecast = true;
  bool anomaly = true;
  bool enabled = true;  // `enabled = false` switches a shipped vital off
  Where where;
  bool operator==(const VitalConfig& o) const {
    return name == o.name && expr == o.expr && unit == o.unit && help == o.help &&
           warning == o.warning && critical == o.critical && direction == o.direction &&
           clear == o.clear && keep_firing_for == o.keep_firing_for && on_missing == o.on_missing &&
           minimum == o.minimum && maximum == o.maximum && pending == o.pending &&
           forecast == o.forecast && anomaly == o.anomaly && enabled == o.enabled;
  }
};

struct ForecastSection {
  bool enabled = true;
  Millis horizon = 60min;  // how far ahead predictions are made
  Millis window = 60min;   // rolling window of the regression
  Millis interval = 15s;   // how often every vital's forecast is made anew
  std::uint32_t minimum_samples = 60;
  double minimum_r_squared = 0.5;  // below it a crossing is not reported as a finding
  double interval_level = 0.95;
  bool operator==(const ForecastSection&) const = default;
};

struct AnomalySection {
  bool enabled = true;
  double contamination =
      0.1;  // share of training samples that lies below the offset of the decision function
  std::uint32_t trees = 100;
  std::uint32_t subsample = 256;
  Millis window = 6h;  // training window
  Millis retrain = 1h;
  Millis interval = 5s;                 // how often every vital is scored
  std::uint32_t minimum_samples = 256;  // below it a model says "warming up"
  double alarms_per_day = 1;            // false alarms that are put up with, of the whole host
  bool operator==(const AnomalySection&) const = default;
};

struct AlertConfig {
  std::string name;
  Expression expr;
  /// Hysteresis: what fires ends when this gives an element with its labels; empty: when `expr`
  /// gives none.
  Expression clear;
  Millis pending = 0s;  // `for`
  Millis keep_firing_for = 0s;
  OnMissing on_missing = OnMissing::kResolve;
  Severity severity = Severity::kWarning;
  StringMap labels;
  StringMap annotations;
  Where where;
  bool operator==(const AlertConfig& o) const {
    return name == o.name && expr == o.expr && pending == o.pending && clear == o.clear &&
           keep_firing_for == o.keep_firing_for && on_missing == o.on_missing &&
           severity == o.severity && labels == o.labels && annotations == o.annotations;
  }
};

}  // namespace nexus::config
