// Functions of change: rate, increase, delta and their instant forms.
#include <vector>

#include "knowledge/promql/bodies.hpp"

namespace nexus::knowledge::promql {
namespace {

enum class Kind { kCounter, kGauge };
enum class Unit { kPerSecond, kTotal };

double seconds(std::int64_t millis) {
  return static_cast<double>(millis) / 1000.0;
}

/// Indices, of those that the windows cover, at which a counter fell: found once instead of once a
/// window.
std::vector<std::uint32_t> find_resets(const RangeInput& input) {
  std::vector<std::uint32_t> out;
  const std::uint32_t end = input.windows.back().end;
  for (std::uint32_t i = input.windows.front().begin + 1; i < end; ++i) {
    if (input.values[i] < input.values[i - 1]) out.push_back(i);
  }
  return out;
}

/// How far the change in a window is stretched: to the edges of the range when the outermost
/// samples are about as near as samples are to each other, else by half their distance; never to
/// where a counter would be below zero.
double stretch(const RangeInput& input, const Window& window, std::int64_t end, double change,
               Kind kind) {
  const std::int64_t first = input.times[window.begin];
  const std::int64_t last = input.times[window.end - 1];
  double to_start = seconds(first - (end - input.range));
  double to_end = seconds(end - last);
  const double sampled = seconds(last - first);
  const double average = sampled / static_cast<double>(window.size() - 1);
  const double threshold = average * 1.1;
  if (to_start >= threshold) to_start = average / 2;
  if (kind == Kind::kCounter && change > 0 && input.values[window.begin] >= 0) {
    const double to_zero = sampled * (input.values[window.begin] / change);
    if (to_zero < to_start) to_start = to_zero;
  }
  if (to_end >= threshold) to_end = average / 2;
  return (sampled + to_start + to_end) / sampled;
}

template <Kind kKind, Unit kUnit>
void extrapolate(const RangeInput& input, std::span<double> out) {
  std::vector<std::uint32_t> resets;
  if (kKind == Kind::kCounter) resets = find_resets(input);
  std::size_t reset = 0;  // the first one behind the first sample of the window
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Window window = input.windows[i];
    if (window.size() < 2) continue;
    double change = input.values[window.end - 1] - input.values[window.begin];
    while (reset < resets.size() && resets[reset] <= window.begin) ++reset;
    for (std::size_t r = reset; r < resets.size() && resets[r] < window.end; ++r) {
      change += input.values[resets[r] - 1];
    }
    double factor = stretch(input, window, input.ends.at(i), change, kKind);
    if (kUnit == Unit::kPerSecond) factor /= seconds(input.range);
    out[i] = change * factor;
  }
}

template <Kind kKind>
void last_two(const RangeInput& input, std::span<double> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Window window = input.windows[i];
    if (window.size() < 2) continue;
    const double last = input.values[window.end - 1];
    const double previous = input.values[window.end - 2];
    const std::int64_t elapsed = input.times[window.end - 1] - input.times[window.end - 2];
    if (kKind == Kind::kGauge) {
      out[i] = last - previous;
    } else {
      out[i] = (last < previous ? last : last - previous) / seconds(elapsed);
    }
  }
}

}  // namespace

void rate(const RangeInput& input, std::span<double> out) {
  extrapolate<Kind::kCounter, Unit::kPerSecond>(input, out);
}
void increase(const RangeInput& input, std::span<double> out) {
  extrapolate<Kind::kCounter, Unit::kTotal>(input, out);
}
void delta(const RangeInput& input, std::span<double> out) {
  extrapolate<Kind::kGauge, Unit::kTotal>(input, out);
}
void irate(const RangeInput& input, std::span<double> out) {
  last_two<Kind::kCounter>(input, out);
}
void idelta(const RangeInput& input, std::span<double> out) {
  last_two<Kind::kGauge>(input, out);
}

}  // namespace nexus::knowledge::promql
