// What one fitted series lets one say about the time ahead: pure arithmetic, without clocks and
// data.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "nexus/analyze/forecast.hpp"

namespace nexus::analyze {

/// One series as the last tick found it.
struct Track {
  config::VitalConfig vital;
  knowledge::Labels labels;  // without __name__
  double current = 0;
  std::size_t samples = 0;
  double covered_seconds = 0;  // from the first to the last sample
  bool steady = false;         // each third of the window has the trend of the whole
  std::optional<LinearFit> fit;
};

/// Fits the samples; `steady` is found too, where R squared is at least `least_r_squared`: nobody
/// asks for it below.
void fit_track(std::span<const std::int64_t> times_ms, std::span<const double> values,
               double least_r_squared, Track& track);

[[nodiscard]] Prediction predict(const Track& track, Millis horizon,
                                 const config::ForecastSection& section);

/// The severity of a crossing that is worth a finding.
[[nodiscard]] std::optional<Severity> credible_crossing(const Track& track,
                                                        const Prediction& prediction,
                                                        const config::ForecastSection& section);

}  // namespace nexus::analyze
