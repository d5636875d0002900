#include "knowledge/promql/prometheus_math.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

namespace nexus::knowledge::promql::prometheus {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kLn2 = std::numbers::ln2;

/// c[0] x^n + ... + c[n], as Horner evaluates it.
template <std::size_t kCount>
double polynomial(double x, const std::array<double, kCount>& c) {
  double sum = c[0];
  for (std::size_t i = 1; i < kCount; ++i) sum = sum * x + c[i];
  return sum;
}

/// x^n + c[0] x^(n-1) + ...: the leading coefficient is one.
template <std::size_t kCount>
double monic_polynomial(double x, const std::array<double, kCount>& c) {
  double sum = x + c[0];
  for (std::size_t i = 1; i < kCount; ++i) sum = sum * x + c[i];
  return sum;
}

// ln 2 in two parts, so that the product of the first and an exponent is exact.
constexpr double kLn2High = 6.93147180369123816490e-01;
constexpr double kLn2Low = 1.90821492927058770002e-10;

/// ln(1 + x) for x >= 0.
double log1p(double x) {
  constexpr double kSqrt2Less1 = 4.142135623730950488017e-01;
  if (x < 0x1p-29) return x < 0x1p-54 ? x : x - x * x * 0.5;
  int exponent = 0;
  double f = x;
  double lost = 0;  // by adding one, relative to the sum
  bool tiny = false;
  if (x >= kSqrt2Less1) {
    const double sum = x < 0x1p53 ? 1 + x : x;
    exponent = std::ilogb(sum);
    if (x < 0x1p53) lost = (exponent > 0 ? 1 - (sum - x) : x - (sum - 1)) / sum;
    double mantissa = std::ldexp(sum, -exponent);
    if (mantissa >= std::numbers::sqrt2) {
      mantissa /= 2;
      ++exponent;
    }
    f = mantissa - 1;
    tiny = f == 0 || (f < 0 && f > -0x1p-51);
  }
  const double k = exponent;
  const double half_square = 0.5 * f * f;
  if (tiny) {
    if (f == 0) return k * kLn2High + (lost + k * kLn2Low);
    const double r = half_square * (1 - 0.66666666666666666 * f);
    return k * kLn2High - ((r - (k * kLn2Low + lost)) - f);
  }
  const double s = f / (2 + f);
  const double square = s * s;
  const double r =
      square * polynomial(square, std::array{1.479819860511658591e-01, 1.531383769920937332e-01,
                                             1.818357216161805012e-01, 2.222219843214978396e-01,
                                             2.857142874366239149e-01, 3.999999999940941908e-01,
                                             6.666666666666735130e-01});
  if (exponent == 0) return f - (half_square - s * (half_square + r));
  return k * kLn2High - ((half_square - (s * (half_square + r) + (k * kLn2Low + lost))) - f);
}

}  // namespace

double exp(double x) {
  constexpr double kOverflow = 7.09782712893384e+02;
  constexpr double kUnderflow = -7.45e+02;
  if (!std::isfinite(x) || x > kOverflow || x < kUnderflow) return std::exp(x);
  // ln 2 in two parts, of other lengths than above.
  constexpr double kHigh = 0.69314718055966295651160180568695068359375;
  constexpr double kLow = 0.28235290563031577122588448175013436025525412068e-12;
  const double exponent = std::nearbyint(std::numbers::log2e * x);
  double r = std::fma(-exponent, kHigh, x);
  r = std::fma(-exponent, kLow, r);
  r *= 0.0625;
  // Taylor's series of (e^r - 1) / r; then squared four times without losing the small part.
  constexpr std::array<double, 8> kTaylor = {2.4801587301587301587e-5,
                                             1.9841269841269841270e-4,
                                             1.3888888888888888889e-3,
                                             8.3333333333333333333e-3,
                                             4.1666666666666666667e-2,
                                             1.6666666666666666667e-1,
                                             0.5,
                                             1.0};
  double sum = kTaylor[0];
  for (std::size_t i = 1; i < kTaylor.size(); ++i) sum = std::fma(sum, r, kTaylor[i]);
  r *= sum;
  for (int i = 0; i < 3; ++i) r *= r + 2;
  return std::ldexp(std::fma(r, r + 2, 1), static_cast<int>(exponent));
}

double log(double x) {
  if (!(x > 0) || std::isinf(x)) return std::log(x);
  int exponent = 0;
  double f = std::frexp(x, &exponent);
  if (f < std::numbers::sqrt2 / 2) {
    f *= 2;
    --exponent;
  }
  f -= 1;
  const double k = exponent;
  const double s = f / (2 + f);
  const double s2 = s * s;
  const double s4 = s2 * s2;
  const double odd =
      s2 * polynomial(s4, std::array{1.479819860511658591e-01, 1.818357216161805012e-01,
                                     2.857142874366239149e-01, 6.666666666666735130e-01});
  const double even =
      s4 * polynomial(s4, std::array{1.531383769920937332e-01, 2.222219843214978396e-01,
                                     3.999999999940941908e-01});
  const double half_square = 0.5 * f * f;
  return k * kLn2High - ((half_square - (s * (half_square + (odd + even)) + k * kLn2Low)) - f);
}

