// What lane_kernels.cpp and lane_kernels_avx2.cpp compile, each with its own instructions.
// Everything has internal linkage and nothing of the standard library is called: a function that
// both had in common would be taken from one of them, perhaps with instructions that a processor
// does not have. Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "knowledge/promql/lane_kernels.hpp"

namespace nexus::knowledge::promql {
namespace {

/// A register. Of g++ and clang: operators work on all elements at once.
#if defined(__AVX2__)
constexpr std::size_t kWidth = 4;
#else
constexpr std::size_t kWidth = 2;
#endif
constexpr std::size_t kParts = kLanes / kWidth;
using Part = double __attribute__((vector_size(kWidth * sizeof(double))));
using Integers = std::int64_t __attribute__((vector_size(kWidth * sizeof(std::int64_t))));

struct Lane {
  Part parts[kParts];
};

struct Summing {
  Part sum[kParts] = {};
  Part compensation[kParts] = {};

  // Compensation: the error of an addition is exact whichever of the known ways it is found, so
  // Knuth's, which asks for no comparison, gives what Neumaier's gives (summation.hpp), unless a
  // sum is not finite: such windows are for the plain loop.
  void add(std::size_t i, const Part& values) {
    const Part total = sum[i] + values;
    const Part added = total - sum[i];
    compensation[i] += (sum[i] - (total - added)) + (values - added);
    sum[i] = total;
  }
  /// Of values no larger than the sums: Dekker's way takes half the steps.
  void add_smaller(std::size_t i, const Part& values) {
    const Part total = sum[i] + values;
    compensation[i] += (sum[i] - total) + values;
    sum[i] = total;
  }
  void put(LaneSums& out) const {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      out.sum[lane] = sum[lane / kWidth][lane % kWidth];
      out.compensation[lane] = compensation[lane / kWidth][lane % kWidth];
    }
  }
};

/// The samples number `place` of as many windows as a register holds, and of all.
void load_part(LaneKernels::Windows of, std::uint32_t place, Part& out) {
#if defined(__AVX2__)
  out = Part{of[0][place], of[1][place], of[2][place], of[3][place]};
#else
  out = Part{of[0][place], of[1][place]};
#endif
}
void load(LaneKernels::Windows at, std::uint32_t place, Lane& out) {
  for (std::size_t i = 0; i < kParts; ++i) load_part(at + i * kWidth, place, out.parts[i]);
}

void sum_lanes(LaneKernels::Windows windows, std::uint32_t size, std::uint32_t settled,
               LaneSums& out) {
  Summing sums;
  Lane values;
  load(windows, 0, values);
  for (std::size_t i = 0; i < kParts; ++i) sums.sum[i] = values.parts[i];
  std::uint32_t place = 1;
  for (; place < settled; ++place) {
    load(windows, place, values);
    for (std::size_t i = 0; i < kParts; ++i) sums.add(i, values.parts[i]);
  }
  for (; place < size; ++place) {
    load(windows, place, values);
    for (std::size_t i = 0; i < kParts; ++i) sums.add_smaller(i, values.parts[i]);
  }
  sums.put(out);
}

void vary_lanes(LaneKernels::Windows windows, std::uint32_t size, LaneSums& mean_out,
                LaneSums& squares_out) {
  Summing mean;
  Summing squares;
  Lane values;
  for (std::uint32_t place = 0; place < size; ++place) {
    load(windows, place, values);
    const double count = place + 1;
    for (std::size_t i = 0; i < kParts; ++i) {
      const Part distance = values.parts[i] - (mean.sum[i] + mean.compensation[i]);
      mean.add(i, distance / count);
      squares.add(i, distance * (values.parts[i] - (mean.sum[i] + mean.compensation[i])));
    }
  }
  mean.put(mean_out);
  squares.put(squares_out);
}

void multiply_lanes(LaneKernels::Windows windows, std::uint32_t size, std::uint32_t settled,
                    const double* factors, LaneSums& y_out, LaneSums& xy_out) {
  Summing y;
  Summing xy;
  Lane values;
  std::uint32_t place = 0;
  for (; place < settled; ++place) {
    load(windows, place, values);
    for (std::size_t i = 0; i < kParts; ++i) {
      y.add(i, values.parts[i]);
      xy.add(i, factors[place] * values.parts[i]);
    }
  }
  for (; place < size; ++place) {
    load(windows, place, values);
    for (std::size_t i = 0; i < kParts; ++i) {
      y.add_smaller(i, values.parts[i]);
      xy.add_smaller(i, factors[place] * values.parts[i]);
    }
  }
  y.put(y_out);
  xy.put(xy_out);
}

void only_multiply_lanes(LaneKernels::Windows windows, std::uint32_t size, std::uint32_t settled,
                         const double* factors, LaneSums& xy_out) {
  Summing xy;
  Lane values;
  std::uint32_t place = 0;
  for (; place < settled; ++place) {
    load(windows, place, values);
    for (std::size_t i = 0; i < kParts; ++i) xy.add(i, factors[place] * values.parts[i]);
  }
  for (; place < size; ++place) {
    load(windows, place, values);
    for (std::size_t i = 0; i < kParts; ++i) xy.add_smaller(i, factors[place] * values.parts[i]);
  }
  xy.put(xy_out);
}

/// The time number `place` of some windows in seconds from their origins.
void load_seconds(const std::int64_t* const* of, std::uint32_t place, const Integers& origins,
                  Part& out) {
  // Added to it, an integer is in the lowest bits of a double.
  constexpr double kAnchor = 0x1.8p52;
  constexpr std::int64_t kAnchorBits = 0x4338000000000000;
#if defined(__AVX2__)
  Integers millis = {of[0][place], of[1][place], of[2][place], of[3][place]};
#else
  Integers millis = {of[0][place], of[1][place]};
#endif
  millis = millis - origins + kAnchorBits;
  __builtin_memcpy(&out, &millis, sizeof out);
  out = (out - kAnchor) / 1000.0;
}

/// A part at a time, so that its eight registers of sums stay where they are.
void line_lanes(LaneKernels::Windows windows, LaneKernels::Times times, const std::int64_t* origins,
                std::uint32_t size, std::uint32_t settled, LaneLines& out) {
  Summing x;
  Summing y;
  Summing xy;
  Summing xx;
  for (std::size_t i = 0; i < kParts; ++i) {
    Integers origin;
    __builtin_memcpy(&origin, origins + i * kWidth, sizeof origin);
    Part values;
    Part seconds;
    std::uint32_t place = 0;
    for (; place < settled; ++place) {
      load_part(windows + i * kWidth, place, values);
      load_seconds(times + i * kWidth, place, origin, seconds);
      x.add(i, seconds);
      y.add(i, values);
      xy.add(i, seconds * values);
      xx.add(i, seconds * seconds);
    }
    for (; place < size; ++place) {
      load_part(windows + i * kWidth, place, values);
      load_seconds(times + i * kWidth, place, origin, seconds);
      x.add_smaller(i, seconds);
      y.add_smaller(i, values);
      xy.add_smaller(i, seconds * values);
      xx.add_smaller(i, seconds * seconds);
    }
  }
  x.put(out.x);
  y.put(out.y);
  xy.put(out.xy);
  xx.put(out.xx);
}

[[maybe_unused]] constexpr LaneKernels kKernels = {sum_lanes, vary_lanes, multiply_lanes,
                                                   only_multiply_lanes, line_lanes};

}  // namespace
}  // namespace nexus::knowledge::promql
