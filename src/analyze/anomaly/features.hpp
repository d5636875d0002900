// What the forest of a vital looks at: the value, and its distance from the level of the last
// minute.
//
// The level is an exponentially weighted mean with a time constant of one minute, by the times of
// the samples, so that training on every sample and scoring every few seconds see the same thing.
// After a gap it starts again.
//
// Thread safety: one thread.
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
  /// The row of a sample; nothing for a value that is not finite or not newer than the last.
  [[nodiscard]] std::optional<FeatureRow> look(std::int64_t time, double value) noexcept {
    if (!std::isfinite(value) || (seen_ && time <= *seen_)) return std::nullopt;
    seen_ = time;
    if (!learned_ || time - *learned_ > kGap) return FeatureRow{value, 0};
    // Halved before subtracting: the difference of two doubles may exceed the largest.
    return FeatureRow{value, 2 * std::clamp(value / 2 - level_ / 2, -kMost / 2, kMost / 2)};
  }
  /// Takes the sample into the level.
  void learn(std::int64_t time, double value) noexcept {
    const bool goes_on = learned_ && time - *learned_ <= kGap;
    const double elapsed = goes_on ? static_cast<double>(time - *learned_) : 0;
    level_ = goes_on ? std::lerp(value, level_, std::exp(-elapsed / kConstant)) : value;
    learned_ = time;
  }
  [[nodiscard]] std::optional<FeatureRow> push(std::int64_t time, double value) noexcept {
    const auto row = look(time, value);
    if (row) learn(time, value);
    return row;
  }

 private:
  static constexpr double kConstant = 60'000;    // ms
  static constexpr std::int64_t kGap = 300'000;  // ms
  static constexpr double kMost = 1e308;

  std::optional<std::int64_t> seen_;
  std::optional<std::int64_t> learned_;
  double level_ = 0;
};

}  // namespace nexus::analyze
