#include "nexus/knowledge/ingest.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <thread>

namespace nexus::knowledge {
namespace {

std::map<std::string, double> readings(const SelfMetrics& metrics) {
  std::map<std::string, double> all;
  metrics.visit([&](const SelfMetrics::Reading& reading) {
    all[to_string(Labels(reading.name, reading.labels))] = reading.value;
  });
  return all;
}

TEST_CASE("self metrics: the same name and labels are the same metric") {
  SelfMetrics metrics;
  const Counter runs = metrics.counter("nexus_runs_total", "Runs.", {{"collector", "cpu"}});
  runs.add();
  metrics.counter("nexus_runs_total", "Runs.", {{"collector", "cpu"}}).add(2);
  metrics.counter("nexus_runs_total", "Runs.", {{"collector", "disk"}}).add(5);
  const Gauge depth = metrics.gauge("nexus_depth", "Depth.");
  depth.set(4);
  depth.add(-1.5);
  CHECK(runs.value() == 3);
  CHECK(readings(metrics) == std::map<std::string, double>{
                                 {"nexus_depth", 2.5},
                                 {R"(nexus_runs_total{collector="cpu"})", 3},
                                 {R"(nexus_runs_total{collector="disk"})", 5},
                             });
}

TEST_CASE("self metrics tell their type and help, and may grow while they are visited") {
  SelfMetrics metrics;
  static_cast<void>(metrics.counter("nexus_a_total", "Help of a."));
  int visited = 0;
  metrics.visit([&](const SelfMetrics::Reading& reading) {
    ++visited;
    CHECK(reading.type == MetricType::kCounter);
    CHECK(reading.help == "Help of a.");
    static_cast<void>(metrics.gauge("nexus_b", "Help of b."));
  });
  CHECK(visited == 1);
  CHECK(readings(metrics).size() == 2);
}

TEST_CASE("self metrics tell sums of seconds to the microsecond and lose nothing below it") {
  SelfMetrics metrics;
  const Counter seconds = metrics.counter("nexus_work_seconds_total", "Work.");
  for (int i = 0; i < 1000; ++i) seconds.add(1.0004e-6);
  metrics.counter("nexus_bytes_total", "Bytes.").add(0.25e-6);
  metrics.gauge("nexus_age_seconds", "Age.").set(0.25e-6);
  CHECK(readings(metrics) == std::map<std::string, double>{
                                 {"nexus_age_seconds", 0.25e-6},
                                 {"nexus_bytes_total", 0.25e-6},
                                 {"nexus_work_seconds_total", 0.001},
                             });
}

TEST_CASE("self metrics are counted right by several threads") {
  SelfMetrics metrics;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&metrics] {
        for (int i = 0; i < 1000; ++i) metrics.counter("nexus_n_total", "N.").add();
        static_cast<void>(readings(metrics));
      });
    }
  }
  CHECK(readings(metrics).at("nexus_n_total") == 4000);
}

struct World {
  base::ManualClock clock;
  SeriesRegistry registry{100};
  Rings rings{64};
  History history{registry, {Millis(3'600'000), 1ULL << 30}};
  SelfMetrics metrics;
  SeriesId id = registry.intern(Labels("m", {})).value_or(0);

  bool push(SampleRing& ring, std::int64_t time, double value) const {
    return ring.push({1, time, {&id, 1}, {&value, 1}});
  }
};

TEST_CASE("flush carries what is in the rings into the history and counts it") {
  World world;
  Ingest ingest(world.clock, world.rings, world.history, world.metrics);
  const auto ring = world.rings.add();
  const std::int64_t now = base::to_unix_millis(world.clock.wall());
  CHECK(world.push(*ring, now, 1));
  CHECK(world.push(*ring, now + 1000, 2));
  CHECK(world.push(*ring, now, 3));
  ingest.flush();
  CHECK(world.history.latest(world.id)->value == 2);
  ingest.stop();  // whoever of flush() and the thread took them: the counts are the same
  const auto all = readings(world.metrics);
  CHECK(all.at("nexus_ingest_samples_total") == 3);
  CHECK(all.at("nexus_ingest_batches_total") == 3);
  CHECK(all.at("nexus_history_series") == 1);
  CHECK(all.at("nexus_history_samples") == 2);
  CHECK(all.at("nexus_history_bytes") > 0);
  CHECK(all.at("nexus_history_out_of_order_samples_total") == 1);
  CHECK(all.at("nexus_history_newest_timestamp_seconds") == static_cast<double>(now) / 1000 + 1);
}

TEST_CASE("refused batches are counted") {
  World world;
  Ingest ingest(world.clock, world.rings, world.history, world.metrics);
  const auto ring = world.rings.add();
  const std::vector<SeriesId> ids(65, world.id);
  const std::vector<double> values(65, 1);
  CHECK_FALSE(ring->push({1, 1, ids, values}));
  ingest.flush();
  CHECK(readings(world.metrics).at("nexus_ring_refused_batches_total") == 1);
  CHECK(readings(world.metrics).at("nexus_ring_refused_samples_total") == 65);
}

TEST_CASE("the thread drains and maintains as its clock moves") {
  World world;
  const auto ring = world.rings.add();
  Ingest ingest(world.clock, world.rings, world.history, world.metrics);
  const std::int64_t start = base::to_unix_millis(world.clock.wall());
  REQUIRE(world.push(*ring, start, 42));
  while (!world.history.latest(world.id)) {
    world.clock.advance(Ingest::kDrainInterval);
    std::this_thread::yield();
  }
  CHECK(world.history.latest(world.id)->value == 42);
  while (world.history.stats().dropped_by_age == 0) {
    world.clock.advance(Millis(600'000));
    std::this_thread::yield();
  }
  CHECK(world.history.stats().samples == 0);
  CHECK(ingest.thread().name() == "ingest");
}

TEST_CASE("what producers left behind is in the history after stop") {
  World world;
  auto ring = world.rings.add();
  Ingest ingest(world.clock, world.rings, world.history, world.metrics);
  const std::int64_t start = base::to_unix_millis(world.clock.wall());
  for (int i = 0; i < 20; ++i) REQUIRE(world.push(*ring, start + i, i));
  ring.reset();
  ingest.stop();
  ingest.stop();
  CHECK(world.history.stats().samples == 20);
  CHECK(world.rings.size() == 0);
}

}  // namespace
}  // namespace nexus::knowledge
