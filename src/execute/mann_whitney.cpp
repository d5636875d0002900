#include "execute/mann_whitney.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>
#include <vector>

namespace nexus::execute {

MannWhitney mann_whitney(std::span<const double> first, std::span<const double> second,
                         double dependence) {
  std::vector<std::pair<double, bool>> all;  // value, of the first
  for (const double value : first) all.emplace_back(value, true);
  for (const double value : second) all.emplace_back(value, false);
  std::ranges::sort(all, {}, [](const auto& one) { return one.first; });
  const auto n1 = static_cast<double>(first.size());
  const auto n2 = static_cast<double>(second.size());
  const double n = n1 + n2;
  double ranks = 0;  // of the first
  double ties = 0;   // sum of t^3 - t
  for (std::size_t i = 0; i < all.size();) {
    std::size_t j = i;
    while (j < all.size() && all[j].first == all[i].first) ++j;
    const double rank = static_cast<double>(i + j + 1) / 2;  // the mean of i+1 to j
    for (std::size_t k = i; k < j; ++k) ranks += all[k].second ? rank : 0;
    const auto t = static_cast<double>(j - i);
    ties += t * t * t - t;
    i = j;
  }
  // Pairs where the first is the larger one; a tie counts half.
  const double u = ranks - n1 * (n1 + 1) / 2;
  const double variance = n1 * n2 / 12 * ((n + 1) - ties / (n * (n - 1)));
  MannWhitney out;
  out.delta = 1 - 2 * u / (n1 * n2);
  if (variance <= 0) return out;  // all values are the same
  const double z = (u - n1 * n2 / 2 + 0.5) / std::sqrt(variance * std::max(1.0, dependence));
  out.p_less = 0.5 * std::erfc(-z / std::numbers::sqrt2);
  return out;
}

double dependence_of(std::span<const double> values) {
  constexpr double kMost = 0.99;  // a trend has nearly 1: it proves nothing, but in finite terms
  if (values.size() < 3) return 1;
  const auto n = static_cast<double>(values.size());
  const double mean = std::reduce(values.begin(), values.end()) / n;
  double own = 0;
  double neighbours = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    own += (values[i] - mean) * (values[i] - mean);
    if (i > 0) neighbours += (values[i] - mean) * (values[i - 1] - mean);
  }
  // What is left of equal values by rounding says nothing.
  if (!(own > 1e-24 * n * mean * mean) || !(neighbours > 0)) return 1;
  const double r = std::min(neighbours / own, kMost);
  return (1 + r) / (1 - r);
}

}  // namespace nexus::execute
