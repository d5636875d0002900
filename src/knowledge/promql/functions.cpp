#include "knowledge/promql/functions.hpp"
#include "nexus/knowledge/promql_tree.hpp"

#include <algorithm>
#include <cmath>

#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/prometheus_math.hpp"

namespace nexus::knowledge::promql {
namespace {

constexpr auto kS = ValueType::kScalar;
constexpr auto kV = ValueType::kVector;
constexpr auto kM = ValueType::kMatrix;
constexpr auto kT = ValueType::kString;
constexpr std::size_t kAny = Function::kVariadic;

template <double (*kFunction)(double)>
double plain(double value, double, double) {
  return kFunction(value);
}

/// name, type of the result, how many arguments at least and at most, their types, body, default of
/// the optional number, keeps the name, work a window. Sorted by name.
const Function kFunctions[] = {
    {"abs", kV, 1, 1, {kV}, plain<std::fabs>},
    {"absent", kV, 1, 1, {kV}, absent_of},
    {"absent_over_time", kV, 1, 1, {kM}, absent_over_time},
    {"acos", kV, 1, 1, {kV}, plain<prometheus::acos>},
    {"acosh", kV, 1, 1, {kV}, plain<prometheus::acosh>},
    {"asin", kV, 1, 1, {kV}, plain<prometheus::asin>},
    {"asinh", kV, 1, 1, {kV}, plain<prometheus::asinh>},
    {"atan", kV, 1, 1, {kV}, plain<prometheus::atan>},
    {"atanh", kV, 1, 1, {kV}, plain<prometheus::atanh>},
    {"avg_over_time", kV, 1, 1, {kM}, avg_over_time},
    {"ceil", kV, 1, 1, {kV}, plain<std::ceil>},
    {"changes", kV, 1, 1, {kM}, changes},
    {"clamp", kV, 3, 3, {kV, kS, kS}, clamp},
    {"clamp_max", kV, 2, 2, {kV, kS}, clamp_max},
    {"clamp_min", kV, 2, 2, {kV, kS}, clamp_min},
    {"cos", kV, 1, 1, {kV}, plain<prometheus::cos>},
    {"cosh", kV, 1, 1, {kV}, plain<prometheus::cosh>},
    {"count_over_time", kV, 1, 1, {kM}, count_over_time},
    {"day_of_month", kV, 0, 1, {kV}, day_of_month},
    {"day_of_week", kV, 0, 1, {kV}, day_of_week},
    {"day_of_year", kV, 0, 1, {kV}, day_of_year},
    {"days_in_month", kV, 0, 1, {kV}, days_in_month},
    {"deg", kV, 1, 1, {kV}, degrees},
    {"delta", kV, 1, 1, {kM}, delta},
    {"deriv", kV, 1, 1, {kM}, deriv},
    {"double_exponential_smoothing", kV, 3, 3, {kM, kS, kS}, double_exponential_smoothing},
    {"end", kS, 0, 0, {}, end_of_query},
    {"exp", kV, 1, 1, {kV}, plain<prometheus::exp>},
    {"first_over_time", kV, 1, 1, {kM}, first_over_time, 0, true},
    {"floor", kV, 1, 1, {kV}, plain<std::floor>},
    {"histogram_avg", kV, 1, 1, {kV}, of_native_histograms},
    {"histogram_count", kV, 1, 1, {kV}, of_native_histograms},
    {"histogram_fraction", kV, 3, 3, {kS, kS, kV}, histogram_fraction},
    {"histogram_quantile", kV, 2, 2, {kS, kV}, histogram_quantile},
    {"histogram_quantiles",
     kV,
     3,
     12,
     {kV, kT, kS, kS, kS, kS, kS, kS, kS, kS, kS, kS},
     histogram_quantiles},
    {"histogram_stddev", kV, 1, 1, {kV}, of_native_histograms},
    {"histogram_stdvar", kV, 1, 1, {kV}, of_native_histograms},
    {"histogram_sum", kV, 1, 1, {kV}, of_native_histograms},
    {"holt_winters", kV, 3, 3, {kM, kS, kS}, double_exponential_smoothing},
    {"hour", kV, 0, 1, {kV}, hour},
    {"idelta", kV, 1, 1, {kM}, idelta},
    {"increase", kV, 1, 1, {kM}, increase},
    {"info", kV, 1, 2, {kV, kV}, info},
    {"irate", kV, 1, 1, {kM}, irate},
    {"label_join", kV, 3, kAny, {kV, kT, kT, kT}, label_join},
    {"label_replace", kV, 5, 5, {kV, kT, kT, kT, kT}, label_replace},
    {"last_over_time", kV, 1, 1, {kM}, last_over_time, 0, true},
    {"ln", kV, 1, 1, {kV}, plain<prometheus::log>},
    {"log10", kV, 1, 1, {kV}, plain<prometheus::log10>},
    {"log2", kV, 1, 1, {kV}, plain<prometheus::log2>},
    {"mad_over_time", kV, 1, 1, {kM}, mad_over_time},
    {"max_of", kS, 2, 2, {kS, kS}, max_of},
    {"max_over_time", kV, 1, 1, {kM}, max_over_time},
    {"min_of", kS, 2, 2, {kS, kS}, min_of},
    {"min_over_time", kV, 1, 1, {kM}, min_over_time},
    {"minute", kV, 0, 1, {kV}, minute},
    {"month", kV, 0, 1, {kV}, month},
    {"nexus_anomaly", kV, 1, 1, {kM}, nexus_anomaly, 0, false, 8192},
    {"nexus_forecast", kV, 2, 2, {kM, kS}, nexus_forecast, 0, false, 64},
    {"nexus_forecast_lower", kV, 2, 2, {kM, kS}, nexus_forecast_lower, 0, false, 64},
    {"nexus_forecast_upper", kV, 2, 2, {kM, kS}, nexus_forecast_upper, 0, false, 64},
    {"nexus_time_to", kV, 2, 2, {kM, kS}, nexus_time_to, 0, false, 64},
    {"pi", kS, 0, 0, {}, pi},
    {"predict_linear", kV, 2, 2, {kM, kS}, predict_linear},
    {"present_over_time", kV, 1, 1, {kM}, present_over_time},
    {"quantile_over_time", kV, 2, 2, {kS, kM}, quantile_over_time},
    {"rad", kV, 1, 1, {kV}, radians},
    {"range", kS, 0, 0, {}, range_of_query},
    {"rate", kV, 1, 1, {kM}, rate},
    {"resets", kV, 1, 1, {kM}, resets},
    {"round", kV, 1, 2, {kV, kS}, round_to, 1},
    {"scalar", kS, 1, 1, {kV}, scalar_of},
    {"sgn", kV, 1, 1, {kV}, sign_of},
    {"sin", kV, 1, 1, {kV}, plain<prometheus::sin>},
    {"sinh", kV, 1, 1, {kV}, plain<prometheus::sinh>},
    {"sort", kV, 1, 1, {kV}, sort_up},
    {"sort_by_label", kV, 1, kAny, {kV, kT}, sort_by_label},
    {"sort_by_label_desc", kV, 1, kAny, {kV, kT}, sort_by_label_desc},
    {"sort_desc", kV, 1, 1, {kV}, sort_down},
    {"sqrt", kV, 1, 1, {kV}, plain<std::sqrt>},
    {"start", kS, 0, 0, {}, start_of_query},
    {"stddev_over_time", kV, 1, 1, {kM}, stddev_over_time},
    {"stdvar_over_time", kV, 1, 1, {kM}, stdvar_over_time},
    {"step", kS, 0, 0, {}, step_of_query},
    {"sum_over_time", kV, 1, 1, {kM}, sum_over_time},
    {"tan", kV, 1, 1, {kV}, plain<prometheus::tan>},
    {"tanh", kV, 1, 1, {kV}, plain<prometheus::tanh>},
    {"time", kS, 0, 0, {}, time_of_step},
    {"timestamp", kV, 1, 1, {kV}, timestamp_of},
    {"ts_of_first_over_time", kV, 1, 1, {kM}, ts_of_first_over_time},
    {"ts_of_last_over_time", kV, 1, 1, {kM}, ts_of_last_over_time},
    {"ts_of_max_over_time", kV, 1, 1, {kM}, ts_of_max_over_time},
    {"ts_of_min_over_time", kV, 1, 1, {kM}, ts_of_min_over_time},
    {"vector", kV, 1, 1, {kS}, vector_of},
    {"year", kV, 0, 1, {kV}, year},
};

struct Unsupported {
  std::string_view name;
  std::string_view reason;
};
constexpr std::string_view kExperiment = "an experiment of Prometheus";
constexpr Unsupported kUnsupported[] = {
    {"integral", kExperiment},
    {"timeseries_gen", kExperiment},
};

}  // namespace

const Function* find_function(std::string_view name) noexcept {
  const auto* found = std::ranges::lower_bound(kFunctions, name, {}, &Function::name);
  return found != std::end(kFunctions) && found->name == name ? found : nullptr;
}

std::vector<std::string_view> function_names() {
  std::vector<std::string_view> names;
  for (const Function& function : kFunctions) names.push_back(function.name);
  return names;
}

std::string_view why_unsupported(std::string_view name) noexcept {
  const auto* found = std::ranges::find(kUnsupported, name, &Unsupported::name);
  return found == std::end(kUnsupported) ? std::string_view() : found->reason;
}

}  // namespace nexus::knowledge::promql
