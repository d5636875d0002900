// How good the forecasts of a series would have been: its past through the combination, row by row,
// every forecast compared with what came.
//
// Only the second half counts (the first is for learning). Errors at one lead; the last value and
// the value a day before (where a day was seen) are judged on the same rows. A crossing is a row at
// which the series goes beyond the threshold after an hour or more on the good side; it was
// foretold when the upper (lower) 80 % end or the mean had been beyond it at some lead that named
// this time or earlier; `warned_seconds` is the mean of how early. Thread safety: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "nexus/base/clock.hpp"

namespace nexus::analyze {

struct BacktestPlan {
  Millis step{300'000};
  std::uint32_t leads = 12;
  std::optional<double> threshold;
  bool above = true;
  std::optional<double> minimum;
  std::optional<double> maximum;
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
};

[[nodiscard]] BacktestResult backtest(std::span<const std::int64_t> times,
                                      std::span<const double> values, const BacktestPlan& plan);

}  // namespace nexus::analyze
