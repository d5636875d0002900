// PromQL over an in-memory Queryable with one sample a second: what vitals cost every second, and
// what a page of graphs costs.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>

#include "nexus/knowledge/promql.hpp"
#include "nexus/knowledge/series.hpp"

namespace {

using namespace nexus::knowledge;

constexpr std::int64_t kSecond = 1000;
constexpr std::int64_t kHour = 3600 * kSecond;

class Store final : public Queryable {
 public:
  Store(int cpus, int devices) {
    for (int cpu = 0; cpu < cpus; ++cpu) {
      for (const char* mode :
           {"idle", "user", "system", "iowait", "irq", "nice", "softirq", "steal"}) {
        add(Labels("node_cpu_seconds_total", {{"cpu", std::to_string(cpu)}, {"mode", mode}}),
            0.125);
      }
    }
    for (int device = 0; device < devices; ++device) {
      const std::string name = "eth" + std::to_string(device);
      add(Labels("node_network_receive_bytes_total", {{"device", name}}), 1500);
      add(Labels("node_network_transmit_bytes_total", {{"device", name}}), 700);
    }
    add(Labels("node_memory_MemTotal_bytes", std::initializer_list<LabelView>{}), 0);
    add(Labels("node_memory_MemAvailable_bytes", std::initializer_list<LabelView>{}), 0);
  }

  std::vector<SeriesId> select(std::span<const Matcher> matchers, std::int64_t,
                               std::int64_t) const override {
    return registry_.select(matchers);
  }
  const Labels& labels(SeriesId id) const override { return registry_.labels(id); }
  void read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const override {
    const Column& from = columns_[id];
    const auto first = std::ranges::upper_bound(from.times, start) - from.times.begin();
    const auto last = std::ranges::upper_bound(from.times, end) - from.times.begin();
    out.times.insert(out.times.end(), from.times.begin() + first, from.times.begin() + last);
    out.values.insert(out.values.end(), from.values.begin() + first, from.values.begin() + last);
  }

 private:
  void add(const Labels& labels, double slope) {
    const auto id = registry_.intern(labels);
    if (!id) std::abort();
    if (*id >= columns_.size()) columns_.resize(*id + 1);
    for (std::int64_t i = 0; i <= 3600; ++i) {
      columns_[*id].times.push_back(i * kSecond);
      columns_[*id].values.push_back(1e6 + slope * static_cast<double>(i + (i * i) % 7));
    }
  }
  SeriesRegistry registry_{100'000};
  std::vector<Column> columns_;
};

constexpr const char* kExpressions[] = {
    R"(100 - avg without(cpu,mode)(rate(node_cpu_seconds_total{mode="idle"}[1m]))*100)",
    "100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)",
    "sum by (mode) (rate(node_cpu_seconds_total[1m]))",
    "sum(rate(node_network_receive_bytes_total[5m])) + "
    "sum(rate(node_network_transmit_bytes_total[5m]))",
    "avg_over_time(node_network_receive_bytes_total[5m])",
    "predict_linear(node_memory_MemAvailable_bytes[1h], 3600)",
    "node_network_receive_bytes_total > node_network_transmit_bytes_total",
    "topk(5, rate(node_network_receive_bytes_total[5m]))",
    "max_over_time(sum by (mode) (rate(node_cpu_seconds_total[1m]))[10m:15s])",
    "node_cpu_seconds_total / on (cpu) group_left () sum by (cpu) (node_cpu_seconds_total)",
};

promql::Query parse(const char* text) {
  auto query = promql::Query::parse(text);
  if (!query) std::abort();
  return std::move(*query);
}

void instant(benchmark::State& state, int cpus) {
  const Store store(cpus, cpus * 4);
  const promql::Query query = parse(kExpressions[state.range(0)]);
  for (auto _ : state) benchmark::DoNotOptimize(query.instant(store, kHour));
  state.SetLabel(query.text());
}

void instant_of_a_small_host(benchmark::State& state) {
  instant(state, 2);
}
void instant_of_32_cpus(benchmark::State& state) {
  instant(state, 32);
}

/// An hour in steps of 15 s, on 32 cpus with 128 devices: 514 series, 1.85 million samples.
void range_of_32_cpus(benchmark::State& state) {
  const Store store(32, 128);
  const promql::Query query = parse(kExpressions[state.range(0)]);
  for (auto _ : state) benchmark::DoNotOptimize(query.range(store, 0, kHour, 15 * kSecond));
  state.SetLabel(query.text());
}

void parse_only(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(promql::Query::parse(kExpressions[0]));
}

constexpr int kLast = static_cast<int>(std::size(kExpressions)) - 1;
BENCHMARK(instant_of_a_small_host)->DenseRange(0, kLast)->Unit(benchmark::kMicrosecond);
BENCHMARK(instant_of_32_cpus)->DenseRange(0, kLast)->Unit(benchmark::kMicrosecond);
BENCHMARK(range_of_32_cpus)->DenseRange(0, kLast)->Unit(benchmark::kMillisecond);
BENCHMARK(parse_only)->Unit(benchmark::kMicrosecond);

}  // namespace
