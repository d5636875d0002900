#include "analyze/forecast/student_t.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "nexus/analyze/forecast.hpp"

namespace nexus::analyze {
namespace {

constexpr double kTiny = 1e-300;  // stands in for zero denominators in Lentz's method
constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr int kMaxTerms = 100'000;
constexpr double kConverged = 1e-10;  // of a Newton step: the next would be below the last bit
// Beyond this many degrees the difference to the normal distribution's expansion is below 1e-15.
constexpr double kNormalFrom = 1e7;

/// std::lgamma writes the global signgam, a data race; lgamma_r does not.
double log_gamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}

/// ln B(a, b), without cancelling two large logarithms when one argument is large and the other
/// 1/2.
double log_beta(double a, double b) {
  const double large = std::max(a, b);
  const double small = std::min(a, b);
  if (large < 100) return log_gamma(a) + log_gamma(b) - log_gamma(a + b);
  // Stirling: ln G(z) = (z - 1/2) ln z - z + ln(2 pi)/2 + 1/(12z) - 1/(360z^3) + 1/(1260z^5)
  const auto rest = [](double z) {
    const double w = 1 / (z * z);
    return (1.0 / 12 - w * (1.0 / 360 - w / 1260)) / z;
  };
  const double sum = large + small;
  return log_gamma(small) + small - small * std::log(sum) -
         (large - 0.5) * std::log1p(small / large) + rest(large) - rest(sum);
}

/// The continued fraction DLMF 8.17.22 by the modified Lentz method; converges fast for x <
/// (a+1)/(a+b+2).
double beta_fraction(double a, double b, double x) {
  const auto nonzero = [](double v) { return std::abs(v) < kTiny ? kTiny : v; };
  double c = 1;
  double d = 1 / nonzero(1 - (a + b) * x / (a + 1));
  double h = d;
  for (int m = 1; m < kMaxTerms; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / nonzero(1 + even * d);
    c = nonzero(1 + even / c);
    h *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / nonzero(1 + odd * d);
    c = nonzero(1 + odd / c);
    const double delta = d * c;
    h *= delta;
    if (std::abs(delta - 1) <= kEpsilon) break;
  }
  return h;
}

/// I_x(a, b), given also y = 1 - x so that nothing cancels near the ends.
double incomplete_beta(double a, double b, double x, double y) {
  if (x <= 0) return 0;
  if (y <= 0) return 1;
  const double log_x = x < 0.5 ? std::log(x) : std::log1p(-y);
  const double log_y = y < 0.5 ? std::log(y) : std::log1p(-x);
  const double front = std::exp(a * log_x + b * log_y - log_beta(a, b));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, y) / b;
}

double density(double t, double v) {
  return std::exp(-(v + 1) / 2 * std::log1p(t * t / v) - log_beta(v / 2, 0.5)) / std::sqrt(v);
}

/// Upper normal quantile (Abramowitz and Stegun 26.2.23, then Newton on erfc).
double normal_upper_quantile(double tail) {
  const double w = std::sqrt(-2 * std::log(tail));
  double z = w - (2.515517 + w * (0.802853 + w * 0.010328)) /
                     (1 + w * (1.432788 + w * (0.189269 + w * 0.001308)));
  for (int i = 0; i < 4; ++i) {
    const double p = 0.5 * std::erfc(z / std::numbers::sqrt2);
    z += (p - tail) * std::sqrt(2 * std::numbers::pi) * std::exp(z * z / 2);
  }
  return z;
}

/// The Cornish-Fisher expansion of t in 1/v (Abramowitz and Stegun 26.7.5): a start, exact for very
/// large v.
double expand(double z, double v) {
  const double z2 = z * z;
  const double g1 = z * (z2 + 1) / 4;
  const double g2 = z * (z2 * (5 * z2 + 16) + 3) / 96;
  return z + g1 / v + g2 / (v * v);
}

/// t > 0 with P(T > t) = tail: Newton inside a bracket that only shrinks.
double upper_quantile(double tail, double v) {
  const double z = normal_upper_quantile(tail);
  if (v > kNormalFrom) return expand(z, v);
  double low = 0;
  double high = std::numeric_limits<double>::infinity();
  double t = std::max(expand(z, v), kEpsilon);
  for (int i = 0; i < 200; ++i) {
    const double error = student_t_two_sided(t, v) / 2 - tail;
    (error > 0 ? low : high) = t;
    if (error == 0) break;
    double next = t + error / density(t, v);
    if (!(next > low && next < high)) next = std::isinf(high) ? t * 2 : (low + high) / 2;
    const bool done = std::abs(next - t) <= kConverged * t;
    t = next;
    if (done) break;
  }
  return t;
}

}  // namespace

double incomplete_beta(double a, double b, double x) {
  return incomplete_beta(a, b, x, 1 - x);
}

double student_t_two_sided(double t, double degrees) {
  if (std::isnan(t) || !(degrees > 0)) return std::numeric_limits<double>::quiet_NaN();
  if (std::isinf(t)) return 0;
  // x = v / (v + t^2) and 1 - x, each without cancelling; t^2 / v may overflow, then x is 0.
  const double ratio = t * (t / degrees);
  if (std::isinf(ratio)) return 0;
  return incomplete_beta(degrees / 2, 0.5, 1 / (1 + ratio), ratio / (1 + ratio));
}

double student_t_quantile(double p, double degrees) {
  if (!(p > 0 && p < 1) || !(degrees > 0)) return std::numeric_limits<double>::quiet_NaN();
  if (p == 0.5) return 0;
  if (degrees == 1) {
    return p < 0.5 ? -1 / std::tan(std::numbers::pi * p) : 1 / std::tan(std::numbers::pi * (1 - p));
  }
  return p < 0.5 ? -upper_quantile(p, degrees) : upper_quantile(1 - p, degrees);
}

}  // namespace nexus::analyze
