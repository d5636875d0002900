// Isolation forest fit and score, forecasts, and the book of findings.
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "analyze/anomaly/detector_impl.hpp"
#include "analyze/anomaly/random.hpp"
#include "nexus/analyze/anomaly.hpp"
#include "nexus/analyze/book.hpp"
#include "nexus/analyze/combination.hpp"
#include "nexus/analyze/detect.hpp"
#include "nexus/analyze/fill.hpp"
#include "nexus/analyze/forecast.hpp"
#include "nexus/analyze/incidents.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/knowledge/history.hpp"
#include "nexus/knowledge/state.hpp"

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

/// A score without a forest that is kept: what a detector asks of a value that stands apart.
void forest_score_of(benchmark::State& state) {
  const auto dimensions = static_cast<std::size_t>(state.range(0));
  const std::vector<double> rows = normal_rows(2048, dimensions);
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(IsolationForest::score_samples_of(
        std::span(rows).subspan(i * dimensions, dimensions), rows, {}));
    i = (i + 1) % 2048;
  }
}
BENCHMARK(forest_score_of)->Arg(2)->Arg(38)->Unit(benchmark::kMicrosecond);

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

/// 150 series of vitals with six hours at one second, and a book.
struct Host {
  static constexpr std::size_t kSeries = 150;

  Host() {
    using nexus::knowledge::Labels;
    Random random(3);
    std::vector<nexus::knowledge::SeriesId> ids;
    nexus::config::VitalConfig vital;
    vital.name = "v";
    vital.warning = 80;
    vital.critical = 95;
    vital.minimum = 0;
    vital.maximum = 100;
    snapshot.definitions = std::make_shared<std::vector<nexus::config::VitalConfig>>(1, vital);
    for (std::size_t i = 0; i < kSeries; ++i) {
      const Labels labels("v", {{"i", std::to_string(i)}});
      ids.push_back(registry.intern(labels).value());
      snapshot.values.push_back({ids.back(), labels, 50, clock.wall(), 0, std::nullopt});
    }
    std::vector<double> values(kSeries);
    for (int second = 0; second < 6 * 3600; ++second) {
      clock.advance(std::chrono::seconds(1));
      for (double& v : values) v = std::round(1000 * (40 + 20 * random.uniform())) / 1000;
      history.append({1, nexus::base::to_unix_millis(clock.wall()), ids, values});
    }
    book = *nexus::analyze::Book::open(clock, *db, self);
  }
  void advance(std::chrono::seconds by) {
    clock.advance(by);
    snapshot.time = clock.wall();
    for (auto& value : snapshot.values) value.time = clock.wall();
  }

  nexus::base::ManualClock clock;
  nexus::knowledge::SelfMetrics self;
  std::unique_ptr<nexus::knowledge::StateDb> db = *nexus::knowledge::StateDb::open(":memory:");
  nexus::knowledge::SeriesRegistry registry{1000};
  nexus::knowledge::History history{registry, {}};
  std::unique_ptr<Book> book;
  VitalsSnapshot snapshot;
};

void forecaster_tick_150_series(benchmark::State& state) {
  Host host;
  Forecaster forecaster(host.clock, host.history, *host.book, host.self);
  for (auto _ : state) {
    state.PauseTiming();
    host.advance(std::chrono::seconds(15));
    state.ResumeTiming();
    forecaster.tick(host.snapshot);
  }
}
BENCHMARK(forecaster_tick_150_series)->Unit(benchmark::kMillisecond)->Iterations(20);

