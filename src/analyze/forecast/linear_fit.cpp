#include <algorithm>
#include <cmath>

#include "analyze/forecast/student_t.hpp"
#include "nexus/analyze/forecast.hpp"

namespace nexus::analyze {
namespace {

/// Sums about the means, of values divided by a power of two so that no square overflows or
/// vanishes.
struct Sums {
  std::size_t n = 0;
  int exponent = 0;
  double mean_x = 0;
  double mean_y = 0;  // exact for a constant series: summed as differences from one value
  double sxx = 0;
  double sxy = 0;
  double syy = 0;
};

template <typename Visit>
void each_point(std::span<const std::int64_t> times, std::span<const double> values, int exponent,
                Visit&& visit) {
  const double last = static_cast<double>(times.back());
  const double scale = std::ldexp(1.0, -exponent);
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    visit((static_cast<double>(times[i]) - last) / 1000, values[i] * scale);
  }
}

Sums sum(std::span<const std::int64_t> times, std::span<const double> values) {
  Sums sums;
  double largest = 0;
  for (const double v : values) {
    if (!std::isfinite(v)) continue;
    ++sums.n;
    largest = std::max(largest, std::abs(v));
  }
  if (sums.n == 0) return sums;
  // ldexp(1, -1023) is still exact; a subnormal series is scaled as far as a double can say.
  if (largest > 0) sums.exponent = std::clamp(std::ilogb(largest), -1000, 1023);
  const double n = static_cast<double>(sums.n);
  std::optional<double> origin;
  each_point(times, values, sums.exponent, [&](double x, double y) {
    if (!origin) origin = y;
    sums.mean_x += x;
    sums.mean_y += y - *origin;
  });
  sums.mean_x /= n;
  sums.mean_y = sums.mean_y / n + *origin;
  each_point(times, values, sums.exponent, [&](double x, double y) {
    const double dx = x - sums.mean_x;
    const double dy = y - sums.mean_y;
    sums.sxx += dx * dx;
    sums.sxy += dx * dy;
    sums.syy += dy * dy;
  });
  return sums;
}

}  // namespace

std::optional<LinearFit> fit_line(std::span<const std::int64_t> times_ms,
                                  std::span<const double> values) {
  if (times_ms.size() != values.size() || times_ms.empty()) return std::nullopt;
  const Sums sums = sum(times_ms, values);
  if (sums.n < 3 || !(sums.sxx > 0)) return std::nullopt;
  const double slope = sums.sxy / sums.sxx;
  double residual = 0;  // summed over the residuals: syy - slope * sxy cancels when the fit is good
  each_point(times_ms, values, sums.exponent, [&](double x, double y) {
    const double r = (y - sums.mean_y) - slope * (x - sums.mean_x);
    residual += r * r;
  });

  LinearFit fit;
  fit.n = sums.n;
  fit.mean_x = sums.mean_x;
  fit.sxx = sums.sxx;
  fit.slope = std::ldexp(slope, sums.exponent);
  fit.intercept = std::ldexp(sums.mean_y - slope * sums.mean_x, sums.exponent);
  fit.residual_error =
      std::ldexp(std::sqrt(residual / static_cast<double>(sums.n - 2)), sums.exponent);
  if (sums.syy > 0) fit.r_squared = std::clamp(1 - residual / sums.syy, 0.0, 1.0);
  if (!std::isfinite(fit.slope) || !std::isfinite(fit.intercept) ||
      !std::isfinite(fit.residual_error)) {
    return std::nullopt;
  }
  return fit;
}

double LinearFit::half_width(double lead_seconds, double level) const {
  if (n < 3 || residual_error == 0) return 0;
  const double t = student_t_quantile(0.5 + level / 2, static_cast<double>(n - 2));
  const double distance = lead_seconds - mean_x;
  return t * residual_error * std::sqrt(1 + 1 / static_cast<double>(n) + distance * distance / sxx);
}

double LinearFit::slope_p_value() const {
  if (n < 3 || slope == 0) return 1;
  if (residual_error == 0) return 0;
  const double t = slope / residual_error * std::sqrt(sxx);
  return student_t_two_sided(t, static_cast<double>(n - 2));
}

}  // namespace nexus::analyze
