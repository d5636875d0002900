// The bodies behind the function table. Names are those of the functions; semantics are Prometheus
// 3's. Thread safety: pure functions.
#pragma once

#include "knowledge/promql/functions.hpp"

namespace nexus::knowledge::promql {

// Over the windows of a series, range_functions.cpp and rate.cpp.
void rate(const RangeInput& input, std::span<double> out);
void increase(const RangeInput& input, std::span<double> out);
void delta(const RangeInput& input, std::span<double> out);
void irate(const RangeInput& input, std::span<double> out);
void idelta(const RangeInput& input, std::span<double> out);
void deriv(const RangeInput& input, std::span<double> out);
void predict_linear(const RangeInput& input, std::span<double> out);
void avg_over_time(const RangeInput& input, std::span<double> out);
void min_over_time(const RangeInput& input, std::span<double> out);
void max_over_time(const RangeInput& input, std::span<double> out);
void sum_over_time(const RangeInput& input, std::span<double> out);
void count_over_time(const RangeInput& input, std::span<double> out);
void last_over_time(const RangeInput& input, std::span<double> out);
void stddev_over_time(const RangeInput& input, std::span<double> out);
void present_over_time(const RangeInput& input, std::span<double> out);
void changes(const RangeInput& input, std::span<double> out);
void resets(const RangeInput& input, std::span<double> out);

// Of the whole call, special_functions.cpp.
Result<Block> time_of_step(Evaluator& evaluator, const Call& call);
Result<Block> scalar_of(Evaluator& evaluator, const Call& call);
Result<Block> vector_of(Evaluator& evaluator, const Call& call);
Result<Block> absent_of(Evaluator& evaluator, const Call& call);
Result<Block> timestamp_of(Evaluator& evaluator, const Call& call);

}  // namespace nexus::knowledge::promql
