// The inner loops of windows that go side by side (lanes.hpp), in two builds: for any processor and
// for one that computes four doubles at once (AVX2). Neither fuses a multiplication with an
// addition, so the digits are the same.
//
// A loop takes where each of eight windows begins and how many samples they have. Thread safety:
// pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nexus::knowledge::promql {

inline constexpr std::size_t kLanes = 8;

/// Compensated sums, one a lane.
struct LaneSums {
  double sum[kLanes] = {};
  double compensation[kLanes] = {};
};

/// What a line through the samples of a window is made from, times in seconds from its origin.
struct LaneLines {
  LaneSums x;
  LaneSums y;
  LaneSums xy;
  LaneSums xx;
};

struct LaneKernels {
  using Windows = const double* const*;
  using Times = const std::int64_t* const*;

  /// The sums, begun with the first sample; after `settled` samples no sample is larger than its
  /// sum.
  void (*sums)(Windows windows, std::uint32_t size, std::uint32_t settled, LaneSums& out);
  /// Welford's means and squared distances.
  void (*variances)(Windows windows, std::uint32_t size, LaneSums& mean, LaneSums& squares);
  /// The sums of the samples and of their products with `factors`, begun with 0.
  void (*products)(Windows windows, std::uint32_t size, std::uint32_t settled,
                   const double* factors, LaneSums& y, LaneSums& xy);
  /// Of the products alone.
  void (*only_products)(Windows windows, std::uint32_t size, std::uint32_t settled,
                        const double* factors, LaneSums& xy);
  /// All four sums of a line, for windows whose times have nothing in common. Times in
  /// milliseconds, less than 2^51 of them from the origins, one a lane.
  void (*lines)(Windows windows, Times times, const std::int64_t* origins, std::uint32_t size,
                std::uint32_t settled, LaneLines& out);
};

/// Those for this processor.
[[nodiscard]] const LaneKernels& lane_kernels() noexcept;

/// Those for any processor.
[[nodiscard]] const LaneKernels& plain_kernels() noexcept;
/// nullptr where the build has none; not asked is whether the processor can run them.
[[nodiscard]] const LaneKernels* avx2_kernels() noexcept;

}  // namespace nexus::knowledge::promql
