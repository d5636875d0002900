// Aggregate: what is to be known of many samples without keeping them.
//
// Stale markers are no samples. As in PromQL, min and max are NaN only when every sample is. The
// sum is compensated (Neumaier), so it does not depend on how the samples were stored by more than
// its last bit. Thread safety: a plain value.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "nexus/knowledge/queryable.hpp"

namespace nexus::knowledge {

class Aggregate {
 public:
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] double min() const noexcept { return min_; }  // NaN when count() is 0
  [[nodiscard]] double max() const noexcept { return max_; }
  [[nodiscard]] double last() const noexcept { return last_; }
  [[nodiscard]] double sum() const noexcept { return sum_ + rest_; }

  /// `times` samples of the same value.
  void add(double value, std::uint64_t times = 1) noexcept {
    if (times == 0 || is_stale_marker(value)) return;
    add(value, value, value * static_cast<double>(times), value, times);
  }
  /// Samples that were aggregated already; times > 0.
  void add(double min, double max, double sum, double last, std::uint64_t times) noexcept {
    if (!(min_ <= min)) min_ = std::isnan(min) ? min_ : min;
    if (!(max_ >= max)) max_ = std::isnan(max) ? max_ : max;
    const double total = sum_ + sum;
    if (std::isfinite(total)) {
      rest_ += std::fabs(sum_) >= std::fabs(sum) ? (sum_ - total) + sum : (sum - total) + sum_;
    } else {
      rest_ = 0;
    }
    sum_ = total;
    last_ = last;
    count_ += times;
  }

 private:
  double min_ = std::numeric_limits<double>::quiet_NaN();
  double max_ = std::numeric_limits<double>::quiet_NaN();
  double last_ = std::numeric_limits<double>::quiet_NaN();
  double sum_ = 0;
  double rest_ = 0;  // of the sum, lost by rounding
  std::uint64_t count_ = 0;
};

}  // namespace nexus::knowledge
