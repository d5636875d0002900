// The Mann-Whitney U test of two samples, and Cliff's delta. Mann and Whitney, "On a test of
// whether one of two random variables is stochastically larger than the other" (1947); Cliff,
// "Dominance statistics" (1993).
//
// Normal approximation with tie and continuity corrections, as scipy's mannwhitneyu(method =
// "asymptotic"). The test supposes values that do not depend on each other, which samples of one
// metric do: `dependence` widens it. Thread safety: pure functions.
#pragma once

#include <span>

namespace nexus::execute {

struct MannWhitney {
  double p_less = 1;  // that values of the first are not smaller than those of the second
  double delta = 0;   // share of pairs where the first is smaller, less that where it is larger
};

/// Neither may be empty, nor hold NaN. `dependence`: how many values stand for one that is
/// independent, at least 1.
[[nodiscard]] MannWhitney mann_whitney(std::span<const double> first,
                                       std::span<const double> second, double dependence = 1);

/// How many values of a series in their order stand for an independent one: (1 + r) / (1 - r) with
/// the autocorrelation r between neighbours, as for an autoregressive process of first order.
[[nodiscard]] double dependence_of(std::span<const double> values);

}  // namespace nexus::execute
