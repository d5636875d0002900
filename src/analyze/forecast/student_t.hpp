// Student's t distribution through the regularised incomplete beta function (DLMF 8.17).
//
// With v degrees of freedom, P(|T| > t) = I_x(v/2, 1/2) where x = v / (v + t^2) (Abramowitz and
// Stegun 26.7.1).
//
// Thread safety: pure functions.
#pragma once

namespace nexus::analyze {

/// I_x(a, b) for a, b > 0 and x in [0, 1]; relative error about 1e-14.
[[nodiscard]] double incomplete_beta(double a, double b, double x);

/// P(|T| > t): two-sided tail.
[[nodiscard]] double student_t_two_sided(double t, double degrees);

}  // namespace nexus::analyze
