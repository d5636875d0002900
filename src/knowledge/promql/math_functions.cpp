// Functions of one number; those that are libm's own stand in the table of functions.cpp.
#include <cmath>
#include <limits>
#include <numbers>

#include "knowledge/promql/bodies.hpp"

namespace nexus::knowledge::promql {
namespace {

// As Go's math.Max and math.Min: infinity beats NaN, NaN beats the rest, +0 is greater than -0.
double greater(double a, double b) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (a == kInfinity || b == kInfinity) return kInfinity;
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<double>::quiet_NaN();
  if (a == 0 && b == 0) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}
double lesser(double a, double b) {
  return -greater(-a, -b);
}

}  // namespace

double sign_of(double v, double, double) {
  return v < 0 ? -1 : v > 0 ? 1 : v;
}
double clamp_min(double v, double low, double) {
  return greater(low, v);
}
double clamp_max(double v, double high, double) {
  return lesser(high, v);
}
double clamp(double v, double low, double high) {
  return high < low ? absent() : greater(low, lesser(high, v));
}
double round_to(double v, double nearest, double) {
  const double inverse = 1.0 / nearest;  // the inverse loses fewer digits
  return std::floor(v * inverse + 0.5) / inverse;
}
double radians(double v, double, double) {
  return v * std::numbers::pi / 180;
}
double degrees(double v, double, double) {
  return v * 180 / std::numbers::pi;
}

}  // namespace nexus::knowledge::promql
