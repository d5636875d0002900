#include "analyze/forecast/experts/histogram.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace nexus::analyze {
namespace {

constexpr float kNear = 0.01F;
constexpr float kGrowth = 1.25F;
constexpr float kFull = 65'535;

/// The bin of a score, from the most negative one.
int bin_of(float score) {
  static const float kInverse = 1 / std::log(kGrowth);
  const float size = std::abs(score) / kNear;
  if (!(size > 1)) return Histograms::kSide;
  const int far = std::min(static_cast<int>(std::log(size) * kInverse), Histograms::kSide - 1) + 1;
  return Histograms::kSide + (score < 0 ? -far : far);
}

/// The lower edge of a bin (toward minus infinity); edge(kBins) is the upper end.
float edge(int bin) {
  static const std::array<float, Histograms::kSide + 1> kEdges = [] {
    std::array<float, Histograms::kSide + 1> edges{};
    for (int i = 0; i <= Histograms::kSide; ++i)
      edges[static_cast<std::size_t>(i)] = kNear * std::pow(kGrowth, static_cast<float>(i));
    return edges;
  }();
  if (bin <= Histograms::kSide) return -kEdges[static_cast<std::size_t>(Histograms::kSide - bin)];
  return kEdges[static_cast<std::size_t>(bin - Histograms::kSide - 1)];
}

}  // namespace

void Histograms::add(std::size_t lead, float score, double fade) {
  std::uint16_t& bin = bins_[lead * kBins + static_cast<std::size_t>(bin_of(score))];
  float& weight = weight_[lead];
  while (weight > kHeaviest || static_cast<float>(bin) + weight > kFull) halve(lead);
  bin = static_cast<std::uint16_t>(static_cast<float>(bin) + std::round(weight));
  weight = static_cast<float>(weight / fade);
}

void Histograms::halve(std::size_t lead) {
  for (std::size_t i = 0; i < kBins; ++i) bins_[lead * kBins + i] /= 2;
  weight_[lead] /= 2;
}

std::array<float, 4> Histograms::quantiles(std::size_t lead, std::size_t reach,
                                           const std::array<double, 4>& p) const {
  const std::size_t first = lead < reach ? 0 : lead - reach;
  const std::size_t last = std::min(lead + reach, weight_.size() - 1);
  Pooled pooled;
  for (std::size_t j = first; j <= last; ++j) {
    const float scale = 1 / weight_[j];
    for (std::size_t i = 0; i < pooled.bins.size(); ++i)
      pooled.bins[i] += static_cast<float>(bins_[j * kBins + i]) * scale;
  }
  for (int i = 0; i < kBins; ++i) {
    const float count = pooled.bins[static_cast<std::size_t>(i)];
    if (!(count > 0)) continue;
    if (pooled.least < 0) pooled.least = i;
    pooled.most = i;
    pooled.total += count;
  }
  std::array<float, 4> out{};
  if (!(pooled.total > 0)) return out;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = quantile(pooled, p[i]);
  return out;
}

float Histograms::quantile(const Pooled& pooled, double p) {
  if (p <= 0) return edge(std::max(pooled.least - 1, 0));
  if (p >= 1) return edge(std::min(pooled.most + 2, kBins));
  const float goal = static_cast<float>(p) * pooled.total;
  float seen = 0;
  for (int i = pooled.least; i <= pooled.most; ++i) {
    const float count = pooled.bins[static_cast<std::size_t>(i)];
    if (seen + count >= goal && count > 0) {
      if (i == kSide) return 0;
      return edge(i) + (edge(i + 1) - edge(i)) * (goal - seen) / count;
    }
    seen += count;
  }
  return edge(pooled.most + 1);
}

}  // namespace nexus::analyze
