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

struct LaneKernels {
  using Windows = const double* const*;

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
};

/// Those for this processor.
[[nodiscard]] const LaneKernels& lane_kernels() noexcept;

/// nullptr where the build has none.
[[nodiscard]] const LaneKernels* avx2_kernels() noexcept;

}  // namespace nexus::knowledge::promql
