// What one fitted series lets one say about the time ahead: pure arithmetic, without clocks and
// data.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "analyze/forecast/models.hpp"
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
  std::shared_ptr<const ModelView> view;  // of the combination; none: not learnt yet
};

/// Fits the samples; `steady` is found too, where R squared is at least `least_r_squared`: nobody
/// asks for it below.
void fit_track(std::span<const std::int64_t> times_ms, std::span<const double> values,
               double least_r_squared, Track& track);

/// Seconds until the straight line is at the threshold; none without a significant slope toward it.
[[nodiscard]] std::optional<double> time_to(const Track& track,
                                            const std::optional<double>& threshold, double level);

[[nodiscard]] Prediction predict(const Track& track, Millis horizon,
                                 const config::ForecastSection& section);

/// The severity of a crossing that is worth a finding.
[[nodiscard]] std::optional<Severity> credible_crossing(const Track& track,
                                                        const Prediction& prediction,
                                                        const config::ForecastSection& section);

}  // namespace nexus::analyze
