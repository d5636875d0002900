// Several windows summed side by side. A compensated sum waits for itself at every sample; sums of
// neighbouring windows do not wait for each other, so a processor does them at once (the loops are
// in lane_kernels.hpp). Each lane adds up its own window in its own order: the digits are those of
// the plain loop, unless a sum is not finite: such windows are for that.
// Thread safety: plain values.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "knowledge/promql/functions.hpp"
#include "knowledge/promql/lane_kernels.hpp"

namespace nexus::knowledge::promql {

/// As many CompensatedSum as there are lanes.
struct LaneSum : LaneSums {
  [[nodiscard]] double value(std::size_t lane) const noexcept {
    return sum[lane] + compensation[lane];
  }
  [[nodiscard]] bool is_finite(std::size_t lane) const noexcept {
    return std::isfinite(sum[lane]) && std::isfinite(compensation[lane]);
  }
};

/// Whether the windows, which ascend, hold their samples several times over: then what neighbours
/// share is worth finding once.
[[nodiscard]] inline bool do_overlap(std::span<const Window> windows) noexcept {
  constexpr std::size_t kWorthwhile = 3;
  if (windows.empty()) return false;
  std::size_t held = 0;
  for (const Window& window : windows) held += window.size();
  return held > kWorthwhile * (windows.back().end - windows.front().begin);
}

/// How many times the greatest of the samples that the windows cover is the least, a little more;
/// infinite unless all are positive.
[[nodiscard]] inline double spread_of(std::span<const double> values,
                                      std::span<const Window> windows) noexcept {
  constexpr double kMore = 1.01;  // for sums, which are rounded
  if (windows.empty()) return HUGE_VAL;
  double least = HUGE_VAL;
  double greatest = 0;
  bool are_positive = true;
  for (std::uint32_t i = windows.front().begin; i < windows.back().end; ++i) {
    are_positive &= values[i] > 0;  // NaN is not
    least = values[i] < least ? values[i] : least;
    greatest = values[i] > greatest ? values[i] : greatest;
  }
  return are_positive && std::isfinite(greatest) ? kMore * greatest / least : HUGE_VAL;
}
/// After so many samples the sum of any window is larger than each of them.
[[nodiscard]] inline std::uint32_t settled_after(double spread, std::uint32_t size) noexcept {
  return spread < size ? static_cast<std::uint32_t>(spread) + 1 : size;
}

/// kLanes windows from `first` on that have the same size, which is not 0.
[[nodiscard]] inline bool are_alike(std::span<const Window> windows, std::size_t first) noexcept {
  if (first + kLanes > windows.size() || windows[first].size() == 0) return false;
  for (std::size_t lane = 1; lane < kLanes; ++lane) {
    if (windows[first + lane].size() != windows[first].size()) return false;
  }
  return true;
}

/// `eight` (first window) where kLanes windows are alike, `one` (window) elsewhere. What `eight`
/// says it could not do (bits, one a lane) `one` does.
template <typename Eight, typename One>
void in_lanes(std::span<const Window> windows, Eight&& eight, One&& one) {
  for (std::size_t i = 0; i < windows.size();) {
    if (!are_alike(windows, i)) {
      if (windows[i].size() > 0) one(i);
      ++i;
      continue;
    }
    const std::uint32_t undone = eight(i);
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      if ((undone >> lane & 1U) != 0) one(i + lane);
    }
    i += kLanes;
  }
}

/// Where kLanes windows begin.
[[nodiscard]] inline std::array<const double*, kLanes> begins_of(std::span<const double> values,
                                                                 std::span<const Window> windows,
                                                                 std::size_t first) noexcept {
  std::array<const double*, kLanes> out;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    out[lane] = values.data() + windows[first + lane].begin;
  }
  return out;
}

}  // namespace nexus::knowledge::promql
