// Quantiles as Prometheus takes them: of samples, interpolated between the two nearest, and of the
// cumulative buckets of a classic histogram, interpolated within a bucket. Thread safety: pure
// functions.
#pragma once

#include <span>
#include <vector>

namespace nexus::knowledge::promql {

/// Sorts `values`, NaN first. NaN without values or for a NaN `q`, -Inf below 0, +Inf above 1.
[[nodiscard]] double quantile(double q, std::span<double> values);

/// How many observations were at most `upper_bound`.
struct Bucket {
  double upper_bound = 0;
  double count = 0;
};

/// Sorts and mends `buckets`: equal bounds are added up, counts that fall as bounds rise are
/// raised. NaN unless there are two buckets, the last of them up to +Inf, and an observation.
/// `raised` becomes true when counts were raised, by more than rounding explains.
[[nodiscard]] double bucket_quantile(double q, std::vector<Bucket>& buckets, bool& raised);

/// The share of the observations between `lower` and `upper`; sorts `buckets`. NaN unless the last
/// bucket is up to +Inf and has an observation.
[[nodiscard]] double bucket_fraction(double lower, double upper, std::vector<Bucket>& buckets);

}  // namespace nexus::knowledge::promql
