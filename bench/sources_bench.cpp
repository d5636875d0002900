// Scrapes and pushes: exposition text into the history. Logs: lines through a handful of patterns.
//
// `sources_bench`: CPU time of 100,000 series scraped again and again, from text to appended
// samples; and of log lines. `sources_bench --resident=N` scrapes N series ten times and prints
// what is resident before and after.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "monitor/logs/matcher.hpp"
#include "monitor/scrape/intake.hpp"
#include "nexus/base/text.hpp"

namespace {

using namespace nexus;

/// As exporters write: families of series with a few labels each.
std::string exposition(std::size_t series) {
  std::string out;
  for (std::size_t i = 0; i < series; ++i) {
    if (i % 50 == 0)
      out +=
          fmt::format("# HELP app_metric_{}_total Something.\n# TYPE app_metric_{}_total counter\n",
                      i / 50, i / 50);
    out += fmt::format(
        "app_metric_{}_total{{instance_id=\"i-{}\",method=\"GET\",path=\"/api/v1/things/{}\"}} "
        "{}\n",
        i / 50, i % 7, i % 50, i * 3);
  }
  return out;
}

struct Chain {
  explicit Chain(std::size_t series)
      : registry(series + 1000),
        history(registry, {}),
        outbox(clock, ring, self),
        intake(registry, history, outbox,
               {.target = {{"instance", "localhost:9100"}, {"job", "app"}}, .budget = series}) {}

  void scrape(std::string_view text) {
    now += 15'000;
    intake.begin(knowledge::ExpositionFormat::kText, now);
    while (!text.empty()) {  // as curl gives it
      intake.feed(text.substr(0, 16'384));
      text.remove_prefix(std::min<std::size_t>(text.size(), 16'384));
    }
    if (!intake.finish()) std::abort();
    intake.commit();
    ring->drain([this](const knowledge::BatchView& batch) { history.append(batch); });
    history.maintain(now);
  }

  base::SystemClock clock;
  knowledge::SelfMetrics self;
  knowledge::SeriesRegistry registry;
  knowledge::History history;
  std::shared_ptr<knowledge::SampleRing> ring = std::make_shared<knowledge::SampleRing>(1 << 18);
  monitor::Outbox outbox;
  monitor::Intake intake;
  std::int64_t now = 1'700'000'000'000;
};

void scrape_to_history(benchmark::State& state) {
  constexpr std::size_t kSeries = 30'000;  // what one batch of the outbox takes at once
  const auto text = exposition(kSeries);
  Chain chain(kSeries);
  chain.scrape(text);
  for (auto _ : state) chain.scrape(text);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kSeries));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(scrape_to_history)->Unit(benchmark::kMillisecond);

void log_lines(benchmark::State& state) {
  config::LogConfig config;
  config.name = "web";
  config.patterns = {
      {.metric = "errors_total", .regex = "(?i)error"},
      {.metric = "requests_total", .regex = "\" (?P<status>\\d{3}) ", .labels = {"status"}},
      {.metric = "slow_total", .regex = "upstream timed out"},
      {.metric = "logins_failed_total", .regex = "Failed password for (?:invalid user )?\\S+ from"},
      {.metric = "oom_total", .regex = "Out of memory: Killed process"}};
  const auto matcher = monitor::LogMatcher::compile(config).value();
  std::vector<std::string> lines;
  for (int i = 0; i < 1000; ++i) {
    // One line in `state.range(0)` matches, as an access log's all do, and a syslog's few.
    lines.push_back(
        i % state.range(0) == 0
            ? fmt::format(
                  "192.0.2.{} - - [25/Nov/2026:10:00:00 +0000] \"GET /things/{} HTTP/1.1\" {} "
                  "512 \"-\" \"curl/7.88\"",
                  i % 250, i, 200 + i % 4)
            : fmt::format(
                  "Nov 25 10:00:00 host app[{}]: request {} served from cache in {} us, queue {}",
                  i, i * 7, i % 900, i % 5));
  }
  for (auto _ : state) {
    for (const auto& line : lines) matcher->take(line);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(lines.size()));
}
BENCHMARK(log_lines)->Arg(1)->Arg(10)->Arg(1000);

std::size_t resident_kib() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmRSS:"))
      return base::parse_uint(base::trim(line.substr(6, line.size() - 9))).value_or(0);
  }
  return 0;
}

void print_resident(std::size_t series) {
  const auto text = exposition(series);
  const auto before = resident_kib();
  Chain chain(series);
  for (int i = 0; i < 10; ++i) {
    chain.scrape(text);
    // The outbox gives the ring what it has room for, again and again.
    while (chain.history.stats().appended < series * static_cast<std::size_t>(i + 1)) {
      chain.ring->drain([&](const knowledge::BatchView& batch) { chain.history.append(batch); });
    }
  }
  std::printf("%zu series: %zu KiB resident before, %zu KiB after ten scrapes, %zu held\n", series,
              before, resident_kib(), static_cast<std::size_t>(chain.history.stats().series));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strncmp(argv[1], "--resident=", 11) == 0) {
    print_resident(base::parse_uint(argv[1] + 11).value_or(100'000));
    return 0;
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
