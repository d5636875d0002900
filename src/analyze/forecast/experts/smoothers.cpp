#include "analyze/forecast/experts/smoothers.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nexus::analyze {
namespace {

constexpr std::array<double, 4> kSpeeds{0.4, 0.2, 0.05, 0.02};
constexpr double kDampedSpeed = 0.3;
constexpr double kDampedTrendSpeed = 0.05;
constexpr double kDamping = 0.95;
constexpr double kDriftSpeed = 0.01;
constexpr double kLineSpeed = 0.08;
constexpr double kCorrectionSlowSpeed = 0.05;
constexpr double kCorrectionFastSpeed = 0.3;
constexpr double kRestSlowSpeed = 0.02;
constexpr double kRestQuickSpeed = 0.2;

/// Whether what is known is a level, which lies near the value itself.
constexpr std::array<bool, kKnown> kIsLevel = [] {
  std::array<bool, kKnown> out{};
  for (const std::size_t i : {kLevelFast, kLevelQuick, kLevelSlow, kLevelSlowest, kMedianShort,
                              kMedianLong, kDampedLevel, kLineLevel})
    out[i] = true;
  for (std::size_t s = 0; s < Seasons::kCount; ++s) out[known_of(s, kProfileNow)] = true;
  return out;
}();

}  // namespace

PackedRow PackedRow::of(const RowState& row) {
  PackedRow out;
  out.z = row[kZ];
  for (std::size_t i = 1; i < kKnown; ++i)
    out.rest[i - 1] = shorten(kIsLevel[i] ? row[i] - out.z : row[i]);
  return out;
}

RowState PackedRow::row() const {
  RowState out;
  out[kZ] = z;
  for (std::size_t i = 1; i < kKnown; ++i)
    out[i] = lengthen(rest[i - 1]) + (kIsLevel[i] ? z : 0.0F);
  return out;
}

Seasons Seasons::of(Millis step) {
  constexpr std::array<Millis, kCount> kSpans{Millis(3'600'000), Millis(86'400'000),
                                              Millis(7 * 86'400'000)};
  Seasons out;
  for (std::size_t i = 0; i < kCount; ++i) {
    if (step.count() <= 0 || kSpans[i] % step != Millis(0)) continue;
    const auto rows = kSpans[i] / step;
    if (rows >= 4 && rows <= kLongest) out.length[i] = static_cast<std::uint32_t>(rows);
  }
  return out;
}

float RunningMedian::add(float value) {
  auto end = sorted_.begin() + count_;
  if (count_ == ring_.size()) {
    // The oldest leaves; what is not found (a damaged state) makes room at the end.
    auto old = std::lower_bound(sorted_.begin(), end, ring_[next_]);
    if (old == end) --old;
    std::copy(old + 1, end, old);
    --end;
  } else {
    ++count_;
  }
  const auto at = std::upper_bound(sorted_.begin(), end, value);
  std::copy_backward(at, end, end + 1);
  *at = value;
  ring_[next_] = value;
  next_ = (next_ + 1) % static_cast<std::uint32_t>(ring_.size());
  return (sorted_[(count_ - 1) / 2] + sorted_[count_ / 2]) / 2;
}

void Smoothers::Mean::add(double x, double speed) {
  count += 1;
  value += std::max(speed, 1.0 / static_cast<double>(count)) * (x - value);
}

void Smoothers::add_levels(float z, RowState& out) {
  const double young = 1.0 / static_cast<double>(rows_);
  for (std::size_t i = 0; i < kSpeeds.size(); ++i) {
    levels_[i] += std::max(kSpeeds[i], young) * (static_cast<double>(z) - levels_[i]);
    out[kLevelFast + i] = static_cast<float>(levels_[i]);
  }
  out[kMedianShort] = short_.add(z);
  out[kMedianLong] = long_.add(z);
}

void Smoothers::add_trends(float z, RowState& out) {
  const auto x = static_cast<double>(z);
  if (rows_ == 1) {
    damped_ = {x, 0};
    drift_ = {x, x, 0};
    line_ = {x, x};
  }
  const double before = damped_[0] + kDamping * damped_[1];
  const double level = before + kDampedSpeed * (x - before);
  damped_[1] = kDamping * damped_[1] + kDampedTrendSpeed * (level - before);
  damped_[0] = level;
  const double slow = std::max(kDriftSpeed, 1.0 / static_cast<double>(rows_));
  drift_[0] += slow * (x - drift_[0]);
  drift_[1] += slow * (drift_[0] - drift_[1]);
  drift_[2] = slow < 1 ? slow / (1 - slow) * (drift_[0] - drift_[1]) : 0;
  line_[0] += kLineSpeed * (x - line_[0]);
  line_[1] += kLineSpeed * (line_[0] - line_[1]);
  out[kDampedLevel] = static_cast<float>(damped_[0]);
  out[kDampedTrend] = static_cast<float>(damped_[1]);
  out[kDrift] = static_cast<float>(drift_[2]);
  out[kLineLevel] = static_cast<float>(2 * line_[0] - line_[1]);
  out[kLineTrend] = static_cast<float>(kLineSpeed / (1 - kLineSpeed) * (line_[0] - line_[1]));
}

RowState Smoothers::add(float z, std::span<const float> naive, std::span<const float> profile) {
  RowState out;
  out.fill(std::numeric_limits<float>::quiet_NaN());
  ++rows_;
  out[kZ] = z;
  add_levels(z, out);
  add_trends(z, out);
  for (std::size_t s = 0; s < Seasons::kCount; ++s) {
    auto& [slow, fast, rest_slow, rest_quick] = corrections_[s];
    if (!std::isnan(naive[s])) {
      const double d = static_cast<double>(z) - static_cast<double>(naive[s]);
      slow.add(d, kCorrectionSlowSpeed);
      fast.add(d, kCorrectionFastSpeed);
      out[known_of(s, kCorrectionSlow)] = static_cast<float>(slow.value);
      out[known_of(s, kCorrectionFast)] = static_cast<float>(fast.value);
    }
    if (!std::isnan(profile[s])) {
      const double d = static_cast<double>(z) - static_cast<double>(profile[s]);
      rest_slow.add(d, kRestSlowSpeed);
      rest_quick.add(d, kRestQuickSpeed);
      out[known_of(s, kRestSlow)] = static_cast<float>(rest_slow.value);
      out[known_of(s, kRestQuick)] = static_cast<float>(rest_quick.value);
      out[known_of(s, kRestNow)] = static_cast<float>(d);
      out[known_of(s, kProfileNow)] = profile[s];
    }
  }
  return out;
}

void Smoothers::settle() {
  levels_[2] = levels_[3] = levels_[1];
  drift_ = {levels_[1], levels_[1], 0};
  line_ = {levels_[1], levels_[1]};
  damped_ = {levels_[1], 0};
  for (auto& season : corrections_)
    for (Mean& mean : season) mean.count = std::min(mean.count, 1.0F);
}

}  // namespace nexus::analyze
