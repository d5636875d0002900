// How good the forecasts of a series would have been: its past through the combination, row by row,
// every forecast compared with what came.
//
// Only the second half counts (the first is for learning). Errors at one lead; the last value and
// the value a day before (where a day was seen) are judged on the same rows. A crossing is a row at
// which the series goes beyond the threshold after an hour or more on the good side; it was
// foretold when the upper (lower) 80 % end or the mean had been beyond it at some lead that named
// this time or earlier; `warned_seconds` is the mean of how early, and `each` names every crossing.
//
// judge_alarms(): the same past, best as means of minutes, through a VitalDetector. Alarms less
// than five minutes apart are one. An alarm is false when the series did not stand beyond the
// threshold then or within the hour that followed; without a threshold nothing says that one was
// right, and all count as false.
//
// Thread safety: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "nexus/base/clock.hpp"

namespace nexus::analyze {

struct BacktestPlan {
  Millis step{300'000};
  std::uint32_t leads = 12;
  std::optional<double> threshold;
  bool above = true;
  std::optional<double> minimum;
  std::optional<double> maximum;
  double alarms_a_day = 0.5;  // what single vitals have of the host's budget of one
};

struct Crossing {
  std::int64_t time = 0;                   // milliseconds
  std::optional<double> foretold_seconds;  // how long before a forecast named it
  std::optional<double> alarm_seconds;     // how long before an anomaly was told, within the hour
};

struct BacktestResult {
  std::size_t forecasts = 0;
  double error = 0;  // mean absolute, all leads
  double last_value_error = 0;
  std::optional<double> seasonal_error;
  double coverage80 = 0;
  double coverage95 = 0;
  std::size_t crossings = 0;
  std::size_t foretold = 0;
  double warned_seconds = 0;  // mean over those foretold
  std::vector<Crossing> each;
  std::size_t alarms = 0;
  std::size_t false_alarms = 0;
  double alarm_days = 0;  // that the detector was ready
};

[[nodiscard]] BacktestResult backtest(std::span<const std::int64_t> times,
                                      std::span<const double> values, const BacktestPlan& plan);
/// Adds what anomaly detection would have told to `result`, and to its crossings.
void judge_alarms(std::span<const std::int64_t> times, std::span<const double> values,
                  const BacktestPlan& plan, BacktestResult& result);

}  // namespace nexus::analyze
