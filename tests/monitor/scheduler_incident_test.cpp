// What a collector costs, and collectors that look closer in an incident.
#include "scheduler_rig.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace std::chrono_literals;

TEST_CASE("in an incident a collector runs more often, and falls back afterwards") {
  Rig rig;
  rig.scheduler->start();
  rig.until_runs("a", 1);
  rig.until_runs("b", 1);
  const auto hurry = std::to_array<Scheduler::Hurry>({{"a", 100ms}, {"nobody", 100ms}});
  rig.scheduler->hurry(hurry);
  CHECK(rig.status("a").present_interval == 100ms);
  CHECK(rig.status("a").interval == 1s);
  CHECK(rig.status("a").note.contains("incident"));
  CHECK(rig.status("b").present_interval == 1s);
  for (std::uint64_t runs = 2; runs <= 6; ++runs) {
    rig.clock.advance(100ms);
    rig.until_runs("a", runs);
  }
  CHECK(rig.status("b").runs == 1);
  const auto batches = rig.of_group(1);
  REQUIRE(batches.size() == 6);
  for (std::size_t i = 0; i < batches.size(); ++i)
    CHECK(batches[i].time == 1'700'000'000'300 + 100 * static_cast<std::int64_t>(i));
  CHECK(rig.self.gauge("nexus_collector_interval_seconds", "", {{"collector", "a"}}).value() ==
        0.1);

  rig.scheduler->hurry({});
  CHECK(rig.status("a").present_interval == 1s);
  CHECK(rig.status("a").note.empty());
  const std::uint64_t last = rig.status("a").runs;
  rig.clock.advance(200ms);
  rig.until_runs("a", last + 1);
  CHECK(rig.of_group(1).back().time == 1'700'000'001'000);

  // One that fails is not asked more often for it.
  script->failure["a"] = Errc::kIo;
  rig.scheduler->hurry(hurry);
  rig.until_runs("a", last + 12, 50ms);
  CHECK(rig.status("a").present_interval > 1s);
}

TEST_CASE("what a collector costs, when it last succeeded and its limits are told") {
  Rig rig;
  rig.scheduler->start();
  rig.until_runs("a", 1);
  const CollectorStatus status = rig.status("a");
  CHECK(status.deadline == rig.collect.deadline);
  CHECK(status.cpu_seconds > 0);
  CHECK(status.cpu_seconds_sum >= status.cpu_seconds);
  const auto counter = [&](const char* name) {
    return rig.self.counter(name, "", {{"collector", "a"}}).value();
  };
  const auto gauge = [&](const char* name) {
    return rig.self.gauge(name, "", {{"collector", "a"}}).value();
  };
  CHECK(counter("nexus_collector_cpu_seconds_total") == status.cpu_seconds_sum);
  CHECK(gauge("nexus_collector_deadline_seconds") == 5);
  CHECK(status.series_budget == rig.collect.max_series_per_collector);
  CHECK(rig.self.gauge("nexus_collector_series_budget", "").value() == 10'000);
  CHECK(gauge("nexus_collector_interval_seconds") == 1);
  CHECK(gauge("nexus_collector_last_success_timestamp_seconds") == 1'700'000'000.3);
}
