// The bodies behind the function table. Names are those of the functions; semantics are Prometheus
// 3's. Thread safety: pure functions.
#pragma once

#include "knowledge/promql/functions.hpp"

namespace nexus::knowledge::promql {

// Over the windows of a series: rate.cpp, range_functions.cpp, trend_functions.cpp.
void rate(const RangeInput& input, std::span<double> out);
void increase(const RangeInput& input, std::span<double> out);
void delta(const RangeInput& input, std::span<double> out);
void irate(const RangeInput& input, std::span<double> out);
void idelta(const RangeInput& input, std::span<double> out);
void deriv(const RangeInput& input, std::span<double> out);
void predict_linear(const RangeInput& input, std::span<double> out);
void double_exponential_smoothing(const RangeInput& input, std::span<double> out);
void avg_over_time(const RangeInput& input, std::span<double> out);
void min_over_time(const RangeInput& input, std::span<double> out);
void max_over_time(const RangeInput& input, std::span<double> out);
void sum_over_time(const RangeInput& input, std::span<double> out);
void count_over_time(const RangeInput& input, std::span<double> out);
void first_over_time(const RangeInput& input, std::span<double> out);
void last_over_time(const RangeInput& input, std::span<double> out);
void stddev_over_time(const RangeInput& input, std::span<double> out);
void stdvar_over_time(const RangeInput& input, std::span<double> out);
void quantile_over_time(const RangeInput& input, std::span<double> out);
void mad_over_time(const RangeInput& input, std::span<double> out);
void present_over_time(const RangeInput& input, std::span<double> out);
void changes(const RangeInput& input, std::span<double> out);
void resets(const RangeInput& input, std::span<double> out);
void ts_of_first_over_time(const RangeInput& input, std::span<double> out);
void ts_of_last_over_time(const RangeInput& input, std::span<double> out);
void ts_of_max_over_time(const RangeInput& input, std::span<double> out);
void ts_of_min_over_time(const RangeInput& input, std::span<double> out);

// The agent's own: model_functions.cpp.
void nexus_forecast(const RangeInput& input, std::span<double> out);
void nexus_forecast_lower(const RangeInput& input, std::span<double> out);
void nexus_forecast_upper(const RangeInput& input, std::span<double> out);
void nexus_anomaly(const RangeInput& input, std::span<double> out);
void nexus_time_to(const RangeInput& input, std::span<double> out);

// Of one number: math_functions.cpp, date_functions.cpp.
double sign_of(double v, double, double);
double clamp(double v, double low, double high);
double clamp_min(double v, double low, double);
double clamp_max(double v, double high, double);
double round_to(double v, double nearest, double);
double radians(double v, double, double);
double degrees(double v, double, double);
double year(double v, double, double);
double month(double v, double, double);
double day_of_month(double v, double, double);
double day_of_week(double v, double, double);
double day_of_year(double v, double, double);
double days_in_month(double v, double, double);
double hour(double v, double, double);
double minute(double v, double, double);

// Of the whole call: special_functions.cpp, label_functions.cpp, sort_functions.cpp,
// histogram_functions.cpp, info_function.cpp.
Result<Block> time_of_step(Evaluator& evaluator, const Call& call);
Result<Block> pi(Evaluator& evaluator, const Call& call);
Result<Block> start_of_query(Evaluator& evaluator, const Call& call);
Result<Block> end_of_query(Evaluator& evaluator, const Call& call);
Result<Block> range_of_query(Evaluator& evaluator, const Call& call);
Result<Block> step_of_query(Evaluator& evaluator, const Call& call);
Result<Block> max_of(Evaluator& evaluator, const Call& call);
Result<Block> min_of(Evaluator& evaluator, const Call& call);
Result<Block> scalar_of(Evaluator& evaluator, const Call& call);
Result<Block> vector_of(Evaluator& evaluator, const Call& call);
Result<Block> absent_of(Evaluator& evaluator, const Call& call);
Result<Block> absent_over_time(Evaluator& evaluator, const Call& call);
Result<Block> timestamp_of(Evaluator& evaluator, const Call& call);
Result<Block> label_replace(Evaluator& evaluator, const Call& call);
Result<Block> label_join(Evaluator& evaluator, const Call& call);
Result<Block> sort_up(Evaluator& evaluator, const Call& call);
Result<Block> sort_down(Evaluator& evaluator, const Call& call);
Result<Block> sort_by_label(Evaluator& evaluator, const Call& call);
Result<Block> sort_by_label_desc(Evaluator& evaluator, const Call& call);
Result<Block> histogram_quantile(Evaluator& evaluator, const Call& call);
Result<Block> histogram_fraction(Evaluator& evaluator, const Call& call);
Result<Block> histogram_quantiles(Evaluator& evaluator, const Call& call);
Result<Block> of_native_histograms(Evaluator& evaluator, const Call& call);
Result<Block> info(Evaluator& evaluator, const Call& call);

}  // namespace nexus::knowledge::promql
