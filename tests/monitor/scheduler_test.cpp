#include "host_tree.hpp"
#include "scheduler_rig.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace std::chrono_literals;

TEST_CASE("every collector runs at once, then at multiples of its interval, one batch a run") {
  Rig rig;
  CHECK(rig.status("a").outcome == "pending");
  CHECK_FALSE(rig.scheduler->warmed_up());
  rig.scheduler->start();
  for (const char* name : {"a", "b", "c"}) rig.until_runs(name, 1);
  rig.until([&] { return rig.scheduler->warmed_up(); });
  rig.clock.advance(700ms);
  rig.until_runs("a", 2);
  rig.until_runs("b", 2);
  rig.clock.advance(1s);
  rig.until_runs("a", 3);

  const std::vector<Batch> a = rig.of_group(1);
  REQUIRE(a.size() == 3);
  CHECK(a[0].time == 1'700'000'000'300);
  CHECK(a[1].time == 1'700'000'001'000);
  CHECK(a[2].time == 1'700'000'002'000);
  for (const Batch& batch : a) {
    REQUIRE(find(batch, series("a", "one")) != nullptr);
    CHECK(*find(batch, "node_scrape_collector_success{collector=\"a\"}") == 1);
    CHECK(find(batch, "node_scrape_collector_duration_seconds{collector=\"a\"}") != nullptr);
    CHECK(batch.values.size() == 3);
  }
  CHECK(rig.status("c").runs == 1);  // its own default interval
  CHECK(rig.status("c").interval == 10s);
  CHECK(rig.status("a").outcome == "ok");
  CHECK(rig.status("a").samples == 1);
  CHECK(rig.status("a").last_success == base::from_unix_millis(1'700'000'002'000));
  CHECK(rig.self.counter("nexus_collector_runs_total", "", {{"collector", "a"}}).value() == 3);
}

TEST_CASE("the configuration switches collectors off and sets their interval") {
  config::CollectSection collect;
  collect.collectors["a"].enabled = false;
  collect.collectors["c"].interval = 2s;
  collect.interval = 30s;
  Rig rig(collect);
  const auto all = rig.scheduler->status();
  REQUIRE(all.size() == 2);
  CHECK(all[0].name == "b");
  CHECK(all[0].interval == 30s);
  CHECK(all[1].interval == 2s);
}

TEST_CASE("series that vanish from a run get a stale marker in its batch") {
  Rig rig;
  script->series["a"] = {"one", "two"};
  rig.scheduler->start();
  rig.until_runs("a", 1);
  {
    const std::lock_guard guard(script->mutex);
    script->series["a"] = {"two"};
  }
  rig.until_runs("a", 2, 100ms);
  const std::vector<Batch> a = rig.of_group(1);
  REQUIRE(find(a[1], series("a", "one")) != nullptr);
  CHECK(knowledge::is_stale_marker(*find(a[1], series("a", "one"))));
  CHECK(*find(a[1], series("a", "two")) == 1);
}

TEST_CASE(
    "a run that passes its deadline is left behind, the others go on, and it resumes when it "
    "returns") {
  Rig rig;
  rig.scheduler->start();
  for (const char* name : {"a", "b", "c"}) rig.until_runs(name, 1);
  script->block("a", true);
  rig.until([&] { return script->count("a") == 2; }, 100ms);
  rig.until([&] { return rig.status("a").outcome == "stuck"; }, 100ms);
  CHECK(rig.status("a").stuck == 1);
  CHECK(rig.status("a").error == "no answer within 5s");
  CHECK(rig.status("a").note.find("stuck for") == 0);
  CHECK(rig.scheduler->abandoned() == 1);

  const std::uint64_t before = rig.status("b").runs;
  rig.until_runs("b", before + 20, 100ms);
  CHECK(script->count("a") == 2);  // not started again
  CHECK(rig.status("a").skipped > 0);

  script->block("a", false);
  rig.until([&] { return rig.scheduler->abandoned() == 0; });
  rig.until_runs("a", 2, 100ms);
  CHECK(rig.status("a").outcome == "ok");
  CHECK(rig.status("a").note.empty());
  CHECK(rig.status("a").stuck == 1);

  const std::vector<Batch> a = rig.of_group(1);
  REQUIRE(a.size() >=
          3);  // the first run, the verdict, the run after; the late run itself is not there
  CHECK(*find(a[1], "node_scrape_collector_success{collector=\"a\"}") == 0);
  CHECK(knowledge::is_stale_marker(*find(a[1], series("a", "one"))));
  CHECK(*find(a[2], series("a", "one")) == 1);
  for (std::size_t i = 1; i < a.size(); ++i) CHECK(a[i].time > a[i - 1].time);
  CHECK(rig.self.counter("nexus_collector_stuck_total", "", {{"collector", "a"}}).value() == 1);
}

