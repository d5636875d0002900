// The agent's own functions: each window is shown to the models that the data brought along.
#include <cmath>
#include <optional>

#include "knowledge/promql/bodies.hpp"
#include "nexus/knowledge/models.hpp"

namespace nexus::knowledge::promql {
namespace {

/// `answer` (window, step) -> an optional number.
template <typename Answer>
void ask(const RangeInput& input, std::span<double> out, Answer&& answer) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Window window = input.windows[i];
    if (window.size() == 0) continue;
    const std::optional<double> value =
        answer(Models::Window{input.times.subspan(window.begin, window.size()),
                              input.values.subspan(window.begin, window.size()), input.ends.at(i)},
               i);
    if (value) out[i] = *value;
  }
}

template <double Models::Forecast::* kPart>
void forecast(const RangeInput& input, std::span<double> out) {
  ask(input, out, [&](const Models::Window& window, std::size_t i) -> std::optional<double> {
    const auto forecast = input.models->forecast(window, input.scalars[0][i]);
    if (!forecast) return std::nullopt;
    return (*forecast).*kPart;
  });
}

}  // namespace

void nexus_forecast(const RangeInput& input, std::span<double> out) {
  forecast<&Models::Forecast::value>(input, out);
}
void nexus_forecast_lower(const RangeInput& input, std::span<double> out) {
  forecast<&Models::Forecast::lower>(input, out);
}
void nexus_forecast_upper(const RangeInput& input, std::span<double> out) {
  forecast<&Models::Forecast::upper>(input, out);
}

void nexus_anomaly(const RangeInput& input, std::span<double> out) {
  ask(input, out,
      [&](const Models::Window& window, std::size_t) { return input.models->anomaly(window); });
}

void nexus_time_to(const RangeInput& input, std::span<double> out) {
  ask(input, out, [&](const Models::Window& window, std::size_t i) {
    return input.models->time_to(window, input.scalars[0][i]);
  });
}

}  // namespace nexus::knowledge::promql
