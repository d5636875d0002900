// Sums of many windows over the same samples, in one step a window, for samples that add up without
// rounding.
//
// Counts, bytes and times in whole seconds are multiples of a power of two, and so are their sums,
// which doubles hold as they are while they stay below 2^53 of it. Then there is nothing to
// compensate, the order of addition does not matter, and a sum is the difference of two sums from
// the first sample on: the digits are those of a compensated sum (summation.hpp), sample by sample.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "knowledge/promql/functions.hpp"

namespace nexus::knowledge::promql {

class ExactSums {
 public:
  /// Nothing when a sum would be rounded, or the windows do not overlap enough for this to pay.
  [[nodiscard]] static std::optional<ExactSums> of(const RangeInput& input);

  [[nodiscard]] double sum(const Window& window) const noexcept {
    return static_cast<double>(units(window)) * unit_;
  }

 private:
  friend class ExactLines;
  [[nodiscard]] std::int64_t units(const Window& window) const noexcept {
    return before_[window.end - begin_] - before_[window.begin - begin_];
  }

  std::uint32_t begin_ = 0;           // the first sample that a window has
  double unit_ = 1;                   // a power of two
  std::uint64_t greatest_ = 0;        // of the sizes of samples, in units
  std::vector<std::int64_t> before_;  // the sum of the samples before each, in units
};

/// What a least squares line through a window is made from, times in seconds from an origin.
struct LineSums {
  double x = 0;
  double y = 0;
  double xy = 0;
  double xx = 0;
  bool is_level = false;  // all samples are the same
};

/// The same of samples and their times, which are whole seconds apart.
class ExactLines {
 public:
  [[nodiscard]] static std::optional<ExactLines> of(const RangeInput& input);
  /// Nothing when the origin is no whole number of seconds from the samples, or far away.
  [[nodiscard]] std::optional<LineSums> sums(const Window& window,
                                             std::int64_t origin) const noexcept;

 private:
  explicit ExactLines(ExactSums&& values) : values_(std::move(values)) {}

  ExactSums values_;
  std::int64_t base_ = 0;               // ms; times count from here, in seconds
  std::int64_t last_ = 0;               // seconds
  std::vector<std::int64_t> x_;         // sums before each sample: of times
  std::vector<std::int64_t> xx_;        // of their squares
  std::vector<std::int64_t> xy_;        // of times and samples, in units
  std::vector<std::uint32_t> changes_;  // samples that differ from the one before
};

}  // namespace nexus::knowledge::promql
