#include "analyze/forecast/experts/ridge.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace nexus::analyze {
namespace {

constexpr double kHeaviest = 1e6;
constexpr float kRowsPerFeature = 3;  // before a regression speaks
constexpr std::size_t kMost = Ridges::kFeatures;

/// Solves (A + ridge * mean diagonal * I) c = b for the leading `n` of A by Cholesky; false when A
/// is not positive.
bool solve_leading(const float* triangle, const float* right, std::size_t n, double ridge,
                   float* out) {
  std::array<double, kMost * kMost> l;
  std::array<double, kMost> y;
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) mean += static_cast<double>(triangle[i * (i + 1) / 2 + i]);
  mean /= static_cast<double>(n);
  if (!(mean > 0) || !std::isfinite(mean)) return false;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      auto sum = static_cast<double>(triangle[i * (i + 1) / 2 + j]);
      if (i == j) sum += ridge * (mean + sum) / 2;
      for (std::size_t k = 0; k < j; ++k) sum -= l[i * kMost + k] * l[j * kMost + k];
      if (i == j) {
        if (!(sum > 0)) return false;
        l[i * kMost + i] = std::sqrt(sum);
      } else {
        l[i * kMost + j] = sum / l[j * kMost + j];
      }
    }
    auto sum = static_cast<double>(right[i]);
    for (std::size_t k = 0; k < i; ++k) sum -= l[i * kMost + k] * y[k];
    y[i] = sum / l[i * kMost + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    double sum = y[i];
    for (std::size_t k = i + 1; k < n; ++k) sum -= l[k * kMost + i] * y[k];
    y[i] = sum / l[i * kMost + i];
    if (!std::isfinite(y[i])) return false;
  }
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<float>(y[i]);
  return true;
}

float dot(const float* a, const float* b, std::size_t n) {
  float sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

Ridges::Ridges(std::size_t leads)
    : normal_(leads * kTriangle),
      right_(leads * kFeatures),
      count_(leads * 2),
      weight_(leads, 1),
      short_(leads * kLeading),
      long_(leads * kFeatures) {}

/// A unit that stays: what is far larger than it was takes a larger one, and what was learnt in the
/// smaller one is next to nothing beside it.
void Ridges::measure(float feature) {
  constexpr double kFar = 1048576;
  const auto size = static_cast<double>(std::abs(feature));
  if (!(size > 0) || !std::isfinite(size) || size < unit_ * kFar) return;
  const double unit = std::exp2(std::clamp(std::ilogb(size), -100, 100));
  const auto ratio = static_cast<float>(unit_ / unit * (unit_ / unit));
  for (float& sum : normal_) sum *= ratio;
  for (float& sum : right_) sum *= ratio;
  unit_ = unit;
}

void Ridges::learn(std::size_t lead, std::span<const float> x, float change, float weight,
                   double fade, bool seasonal) {
  measure(x[0]);
  // Two halves of one matrix: what has no season is learnt from all rows. A row whose seasonal
  // features are not known yet leaves their part as it is.
  const std::size_t n = seasonal ? kFeatures : kLeading;
  const double w = weight_[lead] * static_cast<double>(weight);
  const float inverse = unit_ > 0 ? static_cast<float>(1 / unit_) : 0.0F;
  std::array<float, kFeatures> in_units;
  for (std::size_t i = 0; i < n; ++i) in_units[i] = x[i] * inverse;
  float* row = &normal_[lead * kTriangle];
  for (std::size_t i = 0; i < n; ++i) {
    const float wx = static_cast<float>(w) * in_units[i];
    for (std::size_t j = 0; j <= i; ++j) row[j] += wx * in_units[j];
    row += i + 1;
    right_[lead * kFeatures + i] += wx * (change * inverse);
  }
  count_[lead * 2] += 1;
  count_[lead * 2 + 1] += seasonal ? 1.0F : 0.0F;
  weight_[lead] /= fade;
  if (weight_[lead] < kHeaviest) return;
  const auto scale = static_cast<float>(1 / weight_[lead]);
  for (std::size_t i = 0; i < kTriangle; ++i) normal_[lead * kTriangle + i] *= scale;
  for (std::size_t i = 0; i < kFeatures; ++i) right_[lead * kFeatures + i] *= scale;
  weight_[lead] = 1;
}

void Ridges::solve(std::size_t lead, double ridge) {
  const float* triangle = &normal_[lead * kTriangle];
  const float* right = &right_[lead * kFeatures];
  solve_leading(triangle, right, kLeading, ridge, &short_[lead * kLeading]);
  if (count_[lead * 2 + 1] >= kRowsPerFeature * kFeatures)
    solve_leading(triangle, right, kFeatures, ridge, &long_[lead * kFeatures]);
}

void Ridges::forget(std::size_t lead, double share) {
  weight_[lead] /= share;
}

float Ridges::leading(std::size_t lead, std::span<const float> x) const {
  if (count_[lead * 2] < kRowsPerFeature * kLeading) return std::numeric_limits<float>::quiet_NaN();
  return dot(&short_[lead * kLeading], x.data(), kLeading);
}

float Ridges::all(std::size_t lead, std::span<const float> x) const {
  if (count_[lead * 2 + 1] < kRowsPerFeature * kFeatures)
    return std::numeric_limits<float>::quiet_NaN();
  return dot(&long_[lead * kFeatures], x.data(), kFeatures);
}

}  // namespace nexus::analyze
