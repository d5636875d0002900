// Isolation forest fit and score, forecasts, and the book of findings.
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "analyze/anomaly/random.hpp"
#include "nexus/analyze/anomaly.hpp"
#include "nexus/analyze/forecast.hpp"

namespace {

using namespace nexus::analyze;

std::vector<double> normal_rows(std::size_t count, std::size_t dimensions) {
  Random random(1);
  std::vector<double> rows(count * dimensions);
  for (double& v : rows) {
    v = -6;
    for (int k = 0; k < 12; ++k) v += random.uniform();
  }
  return rows;
}

void forest_fit(benchmark::State& state) {
  const auto dimensions = static_cast<std::size_t>(state.range(0));
  const std::vector<double> rows = normal_rows(2048, dimensions);
  std::size_t bytes = 0;
  for (auto _ : state) {
    const auto forest = IsolationForest::fit(rows, dimensions, {});
    bytes = forest->bytes();
    benchmark::DoNotOptimize(bytes);
  }
  state.counters["bytes"] = static_cast<double>(bytes);
}
BENCHMARK(forest_fit)->Arg(1)->Arg(2)->Arg(38);

void forest_score(benchmark::State& state) {
  const auto dimensions = static_cast<std::size_t>(state.range(0));
  const std::vector<double> rows = normal_rows(2048, dimensions);
  const auto forest = IsolationForest::fit(rows, dimensions, {});
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        forest->decision_function(std::span(rows).subspan(i * dimensions, dimensions)));
    i = (i + 1) % 2048;
  }
}
BENCHMARK(forest_score)->Arg(1)->Arg(2)->Arg(38);

void line_fit(benchmark::State& state) {
  const std::vector<double> values = normal_rows(3600, 1);
  std::vector<std::int64_t> times;
  for (int i = 0; i < 3600; ++i) times.push_back(1'700'000'000'000 + i * 1000);
  for (auto _ : state) benchmark::DoNotOptimize(fit_line(times, values));
}
BENCHMARK(line_fit);

void t_quantile(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(student_t_quantile(0.975, 3598));
}
BENCHMARK(t_quantile);

}  // namespace
