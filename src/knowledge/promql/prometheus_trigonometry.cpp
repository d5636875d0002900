// Sine to arc tangent of prometheus_math.hpp, by the methods of Cephes.
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

#include "knowledge/promql/prometheus_math.hpp"

namespace nexus::knowledge::promql::prometheus {
namespace {

constexpr double kPi = std::numbers::pi;
constexpr double kLarge = 0x1p29;  // from here on three parts of pi are too few

/// An angle in [-pi/4, pi/4] and the octant, an even number below eight, that it was moved from.
struct Reduced {
  double angle = 0;
  unsigned octant = 0;
};

/// Payne and Hanek 1983: multiplies by those bits of 4/pi that matter for an angle of this size.
Reduced reduce_large(double x) {
  // 4/pi: the whole part, then 1,216 bits behind the point.
  constexpr std::array<std::uint64_t, 20> kBits = {
      0x0000000000000001ULL, 0x45f306dc9c882a53ULL, 0xf84eafa3ea69bb81ULL, 0xb6c52b3278872083ULL,
      0xfca2c757bd778ac3ULL, 0x6e48dc74849ba5c0ULL, 0x0c925dd413a32439ULL, 0xfc3bd63962534e7dULL,
      0xd1046bea5d768909ULL, 0xd338e04d68befc82ULL, 0x7323ac7306a673e9ULL, 0x3908bf177bf25076ULL,
      0x3ff12fffbc0b301fULL, 0xde5e2316b414da3eULL, 0xda6cfd9e4f96136eULL, 0x9e8c7ecd3cbfd45aULL,
      0xea4f758fd7cbe2f6ULL, 0x7a0e73ef14a525d4ULL, 0xd7f6bf623f1aba10ULL, 0xac06608df8f6d757ULL};
  constexpr unsigned kFraction = 52;
  constexpr std::uint64_t kBias = 1023;
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const std::uint64_t mantissa = (bits & ((1ULL << kFraction) - 1)) | 1ULL << kFraction;
  const auto first = static_cast<unsigned>((bits >> kFraction) - kBias - kFraction) + 61;
  const auto word = [&](unsigned i) {
    const unsigned at = first / 64 + i;
    const unsigned shift = first % 64;
    return shift == 0 ? kBits[at] : kBits[at] << shift | kBits[at + 1] >> (64 - shift);
  };
  __extension__ using Wide = unsigned __int128;
  const Wide product = (Wide{word(0)} << 64U) * mantissa + Wide{word(1)} * mantissa +
                       (Wide{word(2)} * mantissa >> 64U);
  auto high = static_cast<std::uint64_t>(product >> 64U);
  const auto low = static_cast<std::uint64_t>(product);
  auto octant = static_cast<unsigned>(high >> 61U);
  // The fraction, cut to the bits of a double. Where it begins with many zeros Prometheus takes
  // the wrong bits for its last ones, and so do we.
  high = high << 3U | low >> 61U;
  const auto shift = static_cast<unsigned>(std::countl_zero(high)) + 1;
  high = shift >= 64 ? low : high << shift | low >> (64 - shift);
  double fraction = std::bit_cast<double>(high >> (64 - kFraction) | (kBias - shift) << kFraction);
  if (octant % 2 == 1) {
    octant = (octant + 1) % 8;
    fraction -= 1;
  }
  return {fraction * (kPi / 4), octant};
}

Reduced reduce(double x) {
  if (x >= kLarge) return reduce_large(x);
  // pi/4 in three parts, so that products with small whole numbers are exact.
  constexpr std::array<double, 3> kQuarter = {7.85398125648498535156e-1, 3.77489470793079817668e-8,
                                              2.69515142907905952645e-15};
  auto octant = static_cast<std::uint64_t>(x * (4 / kPi));
  auto count = static_cast<double>(octant);
  if (octant % 2 == 1) {
    ++octant;
    count += 1;
  }
  const double angle = ((x - count * kQuarter[0]) - count * kQuarter[1]) - count * kQuarter[2];
  return {angle, static_cast<unsigned>(octant % 8)};
}

double small_sine(double z) {
  const double zz = z * z;
  double sum = 1.58962301576546568060e-10;
  for (const double c :
       {-2.50507477628578072866e-8, 2.75573136213857245213e-6, -1.98412698295895385996e-4,
        8.33333333332211858878e-3, -1.66666666666666307295e-1}) {
    sum = sum * zz + c;
  }
  return z + z * zz * sum;
}

double small_cosine(double z) {
  const double zz = z * z;
  double sum = -1.13585365213876817300e-11;
  for (const double c :
       {2.08757008419747316778e-9, -2.75573141792967388112e-7, 2.48015872888517045348e-5,
        -1.38888888888730564116e-3, 4.16666666666665929218e-2}) {
    sum = sum * zz + c;
  }
  return 1.0 - 0.5 * zz + zz * zz * sum;
}

/// For x in [0, 0.66].
double small_arc_tangent(double x) {
  const double z = x * x;
  double above = -8.750608600031904122785e-01;
  for (const double c : {-1.615753718733365076637e+01, -7.500855792314704667340e+01,
                         -1.228866684490136173410e+02, -6.485021904942025371773e+01}) {
    above = above * z + c;
  }
  double below = z + 2.485846490142306297962e+01;
  for (const double c : {1.650270098316988542046e+02, 4.328810604912902668951e+02,
                         4.853903996359136964868e+02, 1.945506571482613964425e+02}) {
    below = below * z + c;
  }
  return x * (z * above / below) + x;
}

double positive_arc_tangent(double x) {
  constexpr double kMoreBits = 6.123233995736765886130e-17;  // of pi/2
  constexpr double kTangent3Pi8 = 2.41421356237309504880;
  if (x <= 0.66) return small_arc_tangent(x);
  if (x > kTangent3Pi8) return kPi / 2 - small_arc_tangent(1 / x) + kMoreBits;
  return kPi / 4 + small_arc_tangent((x - 1) / (x + 1)) + 0.5 * kMoreBits;
}

}  // namespace

double sin(double x) {
  const double a = std::fabs(x);
  if (x == 0 || !std::isfinite(x)) return std::sin(x);
  const Reduced reduced = reduce(a);
  const unsigned quadrant = reduced.octant / 2;
  const double value = quadrant % 2 == 1 ? small_cosine(reduced.angle) : small_sine(reduced.angle);
  return (quadrant >= 2) != std::signbit(x) ? -value : value;
}

double cos(double x) {
  const double a = std::fabs(x);
  if (!std::isfinite(x)) return std::cos(x);
  const Reduced reduced = reduce(a);
  const unsigned quadrant = reduced.octant / 2;
  const double value = quadrant % 2 == 1 ? small_sine(reduced.angle) : small_cosine(reduced.angle);
  return quadrant == 1 || quadrant == 2 ? -value : value;
}

double tan(double x) {
  const double a = std::fabs(x);
  if (x == 0 || !std::isfinite(x)) return std::tan(x);
  const Reduced reduced = reduce(a);
  const double z = reduced.angle;
  const double zz = z * z;
  double value = z;
  if (zz > 1e-14) {
    const double above = ((-1.30936939181383734205e4 * zz) + 1.15351664838587416140e6) * zz +
                         -1.79565251976484877988e7;
    const double below = (((zz + 1.36812963470692954678e4) * zz + -1.32089234440210967447e6) * zz +
                          2.50083801823357915839e7) *
                             zz +
                         -5.38695755929454629881e7;
    value = z + z * (zz * above / below);
  }
  if (reduced.octant / 2 % 2 == 1) value = -1 / value;
  return std::signbit(x) ? -value : value;
}

double atan(double x) {
  if (x == 0 || std::isnan(x)) return x;
  return std::copysign(positive_arc_tangent(std::fabs(x)), x);
}

double asin(double x) {
  const double a = std::fabs(x);
  if (x == 0 || !(a <= 1)) return std::asin(x);
  const double other = std::sqrt(1 - a * a);
  const double value =
      a > 0.7 ? kPi / 2 - positive_arc_tangent(other / a) : positive_arc_tangent(a / other);
  return std::copysign(value, x);
}

double acos(double x) {
  return kPi / 2 - asin(x);
}

double atan2(double y, double x) {
  if (!std::isfinite(x) || !std::isfinite(y) || x == 0 || y == 0) return std::atan2(y, x);
  const double quotient = atan(y / x);
  if (x > 0) return quotient;
  return quotient <= 0 ? quotient + kPi : quotient - kPi;
}

}  // namespace nexus::knowledge::promql::prometheus
