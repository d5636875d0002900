// What the experts know at one row: levels, medians, trends and, per season, how the present
// differs from it. Everything is O(1) a row (the medians: 48).
//
// Thread safety: none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "analyze/forecast/experts/short_float.hpp"
#include "nexus/base/clock.hpp"

namespace nexus::analyze {

/// Lengths in rows; 0: there is none at this step.
struct Seasons {
  static constexpr std::size_t kCount = 3;
  static constexpr std::uint32_t kLongest = 2016;
  static constexpr std::array<const char*, kCount> kNames{"hour", "day", "week"};
  static constexpr std::size_t kDay = 1;
  std::array<std::uint32_t, kCount> length{};
  [[nodiscard]] static Seasons of(Millis step);
  /// Whether it has a slot profile (a week of many slots takes too long to learn).
  [[nodiscard]] bool profiled(std::size_t season) const {
    return length[season] > 0 && length[season] <= kLongest / 2;
  }
};

/// Indices into what is known at a row.
enum Known : std::size_t {
  kZ,
  kLevelFast,  // 0.4, 0.2, 0.05, 0.02
  kLevelQuick,
  kLevelSlow,
  kLevelSlowest,
  kMedianShort,
  kMedianLong,
  kDampedLevel,
  kDampedTrend,
  kDrift,
  kLineLevel,
  kLineTrend,
  kSeasonal,  // and per season:
};
enum SeasonKnown : std::size_t {
  kCorrectionSlow,  // mean of z - z one season ago
  kCorrectionFast,
  kRestSlow,  // mean of z - profile
  kRestQuick,
  kRestNow,
  kProfileNow,
  kSeasonKnown,
};
inline constexpr std::size_t kKnown = kSeasonal + kSeasonKnown * Seasons::kCount;
using RowState = std::array<float, kKnown>;

inline constexpr std::size_t known_of(std::size_t season, SeasonKnown what) {
  return kSeasonal + season * kSeasonKnown + what;
}

/// What is known at a row in half the bytes: levels as their distance from its value.
struct PackedRow {
  float z = 0;
  std::array<ShortFloat, kKnown - 1> rest{};

  [[nodiscard]] static PackedRow of(const RowState& row);
  [[nodiscard]] RowState row() const;
};

/// The median of the last rows.
class RunningMedian {
 public:
  explicit RunningMedian(std::size_t window) : ring_(window), sorted_(window) {}
  float add(float value);
  template <typename Archive>
  void archive(Archive& a) {
    a.values(ring_);
    a.values(sorted_);
    a.value(count_);
    a.value(next_);
    next_ = ring_.empty() ? 0 : next_ % static_cast<std::uint32_t>(ring_.size());
    count_ = std::min(count_, static_cast<std::uint32_t>(ring_.size()));
  }

 private:
  std::vector<float> ring_;
  std::vector<float> sorted_;
  std::uint32_t count_ = 0;
  std::uint32_t next_ = 0;
};

class Smoothers {
 public:
  Smoothers() : short_(12), long_(48) {}

  /// `naive`: the value one season ago; `profile`: the slot's; NaN where unknown.
  RowState add(float z, std::span<const float> naive, std::span<const float> profile);
  /// A new level stands: what is slow jumps to it.
  void settle();

  template <typename Archive>
  void archive(Archive& a) {
    a.value(rows_);
    a.value(levels_);
    a.value(damped_);
    a.value(drift_);
    a.value(line_);
    a.value(corrections_);
    short_.archive(a);
    long_.archive(a);
  }

 private:
  struct Mean {  // exponential, plain while young
    double value = 0;
    float count = 0;
    void add(double x, double speed);
  };
  void add_levels(float z, RowState& out);
  void add_trends(float z, RowState& out);

  std::uint32_t rows_ = 0;
  std::array<double, 4> levels_{};
  std::array<double, 2> damped_{};
  std::array<double, 3> drift_{};  // two smoothings of the drift, and the drift
  std::array<double, 2> line_{};
  std::array<std::array<Mean, 4>, Seasons::kCount> corrections_{};
  RunningMedian short_;
  RunningMedian long_;
};

}  // namespace nexus::analyze
