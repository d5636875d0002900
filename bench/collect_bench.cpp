// One full collection of the default collectors on this host: what the agent does once an interval.
//
// CPU time is what counts (the CPU column). `collect_bench --collections=N [--pages]
// [--collectors=a,b,c]` makes N collections, each rendered as a page if so told, and prints CPU
// microseconds a collection and the number of samples; bench/versus/node_exporter.sh puts that
// beside node_exporter's.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "monitor/run_sink.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/knowledge/exposition.hpp"
#include "nexus/monitor/collector.hpp"

namespace {

using namespace nexus;

/// Collectors with a sink each, as the scheduler has them.
class Host {
 public:
  /// `only`: names separated by commas; empty for the default ones.
  explicit Host(std::string_view only = {}) {
    const std::vector<std::string_view> names = base::split(only, ',');
    for (const monitor::CollectorDescriptor* descriptor : monitor::collectors()) {
      const bool is_wanted = only.empty()
                                 ? descriptor->enabled_by_default
                                 : std::ranges::find(names, descriptor->name) != names.end();
      if (!is_wanted) continue;
      auto made = descriptor->make({.roots = roots_,
                                    .clock = clock_,
                                    .registry = registry_,
                                    .options = options_,
                                    .self = &self_,
                                    .systemd = &systemd_});
      if (made)
        parts_.push_back({std::move(*made), std::make_unique<monitor::RunSink>(registry_, 10'000)});
    }
  }

  /// Returns the number of samples.
  std::size_t collect() {
    std::size_t samples = 0;
    for (Part& part : parts_) {
      part.sink->begin();
      static_cast<void>(part.collector->collect(*part.sink));
      part.sink->finish();
      samples += part.sink->live().size();
    }
    return samples;
  }

  const std::string& render() {
    page_.clear();
    for (const Part& part : parts_) {
      const auto live = part.sink->live();
      for (std::size_t i = 0; i < live.size(); ++i)
        page_.push_back({live[i], part.sink->values()[i]});
    }
    return exposition_.render(page_);
  }

 private:
  struct Part {
    std::unique_ptr<monitor::Collector> collector;
    std::unique_ptr<monitor::RunSink> sink;
  };

  base::SystemClock clock_;
  host::Roots roots_;
  config::Parameters options_;
  knowledge::SeriesRegistry registry_{100'000};
  knowledge::SelfMetrics self_;
  drivers::Systemd systemd_{clock_};
  std::vector<Part> parts_;
  knowledge::Exposition exposition_{registry_};
  std::vector<knowledge::ExposedSample> page_;
};

void full_collection(benchmark::State& state) {
  Host host;
  std::size_t samples = host.collect();
  for (auto _ : state) samples = host.collect();
  state.counters["samples"] = static_cast<double>(samples);
}
BENCHMARK(full_collection)->Unit(benchmark::kMicrosecond)->MeasureProcessCPUTime();

void collection_and_page(benchmark::State& state) {
  Host host;
  host.collect();
  for (auto _ : state) {
    host.collect();
    benchmark::DoNotOptimize(host.render().size());
  }
}
BENCHMARK(collection_and_page)->Unit(benchmark::kMicrosecond)->MeasureProcessCPUTime();

void one_collector(benchmark::State& state, const std::string& name) {
  Host host(name);
  std::size_t samples = host.collect();
  for (auto _ : state) samples = host.collect();
  state.counters["samples"] = static_cast<double>(samples);
}

double cpu_microseconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto micros = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_usec);
  };
  return micros(usage.ru_utime) + micros(usage.ru_stime);
}

/// As the flags say; false when there is no `--collections` among them.
bool print_collections(std::span<char* const> arguments) {
  std::uint64_t count = 0;
  bool with_page = false;
  std::string_view only;
  for (const std::string_view argument : arguments) {
    std::string_view value = argument;
    const std::string_view flag = base::take_until(value, '=');
    if (flag == "--collections") count = base::parse_uint(value).value_or(0);
    if (flag == "--collectors") only = value;
    if (flag == "--pages") with_page = true;
  }
  if (count == 0) return false;
  Host host(only);
  std::size_t samples = host.collect();
  const double before = cpu_microseconds();
  for (std::uint64_t i = 0; i < count; ++i) {
    samples = host.collect();
    if (with_page) benchmark::DoNotOptimize(host.render().size());
  }
  std::printf("%.1f %zu\n", (cpu_microseconds() - before) / static_cast<double>(count), samples);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (print_collections(std::span(argv, static_cast<std::size_t>(argc)))) return 0;
  for (const monitor::CollectorDescriptor* descriptor : monitor::collectors()) {
    const std::string name(descriptor->name);
    benchmark::RegisterBenchmark(("collector/" + name).c_str(), one_collector, name)
        ->Unit(benchmark::kMicrosecond)
        ->MeasureProcessCPUTime();
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
