#include "knowledge/promql/quantile.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nexus::knowledge::promql {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Sorted by bound, one bucket a bound. False when the last one is not up to +Inf.
bool normalize(std::vector<Bucket>& buckets) {
  std::ranges::stable_sort(buckets, {}, &Bucket::upper_bound);
  if (buckets.empty() || buckets.back().upper_bound != kInfinity) return false;
  std::size_t last = 0;
  for (std::size_t i = 1; i < buckets.size(); ++i) {
    if (buckets[i].upper_bound == buckets[last].upper_bound) {
      buckets[last].count += buckets[i].count;
    } else {
      buckets[++last] = buckets[i];
    }
  }
  buckets.resize(last + 1);
  return true;
}

/// Equal but for what rounding may have left.
bool nearly_equal(double a, double b) {
  constexpr double kTolerance = 1e-12;
  constexpr double kLeastNormal = std::numeric_limits<double>::min();
  if (a == b || (std::isnan(a) && std::isnan(b))) return true;
  const double sum = std::fabs(a) + std::fabs(b);
  const double difference = std::fabs(a - b);
  if (a == 0 || b == 0 || sum < kLeastNormal) return difference < kTolerance * kLeastNormal;
  return difference / std::fmin(sum, std::numeric_limits<double>::max()) < kTolerance;
}

/// Cumulative counts cannot fall; where they do (or differ by rounding only) the last good one
/// stands in. A rate over series scraped at different times, or float sums, make such data.
/// Says whether one fell.
bool make_monotonic(std::vector<Bucket>& buckets) {
  double previous = buckets.front().count;
  bool fell = false;
  for (Bucket& bucket : buckets) {
    if (nearly_equal(previous, bucket.count)) {
      bucket.count = previous;
    } else if (bucket.count < previous) {
      bucket.count = previous;
      fell = true;
    } else {
      previous = bucket.count;
    }
  }
  return fell;
}

}  // namespace

double quantile(double q, std::span<double> values) {
  if (values.empty() || std::isnan(q)) return kNan;
  if (q < 0) return -kInfinity;
  if (q > 1) return kInfinity;
  const auto less = [](double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; };
  const auto last = static_cast<double>(values.size() - 1);
  const double rank = q * last;
  const double below = std::fmax(0, std::floor(rank));
  const double above = std::fmin(last, below + 1);
  const double weight = rank - std::floor(rank);
  // Of the order only two neighbours count.
  const auto place = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::ranges::nth_element(values, place, less);
  const double high =
      above > below ? *std::ranges::min_element(place + 1, values.end(), less) : *place;
  return *place * (1 - weight) + high * weight;
}

double bucket_quantile(double q, std::vector<Bucket>& buckets, bool& raised) {
  if (std::isnan(q)) return kNan;
  if (q < 0) return -kInfinity;
  if (q > 1) return kInfinity;
  if (!normalize(buckets)) return kNan;
  const bool fell = make_monotonic(buckets);
  if (buckets.size() < 2) return kNan;
  const double observations = buckets.back().count;
  if (observations == 0) return kNan;
  raised = raised || fell;
  double rank = q * observations;
  const auto last = buckets.end() - 1;
  const auto found = std::partition_point(
      buckets.begin(), last, [&](const Bucket& bucket) { return !(bucket.count >= rank); });
  if (found == last) return (last - 1)->upper_bound;
  if (found == buckets.begin() && found->upper_bound <= 0) return found->upper_bound;
  double start = 0;
  double count = found->count;
  if (found != buckets.begin()) {
    start = (found - 1)->upper_bound;
    count -= (found - 1)->count;
    rank -= (found - 1)->count;
  }
  return start + (found->upper_bound - start) * (rank / count);
}

double bucket_fraction(double lower, double upper, std::vector<Bucket>& buckets) {
  if (!normalize(buckets)) return kNan;
  const double total = buckets.back().count;
  if (total == 0 || std::isnan(lower) || std::isnan(upper)) return kNan;
  if (lower >= upper) return 0;
  /// How many observations lie below `bound`.
  const auto rank_of = [&](double bound) {
    double rank = 0;
    // Without negative bounds nothing lies below zero.
    double start = buckets.front().upper_bound <= 0 ? -kInfinity : 0;
    for (const Bucket& bucket : buckets) {
      if (start >= bound) return rank;
      if (bucket.upper_bound > bound) {
        if (start == -kInfinity) return bucket.count;  // nothing to interpolate from
        return rank + (bucket.count - rank) * (bound - start) / (bucket.upper_bound - start);
      }
      rank = bucket.count;
      start = bucket.upper_bound;
    }
    return total;
  };
  const double lower_rank = rank_of(lower);
  const double upper_rank = rank_of(upper);
  return ((upper_rank > total ? total : upper_rank) - (lower_rank > total ? total : lower_rank)) /
         total;
}

}  // namespace nexus::knowledge::promql
