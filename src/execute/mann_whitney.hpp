// The Mann-Whitney U test of two samples, and Cliff's delta. Mann and Whitney, "On a test of
// whether one of two random variables is stochastically larger than the other" (1947); Cliff,
// "Dominance statistics" (1993).
//
// Normal approximation with tie and continuity corrections, as scipy's mannwhitneyu(method =
// "asymptotic"). Thread safety: pure function.
#pragma once

#include <span>

namespace nexus::execute {

struct MannWhitney {
  double p_less = 1;  // that values of the first are not smaller than those of the second
  double delta = 0;   // share of pairs where the first is smaller, less that where it is larger
};

/// Neither may be empty, nor hold NaN.
[[nodiscard]] MannWhitney mann_whitney(std::span<const double> first,
                                       std::span<const double> second);

}  // namespace nexus::execute
