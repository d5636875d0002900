#include "knowledge/promql/functions.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

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

double absolute(double v, double, double) {
  return std::fabs(v);
}
double ceiling(double v, double, double) {
  return std::ceil(v);
}
double floor_of(double v, double, double) {
  return std::floor(v);
}
double exponential(double v, double, double) {
  return std::exp(v);
}
double natural_log(double v, double, double) {
  return std::log(v);
}
double binary_log(double v, double, double) {
  return std::log2(v);
}
double decimal_log(double v, double, double) {
  return std::log10(v);
}
double square_root(double v, double, double) {
  return std::sqrt(v);
}
double sign_of(double v, double, double) {
  return v < 0 ? -1 : v > 0 ? 1 : v;
}
double at_least(double v, double low, double) {
  return greater(low, v);
}
double at_most(double v, double high, double) {
  return lesser(high, v);
}
double between(double v, double low, double high) {
  return high < low ? absent() : greater(low, lesser(high, v));
}
double round_to(double v, double nearest, double) {
  const double inverse = 1.0 / nearest;  // the inverse loses fewer digits
  return std::floor(v * inverse + 0.5) / inverse;
}

constexpr auto kS = ValueType::kScalar;
constexpr auto kV = ValueType::kVector;
constexpr auto kM = ValueType::kMatrix;

/// name, type of the result, how many arguments at least and at most, their types, body, default of
/// the optional number, keeps the name. Sorted by name.
const Function kFunctions[] = {
    {"abs", kV, 1, 1, {kV}, absolute},
    {"absent", kV, 1, 1, {kV}, absent_of},
    {"avg_over_time", kV, 1, 1, {kM}, avg_over_time},
    {"ceil", kV, 1, 1, {kV}, ceiling},
    {"changes", kV, 1, 1, {kM}, changes},
    {"clamp", kV, 3, 3, {kV, kS, kS}, between},
    {"clamp_max", kV, 2, 2, {kV, kS}, at_most},
    {"clamp_min", kV, 2, 2, {kV, kS}, at_least},
    {"count_over_time", kV, 1, 1, {kM}, count_over_time},
    {"delta", kV, 1, 1, {kM}, delta},
    {"deriv", kV, 1, 1, {kM}, deriv},
    {"exp", kV, 1, 1, {kV}, exponential},
    {"floor", kV, 1, 1, {kV}, floor_of},
    {"idelta", kV, 1, 1, {kM}, idelta},
    {"increase", kV, 1, 1, {kM}, increase},
    {"irate", kV, 1, 1, {kM}, irate},
    {"last_over_time", kV, 1, 1, {kM}, last_over_time, 0, true},
    {"ln", kV, 1, 1, {kV}, natural_log},
    {"log10", kV, 1, 1, {kV}, decimal_log},
    {"log2", kV, 1, 1, {kV}, binary_log},
    {"max_over_time", kV, 1, 1, {kM}, max_over_time},
    {"min_over_time", kV, 1, 1, {kM}, min_over_time},
    {"predict_linear", kV, 2, 2, {kM, kS}, predict_linear},
    {"present_over_time", kV, 1, 1, {kM}, present_over_time},
    {"rate", kV, 1, 1, {kM}, rate},
    {"resets", kV, 1, 1, {kM}, resets},
    {"round", kV, 1, 2, {kV, kS}, round_to, 1},
    {"scalar", kS, 1, 1, {kV}, scalar_of},
    {"sgn", kV, 1, 1, {kV}, sign_of},
    {"sqrt", kV, 1, 1, {kV}, square_root},
    {"stddev_over_time", kV, 1, 1, {kM}, stddev_over_time},
    {"sum_over_time", kV, 1, 1, {kM}, sum_over_time},
    {"time", kS, 0, 0, {}, time_of_step},
    {"timestamp", kV, 1, 1, {kV}, timestamp_of},
    {"vector", kV, 1, 1, {kS}, vector_of},
};

constexpr std::string_view kFutureFunctions[] = {
    "absent_over_time",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cos",
    "cosh",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "deg",
    "double_exponential_smoothing",
    "first_over_time",
    "histogram_avg",
    "histogram_count",
    "histogram_fraction",
    "histogram_quantile",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "holt_winters",
    "hour",
    "info",
    "label_join",
    "label_replace",
    "mad_over_time",
    "minute",
    "month",
    "pi",
    "quantile_over_time",
    "rad",
    "sin",
    "sinh",
    "sort",
    "sort_by_label",
    "sort_by_label_desc",
    "sort_desc",
    "stdvar_over_time",
    "tan",
    "tanh",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
    "year",
};

constexpr std::string_view kFutureAggregations[] = {
    "bottomk",  "count_values", "group",  "limit_ratio", "limitk",
    "quantile", "stddev",       "stdvar", "topk",
};

}  // namespace

const Function* find_function(std::string_view name) noexcept {
  const auto* found = std::ranges::lower_bound(kFunctions, name, {}, &Function::name);
  return found != std::end(kFunctions) && found->name == name ? found : nullptr;
}

bool is_future_function(std::string_view name) noexcept {
  return std::ranges::binary_search(kFutureFunctions, name);
}

bool is_future_aggregation(std::string_view name) noexcept {
  return std::ranges::binary_search(kFutureAggregations, name);
}

}  // namespace nexus::knowledge::promql