double log2(double x) {
  int exponent = 0;
  const double fraction = std::frexp(x, &exponent);
  if (fraction == 0.5) return exponent - 1;  // a power of two
  if (!std::isfinite(x)) return std::log2(x);
  return log(fraction) * std::numbers::log2e + exponent;
}

double log10(double x) {
  return log(x) * std::numbers::log10e;
}

double pow(double x, double y) {
  if (y == 0.5) return std::isinf(x) ? std::pow(x, y) : std::sqrt(x);
  if (y == -0.5) return std::isinf(x) ? std::pow(x, y) : 1 / std::sqrt(x);
  double whole = 0;
  double part = std::modf(std::fabs(y), &whole);
  const bool ordinary = std::isfinite(x) && std::isfinite(y) && x != 0 && x != 1 && y != 0 &&
                        y != 1 && (part == 0 || x > 0) && whole < 0x1p63;
  if (!ordinary) return std::pow(x, y);
  double result = 1;
  std::int64_t exponent = 0;
  if (part != 0) {
    if (part > 0.5) {
      part -= 1;
      whole += 1;
    }
    result = exp(part * log(x));
  }
  int x_exponent = 0;
  double base = std::frexp(x, &x_exponent);
  std::int64_t base_exponent = x_exponent;
  for (auto left = static_cast<std::int64_t>(whole); left != 0; left >>= 1) {
    if (base_exponent < -4096 || base_exponent > 4096) {
      exponent += base_exponent;  // far out of range, whatever comes
      break;
    }
    if ((left & 1) == 1) {
      result *= base;
      exponent += base_exponent;
    }
    base *= base;
    base_exponent *= 2;
    if (base < 0.5) {
      base += base;
      --base_exponent;
    }
  }
  if (y < 0) {
    result = 1 / result;
    exponent = -exponent;
  }
  return std::ldexp(result, static_cast<int>(exponent));
}

double sinh(double x) {
  if (!std::isfinite(x)) return x;
  const double a = std::fabs(x);
  double result = 0;
  if (a > 21) {
    result = exp(a) * 0.5;
  } else if (a > 0.5) {
    const double e = exp(a);
    result = (e - 1 / e) * 0.5;
  } else {
    const double square = a * a;
    result = polynomial(square, std::array{-0.2630563213397497062819489e+2,
                                           -0.2894211355989563807284660366e+4,
                                           -0.8991272022039509355398013511e+5,
                                           -0.6307673640497716991184787251e+6}) *
             a /
             monic_polynomial(square, std::array{-0.173678953558233699533450911e+3,
                                                 0.1521517378790019070696485176e+5,
                                                 -0.6307673640497716991212077277e+6});
  }
  return std::copysign(result, x);
}

double cosh(double x) {
  const double a = std::fabs(x);
  if (a > 21) return exp(a) * 0.5;
  const double e = exp(a);
  return (e + 1 / e) * 0.5;
}

double tanh(double x) {
  constexpr double kOne = 0.5 * 8.8029691931113054295988e+01;  // one from here on
  const double a = std::fabs(x);
  if (a > kOne) return std::copysign(1.0, x);
  if (a >= 0.625) return std::copysign(1 - 2 / (exp(2 * a) + 1), x);
  if (x == 0 || std::isnan(x)) return x;
  const double square = x * x;
  return x +
         x * square *
             polynomial(square, std::array{-9.64399179425052238628e-1, -9.92877231001918586564e1,
                                           -1.61468768441708447952e3}) /
             monic_polynomial(square, std::array{1.12811678491632931402e2, 2.23548839060100448583e3,
                                                 4.84406305325125486048e3});
}

double asinh(double x) {
  constexpr double kLarge = 0x1p28;
  if (!std::isfinite(x)) return x;
  const double a = std::fabs(x);
  double result = a;
  if (a > kLarge) {
    result = log(a) + kLn2;
  } else if (a > 2) {
    result = log(2 * a + 1 / (std::sqrt(a * a + 1) + a));
  } else if (a >= 1 / kLarge) {
    result = log1p(a + a * a / (1 + std::sqrt(1 + a * a)));
  }
  return std::copysign(result, x);
}

double acosh(double x) {
  if (!(x >= 1)) return kNan;
  if (x >= 0x1p28) return log(x) + kLn2;
  if (x > 2) return log(2 * x - 1 / (x + std::sqrt(x * x - 1)));
  const double t = x - 1;
  return log1p(t + std::sqrt(2 * t + t * t));
}

double atanh(double x) {
  const double a = std::fabs(x);
  if (!(a < 1)) return std::atanh(x);
  double result = a;
  if (a >= 0.5) {
    result = 0.5 * log1p((a + a) / (1 - a));
  } else if (a >= 0x1p-28) {
    const double twice = a + a;
    result = 0.5 * log1p(twice + twice * a / (1 - a));
  }
  return std::copysign(result, x);
}

}  // namespace nexus::knowledge::promql::prometheus
