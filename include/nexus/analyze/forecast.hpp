// Forecasts for every vital: a weighted combination of experts (combination.hpp) over means of five
// minutes for leads up to an hour and of one hour up to two days, the growth of what fills up
// (fill.hpp), and ordinary least squares on a rolling window.
//
// `model` says which one a prediction is from. Until the combination has been verified at a lead
// (kVerified times), and beyond two days, it is the straight line. `confidence` is the share of the
// combination's past forecasts at this lead that were off by at most `tolerance` (5 % of the
// natural range of the vital, else 10 % of the value); for the straight line it is R squared. R
// squared, slope and significance of the line are given beside it either way. lower and upper are
// the 95 % interval, lower80 and upper80 the 80 % one.
//
// What the models learnt is in the state database (keep()), written an hour's change at a time and
// when the agent stops; new series are learnt from the history, two weeks back.
//
// The straight line:
//
// For a vital's series with n samples (t, y) in the window: slope, intercept, R squared, residual
// standard error s with n - 2 degrees of freedom, and at lead h the prediction interval
//   y(h) +- t(level, n-2) * s * sqrt(1 + 1/n + (h - mean t)^2 / Sxx)
// (Draper and Smith, Applied Regression Analysis, ch. 1). Windows of more than kMaxPoints samples
// are thinned evenly. Values are kept inside the vital's natural bounds. Time to a threshold is
// given only when the trend moves toward it and the slope differs from zero at the chosen level;
// otherwise there is no date. A series that was constant has no variation to explain: its R squared
// is undefined and its confidence 0. Times to thresholds come from fill.hpp where a day was seen.
//
// A crossing ahead becomes a finding "<vital>_forecast" (info for the warning threshold, warning
// for the critical one) only when all of these hold, so that boots, bursts and noise make none:
// enough samples over at least half of min(window, horizon); R squared at least minimum_r_squared;
// a slope that differs from zero; the crossing lies within the horizon and within twice the time
// that was observed; at the horizon even the side of the prediction interval nearer to today is
// beyond the threshold; and each third of the window by itself has at least a quarter of the slope,
// since a step is no trend. It fires when it was seen for two intervals and resolves when it was
// gone for four.
//
// risk_level: critical = beyond the critical threshold now, or within a quarter of the horizon;
// high = critical within the horizon; medium = beyond the warning threshold now; low = warning
// within the horizon; else none. trend: stable unless the slope is significant and moves the value
// by a hundredth of its scale within the horizon.
//
// Thread safety: tick() from one thread; the rest from any.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/analyze/knee.hpp"
#include "nexus/analyze/leak.hpp"
#include "nexus/analyze/rules.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::analyze {

/// The fit of one straight line.
struct LinearFit {
  std::size_t n = 0;
  double slope = 0;                 // per second
  double intercept = 0;             // at the last time given
  std::optional<double> r_squared;  // none: the values are constant
  double residual_error = 0;        // standard error s
  double mean_x = 0;                // seconds relative to the last time (<= 0)
  double sxx = 0;
  [[nodiscard]] double at(double lead_seconds) const noexcept {
    return intercept + slope * lead_seconds;
  }
  /// Half width of the prediction interval at a lead; `level` e.g. 0.95.
  [[nodiscard]] double half_width(double lead_seconds, double level) const;
  /// Two-sided p-value of "the slope is zero".
  [[nodiscard]] double slope_p_value() const;
};
/// Least squares; needs at least 3 points with distinct times, finite values only are used.
[[nodiscard]] std::optional<LinearFit> fit_line(std::span<const std::int64_t> times_ms,
                                                std::span<const double> values);

/// Quantile of Student's t distribution with `degrees` degrees of freedom, p in (0, 1).
[[nodiscard]] double student_t_quantile(double p, double degrees);

/// When something reaches a limit; see fill.hpp. Seconds from now.
struct Reach {
  std::optional<double> threshold;
  std::optional<double> seconds;
  std::optional<double> earliest;
  std::optional<double> latest;
};

/// How one series with a limit fills up.
struct Capacity {
  std::string metric_name;
  knowledge::Labels labels;  // without __name__
  std::string unit;
  double current = 0;
  double per_day = 0;
  double per_day_error = 0;
  bool certain = false;  // the rate's interval does not hold zero
  std::string pattern;   // what is carried forward: "line", "day", "every 3h20m"
  double days_seen = 0;
  Reach warning;
  Reach critical;
  Reach exhaustion;  // the natural bound
  static constexpr std::array<int, 3> kPlanDays{30, 90, 180};
  /// Expected values then (not held at the bound), and how many times today's capacity would be
  /// needed to stay below the warning threshold (of a vital in percent with a threshold above it).
  std::array<double, 3> planned{};
  std::array<std::optional<double>, 3> needed{};
};

struct Prediction {
  std::string metric_name;
  knowledge::Labels labels;  // without __name__
  std::string unit;
  double current_value = 0;
  double predicted_value = 0;
  double lower = 0;
  double upper = 0;
  std::optional<double> lower80;
  std::optional<double> upper80;
  double confidence = 0;
  std::optional<double> tolerance;   // what confidence is about, absolute
  std::optional<double> past_error;  // mean absolute error of past forecasts at this lead
  std::optional<double> r_squared;
  Millis horizon{};
  std::string trend;       // rising, falling, stable
  std::string risk_level;  // none, low, medium, high, critical
  /// "combination: ridge 0.41, day profile+quick 0.22, last 0.1", "linear_regression", or
  /// "warming up: 12 of 60 samples".
  std::string model;
  std::optional<double> seconds_to_warning;
  std::optional<double> seconds_to_critical;
  bool ready = false;
  LinearFit fit;
};

class Forecaster {
 public:
  static constexpr std::size_t kMaxPoints = 4096;
  static constexpr double kVerified = 12;

  Forecaster(Clock& clock, const knowledge::Queryable& data, Book& book,
             knowledge::SelfMetrics& self);
  ~Forecaster();
  /// Before the first tick: loads what was learnt from `db`, and keeps it there.
  [[nodiscard]] Status keep(knowledge::StateDb& db);
  /// Writes all that changed; when the agent stops. The thread that ticks.
  [[nodiscard]] Status save();
  /// Takes effect with the next tick.
  void configure(const config::ForecastSection& section);
  /// Forecasts every series of every vital that wants it, if `interval` has passed since the last
  /// time (else it does nothing), and reports crossings ahead as findings "<vital>_forecast".
  void tick(const VitalsSnapshot& vitals);
  [[nodiscard]] std::shared_ptr<const std::vector<Prediction>> predictions() const;
  /// Of every series whose vital has a threshold or a natural end, soonest first.
  [[nodiscard]] std::vector<Capacity> capacity() const;
  /// What grows steadily in groups of processes: claims first, then what is merely significant.
  [[nodiscard]] std::shared_ptr<const std::vector<Leak>> leaks() const;
  /// Every response that has a load beside it, with its knee where one is known.
  [[nodiscard]] std::shared_ptr<const std::vector<Performance>> performance() const;
  /// For another horizon, from the fits of the last tick.
  [[nodiscard]] std::vector<Prediction> predictions(Millis horizon) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::analyze