TEST_CASE("more stuck collectors than threads stall nobody else") {
  config::CollectSection collect;
  collect.threads = 1;
  Rig rig(collect);
  script->block("a", true);
  script->block("b", true);
  rig.scheduler->start();
  rig.until(
      [&] { return rig.status("a").outcome == "stuck" && rig.status("b").outcome == "stuck"; },
      100ms);
  rig.until_runs("c", 3, 1s);
  CHECK(rig.scheduler->abandoned() == 2);
}

TEST_CASE(
    "a collector that stays stuck for thousands of cycles costs one thread and no descriptors") {
  config::CollectSection collect;
  collect.interval = 100ms;
  collect.deadline = 200ms;
  Rig rig(collect);
  script->block("a", true);
  rig.scheduler->start();
  rig.until([&] { return rig.status("a").outcome == "stuck" && rig.status("b").runs > 10; }, 50ms);
  const int descriptors_before = open_descriptors();
  const int threads_before = threads();
  rig.until_runs("b", 2000, 100ms);
  CHECK(script->count("a") == 1);
  CHECK(rig.scheduler->abandoned() == 1);
  CHECK(threads() == threads_before);
  CHECK(open_descriptors() == descriptors_before);
  CHECK(rig.status("a").skipped > 1000);
}

TEST_CASE("stop leaves a stuck thread behind, and its late return harms nothing") {
  auto rig = std::make_unique<Rig>();
  const std::shared_ptr<Script> own = script;
  rig->scheduler->start();
  rig->until_runs("a", 1);
  own->block("a", true);
  rig->until([&] { return rig->status("a").outcome == "stuck"; }, 100ms);
  rig->scheduler->stop();
  rig->scheduler->stop();  // again does nothing
  CHECK(rig->scheduler->abandoned() == 1);
  const std::size_t registered = rig->registry.size();
  {
    const std::lock_guard guard(own->mutex);
    own->series["a"] = {"a series that nobody wants any more"};
  }
  own->block("a", false);
  rig->until([&] { return rig->scheduler->abandoned() == 0; });
  CHECK(rig->registry.size() == registered);
}

TEST_CASE("a failing collector is reported, keeps what it gave, and is backed off after a while") {
  Rig rig;
  script->failure["a"] = Errc::kIo;
  script->failure["b"] = Errc::kNotFound;
  rig.scheduler->start();
  rig.until_runs("a", 1);
  rig.until_runs("b", 1);
  CHECK(rig.status("a").outcome == "failed");
  CHECK(rig.status("a").error == "scripted");
  CHECK(rig.status("b").outcome == "no_data");
  CHECK(rig.status("b").failures == 0);
  const std::vector<Batch> a = rig.of_group(1);
  CHECK(find(a[0], series("a", "one")) != nullptr);
  CHECK(*find(a[0], "node_scrape_collector_success{collector=\"a\"}") == 0);

  rig.until([&] { return rig.status("a").note == "backed off: runs every 30s"; }, 500ms);
  rig.until([&] { return rig.status("b").note == "backed off: runs every 1m"; }, 500ms);
  CHECK(rig.status("a").failures == rig.status("a").runs);
  {
    const std::lock_guard guard(script->mutex);
    script->failure.clear();
  }
  rig.until([&] { return rig.status("a").outcome == "ok" && rig.status("b").outcome == "ok"; }, 1s);
  CHECK(rig.status("a").note.empty());
  const std::uint64_t before = rig.status("a").runs;
  rig.until_runs("a", before + 3, 100ms);
}

TEST_CASE("samples over the budget and batches that the ring refuses are counted") {
  config::CollectSection collect;
  collect.max_series_per_collector = 2;
  Rig rig(collect);
  script->series["a"] = {"one", "two", "three", "four"};
  rig.scheduler->start();
  rig.until_runs("a", 1);
  CHECK(rig.status("a").samples == 2);
  CHECK(rig.status("a").dropped == 2);
  CHECK(
      rig.self.counter("nexus_collector_dropped_samples_total", "", {{"collector", "a"}}).value() ==
      2);
}