/// One row of a daily cycle with noise: everything verified, learnt and forecast anew, for leads
/// to 12.
void combination_row(benchmark::State& state) {
  nexus::analyze::Combination::Shape shape;
  shape.leads = nexus::analyze::Combination::leads_up_to(12);
  nexus::analyze::Combination model(shape);
  std::int64_t slot = 0;
  const auto value = [](std::int64_t i) {
    return 50 + 20 * std::sin(static_cast<double>(i % 288) * 0.0218) +
           static_cast<double>((i * 2'654'435'761) % 1000) / 200;
  };
  for (; slot < 3000; ++slot) model.add(slot, value(slot));
  for (auto _ : state) {
    model.add(slot, value(slot));
    ++slot;
    benchmark::DoNotOptimize(model.at(12));
  }
  state.counters["bytes"] = static_cast<double>(model.bytes());
}
BENCHMARK(combination_row)->Unit(benchmark::kMicrosecond);

/// A minute of one vital: scored and learnt by all univariate detectors.
void vital_row(benchmark::State& state) {
  Random random(5);
  VitalDetector detector;
  std::int64_t row = 0;
  const auto push = [&] {
    const double day = std::sin(static_cast<double>(row % 1440) * 0.00436);
    const auto score =
        detector.push(1'577'836'800'000 + row * 60'000, 50 + 20 * day + random.uniform());
    ++row;
    return score;
  };
  while (row < 5000) (void)push();
  for (auto _ : state) benchmark::DoNotOptimize(push());
  state.counters["bytes"] = static_cast<double>(detector.bytes());
}
BENCHMARK(vital_row)->Unit(benchmark::kMicrosecond);

/// A minute of a host's vitals together.
void host_row(benchmark::State& state) {
  const auto columns = static_cast<std::size_t>(state.range(0));
  Random random(6);
  HostDetector detector(columns);
  std::vector<double> values(columns);
  std::int64_t row = 0;
  const auto push = [&] {
    for (double& value : values) value = 0.9 * value + random.uniform();
    const auto score = detector.push(1'577'836'800'000 + row * 60'000, values);
    ++row;
    return score;
  };
  while (row < 3000) (void)push();
  for (auto _ : state) benchmark::DoNotOptimize(push());
  state.counters["bytes"] = static_cast<double>(detector.bytes());
}
BENCHMARK(host_row)->Arg(19)->Arg(40)->Unit(benchmark::kMicrosecond);

/// The combination of hours, for leads to two days.
void combination_far_row(benchmark::State& state) {
  nexus::analyze::Combination::Shape shape;
  shape.step = std::chrono::hours(1);
  shape.leads = {1, 2, 4, 8, 12, 24, 36, 48};
  nexus::analyze::Combination model(shape);
  std::int64_t slot = 0;
  const auto add = [&] {
    model.add(slot, 50 + 20 * std::sin(static_cast<double>(slot % 24) * 0.262) +
                        static_cast<double>((slot * 2'654'435'761) % 1000) / 200);
    ++slot;
  };
  while (slot < 500) add();
  for (auto _ : state) add();
  state.counters["bytes"] = static_cast<double>(model.bytes());
}
BENCHMARK(combination_far_row)->Unit(benchmark::kMicrosecond);

/// All that is kept of one vital's series after so many days: the detector of minutes, both
/// combinations, the fill, what is learnt of the window. No forest is kept.
void vital_memory(benchmark::State& state) {
  const std::int64_t minutes = state.range(0) * 1440;
  Random random(7);
  nexus::analyze::Combination::Shape near_shape;
  near_shape.leads = nexus::analyze::Combination::leads_up_to(12);
  nexus::analyze::Combination::Shape far_shape;
  far_shape.step = std::chrono::hours(1);
  far_shape.leads = {1, 2, 4, 8, 12, 24, 36, 48};
  nexus::analyze::Combination near(near_shape);
  nexus::analyze::Combination far(far_shape);
  nexus::analyze::Fill fill(near_shape.step, &near);
  VitalDetector detector;
  double total = 0;
  for (auto _ : state) {
    for (std::int64_t minute = 0; minute < minutes; ++minute) {
      const double day = std::sin(static_cast<double>(minute % 1440) * 0.00436);
      const double value = 50 + 20 * day + random.uniform();
      (void)detector.push(1'577'836'800'000 + minute * 60'000, value);
      if (minute % 5 == 0 && near.add(minute / 5, value)) fill.add(minute / 5, value);
      if (minute % 60 == 0) far.add(minute / 60, value);
    }
    total = static_cast<double>(sizeof(Watched) + detector.bytes() + near.bytes() + far.bytes() +
                                fill.bytes());
  }
  state.counters["bytes"] = total;
  state.counters["detector"] = static_cast<double>(detector.bytes());
  state.counters["near"] = static_cast<double>(near.bytes());
  state.counters["far"] = static_cast<double>(far.bytes());
  state.counters["fill"] = static_cast<double>(fill.bytes());
}
BENCHMARK(vital_memory)->Arg(14)->Arg(60)->Iterations(1)->Unit(benchmark::kMillisecond);

void fill_row(benchmark::State& state) {
  nexus::analyze::Fill fill;
  std::int64_t slot = 0;
  for (; slot < 2500; ++slot) fill.add(slot, static_cast<double>(slot) * 0.01);
  for (auto _ : state) {
    fill.add(slot, static_cast<double>(slot) * 0.01);
    ++slot;
    benchmark::DoNotOptimize(fill.until(1e6, true));
  }
}
BENCHMARK(fill_row)->Unit(benchmark::kMicrosecond);

void look_every_five_seconds(benchmark::State& state, Host& host, AnomalyDetector& detector) {
  for (auto _ : state) {
    state.PauseTiming();
    host.advance(std::chrono::seconds(5));
    state.ResumeTiming();
    detector.tick(host.snapshot);
  }
}

void detector_tick_150_series(benchmark::State& state) {
  Host host;
  AnomalyDetector detector(host.clock, host.history, *host.book, host.self);
  detector.configure({});
  for (std::size_t i = 0; i < 60; ++i) {  // until every model is trained
    host.advance(std::chrono::seconds(5));
    detector.tick(host.snapshot);
  }
  look_every_five_seconds(state, host, detector);
}
BENCHMARK(detector_tick_150_series)->Unit(benchmark::kMicrosecond)->Iterations(200);

/// All of them stand apart for good: sixteen ask their forests, on windows of six hours of seconds.
void detector_tick_150_strange(benchmark::State& state) {
  Host host;
  AnomalyDetector detector(host.clock, host.history, *host.book, host.self);
  detector.configure({});
  for (std::size_t i = 0; i < 80; ++i) {  // until every model is trained and measured
    host.advance(std::chrono::seconds(5));
    for (auto& value : host.snapshot.values) value.value = i < 50 ? 50 : 99;
    detector.tick(host.snapshot);
  }
  look_every_five_seconds(state, host, detector);
}
BENCHMARK(detector_tick_150_strange)->Unit(benchmark::kMillisecond)->Iterations(40);

std::vector<Observation> observations(std::size_t count) {
  std::vector<Observation> all(count);
  for (std::size_t i = 0; i < count; ++i) {
    all[i].name = "disk_usage_percent";
    all[i].labels = {{"mountpoint", "/srv/" + std::to_string(i)}};
    all[i].subject = "/srv/" + std::to_string(i);
  }
  return all;
}

struct Pages {
  nexus::base::ManualClock clock;
  nexus::knowledge::SelfMetrics self;
  std::unique_ptr<nexus::knowledge::StateDb> db = *nexus::knowledge::StateDb::open(":memory:");
  std::unique_ptr<Book> book = *nexus::analyze::Book::open(clock, *db, self);
};

void book_observe(benchmark::State& state) {
  Pages pages;
  const auto seen = observations(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    pages.book->observe("rule", seen);
    pages.book->tick();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(book_observe)->Arg(100)->Arg(10'000)->Unit(benchmark::kMicrosecond);

void book_snapshot(benchmark::State& state) {
  Pages pages;
  const auto seen = observations(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    state.PauseTiming();
    pages.book->observe("rule", seen);
    state.ResumeTiming();
    benchmark::DoNotOptimize(pages.book->snapshot());
  }
}
BENCHMARK(book_snapshot)->Arg(100)->Arg(10'000)->Unit(benchmark::kMicrosecond);

/// A look at ten outages among findings that are all related, after one that changed nothing; the
/// snapshot, which the planner shares, not counted.
void incidents_tick(benchmark::State& state) {
  constexpr int kOutages = 10;
  constexpr int kAtOnce = 400;  // fewer than are related at once
  const auto count = static_cast<int>(state.range(0));
  Pages pages;
  auto graph = std::make_shared<Graph>();
  const auto app = [](int i) { return "app" + std::to_string(i); };
  for (int i = 0; i < count; ++i)
    graph->edges.push_back({app(i), "db" + std::to_string(i % kOutages), "depends_on"});
  pages.book->set_graph(graph);
  const auto see = [&](std::string source, std::string name, int from, int to, auto subject) {
    std::vector<Observation> seen(static_cast<std::size_t>(to - from));
    for (int i = from; i < to; ++i) {
      Observation& one = seen[static_cast<std::size_t>(i - from)];
      one.kind = name == "down" ? FindingKind::kService : FindingKind::kAlert;
      one.name = name;
      one.subject = subject(i);
      one.labels = {{"service", one.subject}};
    }
    pages.book->observe(source, seen);
  };
  const auto databases = [&] {
    see("databases", "down", 0, kOutages, [](int i) { return "db" + std::to_string(i); });
  };
  const int members = count - 2 * kOutages;
  for (int from = 0; from < members; from += kAtOnce) {
    pages.book->observe("databases", {});  // only the newest that fire are related
    databases();
    see("apps " + std::to_string(from), "slow", from, std::min(members, from + kAtOnce), app);
    pages.book->tick();
  }
  Incidents incidents(*pages.book);
  incidents.tick();
  incidents.tick();
  const auto seen = pages.book->snapshot();
  for (const Finding& finding : *seen) {
    if (finding.kind == FindingKind::kIncident) state.counters["members"] += finding.evidence.value;
  }
  for (auto _ : state) {
    state.PauseTiming();
    databases();
    benchmark::DoNotOptimize(pages.book->snapshot());
    state.ResumeTiming();
    incidents.tick();
  }
}
BENCHMARK(incidents_tick)->Arg(100)->Arg(10'000)->Unit(benchmark::kMicrosecond);

/// From the report of an event to the listener, with 10,000 other findings in the book.
void book_report_to_listener(benchmark::State& state) {
  Pages pages;
  pages.book->observe("rule", observations(9'990));
  std::uint64_t heard = 0;
  pages.book->subscribe([&](const Finding&) { ++heard; });
  Observation event;
  event.name = "service_failed";
  event.labels = {{"service", "web.service"}};
  const std::string print = fingerprint(event.kind, event.name, event.labels);
  for (auto _ : state) {
    pages.book->report("service:web.service", event);
    pages.book->clear("service:web.service", print);
  }
  state.counters["heard"] = static_cast<double>(heard);
}
BENCHMARK(book_report_to_listener)->Unit(benchmark::kMicrosecond)->Iterations(2000);

}  // namespace
