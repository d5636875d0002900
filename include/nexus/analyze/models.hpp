// What the nexus_ functions of PromQL ask (knowledge/models.hpp), by the models of this room: least
// squares for nexus_forecast and nexus_time_to, an isolation forest for nexus_anomaly.
//
// forecast: a straight line through the window (fit_line; windows of more than kMaxPoints samples
// are thinned evenly) and its 95 % prediction interval; from three samples on. time_to: along that
// line; a slope that does not differ from zero (p > 0.05) stands still. anomaly: a forest grown on
// the window (thinned evenly to 256 rows, the newest among them), features the value and its
// change, asked about the newest sample: s(x) of the paper, 0 to 1; from kMinScored samples on. A
// window that was constant until the newest sample gives 0 when that is the same and 1 when it is
// not.
//
// Thread safety: stateless.
#pragma once

#include "nexus/knowledge/models.hpp"

namespace nexus::analyze {

class StandardModels final : public knowledge::Models {
 public:
  static constexpr std::size_t kMaxPoints = 4096;
  static constexpr std::size_t kMinScored = 16;

  [[nodiscard]] std::optional<Forecast> forecast(const Window& window,
                                                 double horizon) const override;
  [[nodiscard]] std::optional<double> anomaly(const Window& window) const override;
  [[nodiscard]] std::optional<double> time_to(const Window& window,
                                              double threshold) const override;
};

/// The one instance that the daemon and the command line use.
[[nodiscard]] const StandardModels& standard_models() noexcept;

}  // namespace nexus::analyze
