// Forecasts for every vital: ordinary least squares on a rolling window.
//
// For a vital's series with n samples (t, y) in the window: slope, intercept, R squared, residual
// standard error s with n - 2 degrees of freedom, and at lead h the prediction interval
//   y(h) +- t(level, n-2) * s * sqrt(1 + 1/n + (h - mean t)^2 / Sxx)
// (Draper and Smith, Applied Regression Analysis, ch. 1). Windows of more than kMaxPoints samples
// are thinned evenly. Values are kept inside the vital's natural bounds. Time to a threshold is
// given only when the trend moves toward it and the slope differs from zero at the chosen level;
// otherwise there is no date. `confidence` is R squared, 0 to 1; a series that was constant has no
// variation to explain: its R squared is undefined and its confidence 0.
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

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/analyze/rules.hpp"

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

struct Prediction {
  std::string metric_name;
  knowledge::Labels labels;  // without __name__
  std::string unit;
  double current_value = 0;
  double predicted_value = 0;
  double lower = 0;
  double upper = 0;
  double confidence = 0;  // R squared, 0 where it is undefined
  std::optional<double> r_squared;
  Millis horizon{};
  std::string trend;       // rising, falling, stable
  std::string risk_level;  // none, low, medium, high, critical
  std::string model;       // linear_regression, or "warming up: 12 of 60 samples"
  std::optional<double> seconds_to_warning;
  std::optional<double> seconds_to_critical;
  bool ready = false;
  LinearFit fit;
};

class Forecaster {
 public:
  static constexpr std::size_t kMaxPoints = 4096;

  Forecaster(Clock& clock, const knowledge::Queryable& data, Book& book,
             knowledge::SelfMetrics& self);
  ~Forecaster();
  /// Takes effect with the next tick.
  void configure(const config::ForecastSection& section);
  /// Forecasts every series of every vital that wants it, if `interval` has passed since the last
  /// time (else it does nothing), and reports crossings ahead as findings "<vital>_forecast".
  void tick(const VitalsSnapshot& vitals);
  [[nodiscard]] std::shared_ptr<const std::vector<Prediction>> predictions() const;
  /// For another horizon, from the fits of the last tick.
  [[nodiscard]] std::vector<Prediction> predictions(Millis horizon) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::analyze
