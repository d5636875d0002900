// What the forest of a vital looks at: the value, and its distance from the level of the last
// minute.
//
// The level is an exponentially weighted mean with a time constant of one minute, by the times of
// the samples, so that training on every sample and scoring every few seconds see the same thing.
// After a gap it starts again. Thread safety: one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>

namespace nexus::analyze {

inline constexpr std::size_t kFeatures = 2;
using FeatureRow = std::array<double, kFeatures>;  // value, change

class FeatureTracker {
 public:
  /// Nothing for a value that is not finite or not newer than the last.
  [[nodiscard]] std::optional<FeatureRow> push(std::int64_t time, double value) noexcept {
    if (!std::isfinite(value) || (last_ && time <= *last_)) return std::nullopt;
    const double elapsed = last_ ? static_cast<double>(time - *last_) : kGap + 1;
    last_ = time;
    if (elapsed > kGap) {
      level_ = value;
      return FeatureRow{value, 0};
    }
    // Halved before subtracting: the difference of two doubles may exceed the largest.
    const double change = 2 * std::clamp(value / 2 - level_ / 2, -kMost / 2, kMost / 2);
    level_ = std::lerp(value, level_, std::exp(-elapsed / kConstant));
    return FeatureRow{value, change};
  }

 private:
  static constexpr double kConstant = 60'000;  // ms
  static constexpr double kGap = 300'000;      // ms
  static constexpr double kMost = 1e308;

  std::optional<std::int64_t> last_;
  double level_ = 0;
};

}  // namespace nexus::analyze
