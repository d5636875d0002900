// What each expert says about a row, and what the regressions see.
#include <algorithm>
#include <cmath>
#include <limits>

#include "analyze/forecast/experts/state.hpp"

namespace nexus::analyze {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kDamping = 0.95F;  // as in smoothers.cpp

constexpr std::uint32_t kDampedOut = 160;  // rows after which nothing is left of a trend

/// What a damped trend of 1 adds until `lead`.
float damped_steps(std::uint32_t lead) {
  static const std::array<float, kDampedOut + 1> kSteps = [] {
    std::array<float, kDampedOut + 1> steps{};
    float left = 1;
    for (std::uint32_t i = 1; i <= kDampedOut; ++i) steps[i] = steps[i - 1] + (left *= kDamping);
    return steps;
  }();
  return kSteps[std::min(lead, kDampedOut)];
}

}  // namespace

const PackedRow& Combination::State::row_at(std::size_t ago) const {
  return states[(rows - 1 - ago) % states.size()];
}

float Combination::State::naive(std::size_t season, std::uint32_t lead, std::size_t ahead) const {
  const std::size_t m = seasons.length[season];
  if (m == 0) return kNaN;
  const std::size_t ago = (lead + m - 1) / m * m - ahead;
  return ago < std::min<std::uint64_t>(rows, values.keeps()) ? value_at(ago) : kNaN;
}

float Combination::State::profile(std::size_t season, std::int64_t at) const {
  if (profile_seasons[season] == 0 || !seasons.profiled(season)) return kNaN;
  const auto m = static_cast<std::int64_t>(seasons.length[season]);
  return profiles[profile_at[season] + static_cast<std::size_t>(((at % m) + m) % m)];
}

Opinions Combination::State::opinions(const RowState& r, std::uint32_t lead,
                                      std::size_t ahead) const {
  const auto k = static_cast<float>(lead);
  Opinions out;
  out[kLast] = r[kZ];
  for (std::size_t i = 0; i < 4; ++i) out[kMeanFast + i] = r[kLevelFast + i];
  out[kMedian12] = r[kMedianShort];
  out[kMedian48] = r[kMedianLong];
  out[kDampedTrendExpert] = r[kDampedLevel] + r[kDampedTrend] * damped_steps(lead);
  out[kTheta] = r[kLevelFast] + r[kDrift] * k / 2;
  out[kLine] = r[kLineLevel] + r[kLineTrend] * k;
  out[kRidge] = out[kSeasonRidge] = kNaN;
  for (std::size_t s = 0; s < Seasons::kCount; ++s) {
    float* mine = &out[kFirstSeasonal + s * kSeasonExperts];
    const float before = naive(s, lead, ahead);
    mine[kNaive] = before;
    mine[kNaiveSlow] = before + r[known_of(s, kCorrectionSlow)];
    mine[kNaiveFast] = before + r[known_of(s, kCorrectionFast)];
    const float usual = profile(s, slot + static_cast<std::int64_t>(ahead));
    mine[kProfileSlow] = usual + r[known_of(s, kRestSlow)];
    mine[kProfileQuick] = usual + r[known_of(s, kRestQuick)];
    mine[kProfileLast] = usual + r[known_of(s, kRestNow)];
    mine[kProfileRatio] = scaled(usual, r[known_of(s, kProfileNow)], r[kZ]);
  }
  return out;
}

/// What is usual then, times how the present value stands to what is usual now: for what is never
/// negative. Far from the profile, or near zero, a ratio says nothing.
float Combination::State::scaled(float usual_then, float usual_now, float now) const {
  constexpr double kLargestRatio = 5;
  if (static_cast<double>(lowest) + anchor < 0) return kNaN;
  const double here = static_cast<double>(usual_now) + anchor;
  const double ratio = (static_cast<double>(now) + anchor) / here;
  if (!(here > 0) || !(ratio <= kLargestRatio) || !(ratio >= 1 / kLargestRatio)) return kNaN;
  return static_cast<float>((static_cast<double>(usual_then) + anchor) * ratio - anchor);
}

void Combination::State::features(const RowState& r, std::size_t row_back, std::uint32_t lead,
                                  std::size_t ahead, std::array<float, Ridges::kFeatures>& x,
                                  bool& seasonal) const {
  const float z = r[kZ];
  const auto limit = static_cast<float>(kTuning.ridge_clip * (spread + scale));
  const float before =
      row_back + 1 < std::min<std::uint64_t>(rows, values.keeps()) ? value_at(row_back + 1) : z;
  x = {limit / static_cast<float>(kTuning.ridge_clip),
       before - z,
       r[kLevelFast] - z,
       r[kLevelSlow] - z,
       r[kLevelSlowest] - z,
       r[kMedianShort] - z,
       r[kDampedTrend] * damped_steps(lead),
       r[kMedianLong] - z};
  constexpr std::size_t kDay = Seasons::kDay;
  const float then = naive(kDay, lead, ahead);
  const float usual_then = profile(kDay, slot + static_cast<std::int64_t>(ahead));
  const float usual = r[known_of(kDay, kProfileNow)];
  const std::size_t m = seasons.length[kDay];
  const std::size_t ago = row_back + m;
  seasonal = m > 0 && ago < std::min<std::uint64_t>(rows, values.keeps()) && !std::isnan(then) &&
             !std::isnan(usual) && !std::isnan(usual_then);
  if (seasonal) {
    const float week = naive(Seasons::kDay + 1, lead, ahead);
    x[8] = usual - z;
    x[9] = usual_then - z;
    x[10] = then - z;
    x[11] = value_at(ago) - z;
    x[12] = (std::isnan(week) ? usual_then : week) - z;
  }
  for (float& feature : x) feature = std::clamp(feature, -limit, limit);
}

float Combination::State::mix(std::size_t j, const Opinions& opinions) const {
  float sum = 0;
  float total = 0;
  for (std::size_t e = 0; e < kExperts; ++e) {
    const float w = lengthen(weights[j * kExperts + e]);
    if (w <= 0 || std::isnan(opinions[e])) continue;
    sum += w * opinions[e];
    total += w;
  }
  return bounded(total > 0 ? sum / total : opinions[kLast]);
}

/// No farther out than was ever seen by as much as that spans, and never beyond zero if nothing
/// was.
float Combination::State::bounded(float z) const {
  const float range = highest - lowest;
  float least = lowest - range;
  if (static_cast<double>(lowest) + anchor >= 0)
    least = std::max(least, static_cast<float>(-anchor));
  return std::clamp(z, std::min(least, lowest), highest + range);
}

}  // namespace nexus::analyze
