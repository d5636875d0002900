// A table's column through the combination, row by row, as live data go: for `nexus-agent
// forecast`, `backtest` and tests.
//
// Rows go into slots of `step` by their time; a row that is not in a later slot than the one before
// it is left out and counted. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "nexus/analyze/combination.hpp"

namespace nexus::analyze {

/// One path: the forecast for each of the next steps, made when `origin` rows were known.
struct ForecastPath {
  std::size_t origin = 0;
  std::int64_t time = 0;  // of the last row known, milliseconds
  std::vector<ForecastPoint> points;
};

struct RollingPlan {
  Millis step{300'000};
  std::uint32_t leads = 12;          // steps ahead
  std::vector<std::size_t> origins;  // ascending, at most as many as there are rows
  std::optional<double> minimum;
  std::optional<double> maximum;
};

/// `count` origins of a series of `rows`: from half of it to the last that leaves `leads` rows to
/// compare with, evenly; one alone is that last one. Empty when the series is too short.
[[nodiscard]] std::vector<std::size_t> rolling_origins(std::size_t rows, std::uint32_t leads,
                                                       std::size_t count);

struct Rolled {
  std::vector<ForecastPath> paths;  // of the origins at which there was a forecast
  std::size_t out_of_order = 0;     // rows left out
  std::size_t missing = 0;          // rows without a value
  Combination model;                // after the last row
};
[[nodiscard]] Rolled roll(std::span<const std::int64_t> times, std::span<const double> values,
                          const RollingPlan& plan);

}  // namespace nexus::analyze