TEST_CASE("a host of too many disks fills a collector's budget, and not the registry") {
  constexpr std::size_t kBudget = 500;
  constexpr int kDisks = 2000;
  const testing::TemporaryTree tree;
  std::string disks;
  for (int i = 0; i < kDisks; ++i)
    disks += fmt::format("{} {} dm-{} 1 2 3 4 5 6 7 8 9 10 11\n", 253, i, i);
  tree.write("proc/diskstats", disks);
  config::CollectSection collect;
  collect.max_series_per_collector = kBudget;
  const std::array<const CollectorDescriptor*, 1> table = {find_collector("diskstats")};
  const host::Roots roots = tree.roots();
  base::ManualClock clock{base::from_unix_millis(1'700'000'000'000)};
  knowledge::SeriesRegistry registry{100'000};
  knowledge::Rings rings(1 << 16);
  knowledge::SelfMetrics self;
  auto scheduler = Scheduler::make({roots, clock, registry, rings, self}, collect, table).value();
  scheduler->start();
  const auto run = [&](std::uint64_t number) {
    std::mutex mutex;
    std::condition_variable never;
    for (int i = 0; i < 60'000 && scheduler->status()[0].runs < number; ++i) {
      std::unique_lock lock(mutex);
      never.wait_for(lock, 1ms, [] { return false; });
    }
    return scheduler->status()[0];
  };
  const CollectorStatus first = run(1);
  REQUIRE(first.runs == 1);
  CHECK(first.samples == kBudget);
  const std::uint64_t dropped = first.dropped;
  CHECK(dropped + kBudget >= 11U * kDisks);
  const std::size_t series = registry.size();
  CHECK(series <= kBudget + 4);  // and the scheduler's own about it
  clock.advance(1s);
  REQUIRE(run(2).runs == 2);
  CHECK(registry.size() == series);
  CHECK(self.counter("nexus_collector_dropped_samples_total", "", {{"collector", "diskstats"}})
            .value() == 2 * static_cast<double>(dropped));
  scheduler->stop();
}

TEST_CASE("a wall clock that is set moves the runs with it") {
  Rig rig;
  rig.scheduler->start();
  rig.until_runs("a", 1);
  rig.clock.step_wall(1h);
  rig.clock.advance(700ms);
  rig.until_runs("a", 2);
  rig.clock.advance(1s);
  rig.until_runs("a", 3);
  const std::vector<Batch> a = rig.of_group(1);
  CHECK(a[1].time == 1'700'003'601'000);
  CHECK(a[2].time == 1'700'003'602'000);
}

TEST_CASE("what stat tells of the boot, too, runs only without it") {
  config::CollectSection section;
  for (const CollectorDescriptor* descriptor : collectors())
    section.collectors[std::string(descriptor->name)].enabled = descriptor->name == "boottime";
  const auto names = [&] {
    const Rig rig(section, 1 << 14, collectors());
    std::string out;
    for (const CollectorStatus& one : rig.scheduler->status()) out += one.name;
    return out;
  };
  CHECK(names() == "boottime");
  section.collectors["stat"].enabled = true;
  CHECK(names() == "stat");
}

TEST_CASE("what a reload switches off ends at once, what it keeps goes on") {
  Rig rig;
  script->series["b"] = {"one", "two"};
  rig.scheduler->start();
  for (const char* name : {"a", "b", "c"}) rig.until_runs(name, 1);
  {
    const std::lock_guard guard(script->mutex);
    script->series["b"] = {"two"};  // and one vanishes in between
  }
  config::CollectSection without;
  without.collectors["a"].enabled = false;
  rig.replace(without);
  rig.until_runs("b", 1);
  rig.until([&] { return rig.of_group(1).size() >= 2; });
  const std::vector<Batch> a = rig.of_group(1);
  REQUIRE(a.size() == 2);
  CHECK(a[1].time > a[0].time);
  CHECK(a[1].values.size() == a[0].values.size());
  for (const auto& [name, value] : a[1].values) CHECK(knowledge::is_stale_marker(value));
  const std::vector<Batch> b = rig.of_group(2);
  REQUIRE(b.size() == 2);
  CHECK(knowledge::is_stale_marker(*find(b[1], series("b", "one"))));
  CHECK(*find(b[1], series("b", "two")) == 1);
}

TEST_CASE("series of a stuck collector end as soon as the ring has room") {
  config::CollectSection collect;
  collect.deadline = 60s;
  Rig rig(collect, 8);  // two batches
  rig.scheduler->start();
  rig.until_runs("a", 1);
  const auto ended = [&] {
    const std::vector<Batch> a = rig.of_group(1);
    return std::ranges::any_of(a, [](const Batch& batch) {
      const double* value = find(batch, series("a", "one"));
      return value != nullptr && knowledge::is_stale_marker(*value);
    });
  };
  script->block("a", true);
  rig.until([&] { return script->count("a") == 2; }, 100ms);
  REQUIRE_FALSE(ended());
  const std::uint64_t refused = rig.rings.refused_batches();
  rig.until([&] { return rig.rings.refused_batches() > refused; }, 100ms);
  rig.until([&] { return rig.status("a").outcome == "stuck"; }, 100ms);
  CHECK_FALSE(ended());
  rig.until([&] { return ended(); }, 100ms);
}

TEST_CASE("a collector that is switched on again goes on, whatever was still to be ended") {
  Rig rig({}, 8);  // two batches
  rig.scheduler->start();
  for (const char* name : {"a", "b", "c"}) rig.until_runs(name, 1);
  config::CollectSection without;
  without.collectors["a"].enabled = false;
  const std::uint64_t refused = rig.rings.refused_batches();
  rig.replace(without);  // the ring is full: the end of a's series is refused
  rig.until([&] { return rig.rings.refused_batches() > refused && rig.status("b").runs > 0; });
  rig.replace({});
  rig.drain();
  rig.batches.clear();
  for (std::uint64_t runs = 1; runs <= 4; ++runs) {
    rig.until(
        [&] {
          rig.drain();
          return rig.status("a").runs >= runs;
        },
        100ms);
  }
  std::int64_t last = 0;
  bool seen = false;
  for (const Batch& batch : rig.of_group(1)) {
    CHECK(batch.time > last);
    last = batch.time;
    const double* value = find(batch, series("a", "one"));
    seen = seen || value != nullptr;
    CHECK((value == nullptr || *value == 1));
  }
  CHECK(seen);
}

TEST_CASE("threads that hang count against the limit of the process, whatever is reloaded") {
  config::CollectSection collect;
  collect.threads = 1;
  Rig rig(collect);
  script->block("a", true);
  rig.scheduler->start();
  for (std::size_t stuck = 1; stuck < 16; ++stuck) {
    rig.until([&] { return rig.status("a").outcome == "stuck"; }, 100ms);
    CHECK(rig.scheduler->abandoned() == stuck);
    rig.until_runs("b", rig.status("b").runs + 1, 100ms);  // on a thread that replaces it
    rig.replace(collect);
  }
  rig.until([&] { return rig.status("a").outcome == "stuck"; }, 100ms);
  CHECK(rig.scheduler->abandoned() == 16);
  const std::uint64_t before = rig.status("b").runs;
  for (int i = 0; i < 50; ++i) {
    rig.clock.advance(500ms);
    std::unique_lock lock(rig.idle_mutex);
    rig.idle.wait_for(lock, 1ms, [] { return false; });
  }
  CHECK(rig.status("b").runs == before);  // the only thread hangs, and is not replaced
  CHECK(rig.scheduler->abandoned() == 16);
  script->block("a", false);
  rig.until([&] { return rig.scheduler->abandoned() == 0; }, 100ms);
  rig.until_runs("b", before + 1, 100ms);
  script->overlapped = false;  // those of several schedulers did
}

TEST_CASE("a run that begins a little before its moment is not run again for it") {
  knowledge::SelfMetrics self;
  Job job{.name = "x", .counters = make_counters(self, "x"), .interval = 1s};
  const SteadyTime now{};
  const WallTime moment = base::from_unix_millis(1'700'000'001'000);
  job.plan(moment - 300ms, now);
  REQUIRE(job.planned == moment);
  const WallTime early = moment - 1ms;
  job.stamp = base::to_unix_millis(job.batch_time(early));
  CHECK(job.stamp == 1'700'000'001'000);
  job.plan(early, now);
  CHECK(job.planned == moment + 1s);
  CHECK(job.due == now + 1s + 1ms);
  job.plan(moment - 1h, now);  // the clock was set back: that is no beginning before time
  CHECK(job.planned == moment - 1h + 1s);
}

TEST_CASE("a scheduler that was never started stops") {
  Rig rig;
  rig.scheduler->stop();
  CHECK(rig.scheduler->status().size() == 3);
}

TEST_CASE("collectors that wait for others hold up neither the host's nor each other") {
  config::CollectSection section;
  section.threads = 1;
  section.deadline = 1h;
  Rig rig(section, 1 << 14, kRemoteTable);
  script->block("b", true);
  script->block("c", true);
  rig.scheduler->start();
  rig.until([&] { return script->count("b") == 1 && script->count("c") == 1; }, 0ms);
  const auto before = script->count("a");
  rig.until([&] { return script->count("a") >= before + 5; }, 100ms);
  CHECK(script->count("b") == 1);
  CHECK(script->count("c") == 1);
  script->block("b", false);
  rig.until([&] { return script->count("b") >= 4; }, 100ms);
  CHECK(script->count("c") == 1);
  script->block("c", false);
  rig.until([&] { return script->count("c") >= 4; }, 100ms);
  CHECK(rig.scheduler->abandoned() == 0);
}
