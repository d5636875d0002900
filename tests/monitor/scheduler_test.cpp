#include <sys/resource.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "monitor/job.hpp"
#include "nexus/host/file.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "nexus/monitor/scheduler.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace std::chrono_literals;

namespace {

constexpr std::array kMetrics = {MetricDescriptor{"test_value", MetricType::kGauge, "A value."}};

/// Steers the collectors of a test, by name. Co-owned by them: a stuck one may outlive the test.
struct Script {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, bool, std::less<>> blocked;
  std::map<std::string, std::vector<std::string>, std::less<>> series = {};
  std::map<std::string, Errc, std::less<>> failure;
  std::map<std::string, int, std::less<>> entered;
  std::map<std::string, int, std::less<>> inside;
  bool overlapped = false;

  void block(std::string_view name, bool on) {
    {
      const std::lock_guard guard(mutex);
      blocked.insert_or_assign(std::string(name), on);
    }
    changed.notify_all();
  }
  int count(std::string_view name) {
    const std::lock_guard guard(mutex);
    const auto found = entered.find(name);
    return found == entered.end() ? 0 : found->second;
  }
};
std::shared_ptr<Script> script;  // of the running test

class ScriptedCollector final : public Collector {
 public:
  ScriptedCollector(std::string name, FamilyId family)
      : name_(std::move(name)), family_(family), script_(script) {}
  Status collect(Sink& sink) override {
    std::vector<std::string> series;
    std::optional<Errc> failure;
    {
      std::unique_lock lock(script_->mutex);
      ++script_->entered[name_];
      if (++script_->inside[name_] > 1) script_->overlapped = true;
      script_->changed.wait(lock, [this] { return !script_->blocked[name_]; });
      --script_->inside[name_];
      series = script_->series[name_];
      if (const auto found = script_->failure.find(name_); found != script_->failure.end())
        failure = found->second;
    }
    for (const std::string& one : series)
      sink.add(family_, {{"collector", name_}, {"series", one}}, 1);
    if (failure) return fail(*failure, "scripted");
    return {};
  }

 private:
  const std::string name_;
  const FamilyId family_;
  const std::shared_ptr<Script> script_;
};

template <char Name>
Result<std::unique_ptr<Collector>> make_scripted(const CollectorContext& context) {
  return std::make_unique<ScriptedCollector>(
      std::string(1, Name),
      context.registry.family(kMetrics[0].name, kMetrics[0].type, kMetrics[0].help));
}
constexpr CollectorDescriptor kA = {
    .name = "a", .help = "A", .metrics = kMetrics, .make = make_scripted<'a'>};
constexpr CollectorDescriptor kB = {
    .name = "b", .help = "B", .metrics = kMetrics, .make = make_scripted<'b'>};
constexpr CollectorDescriptor kC = {.name = "c",
                                    .help = "C",
                                    .default_interval = Millis(10'000),
                                    .metrics = kMetrics,
                                    .make = make_scripted<'c'>};
constexpr std::array<const CollectorDescriptor*, 3> kTable = {&kA, &kB, &kC};

struct Batch {
  std::uint32_t group;
  std::int64_t time;
  std::map<std::string, double> values;  // by series
};

struct Rig {
  explicit Rig(config::CollectSection section = {}, std::size_t ring = 1 << 14)
      : rings(ring), collect(std::move(section)) {
    script = std::make_shared<Script>();
    for (const char* name : {"a", "b", "c"}) script->series[name] = {"one"};
    const SchedulerContext context{roots, clock, registry, rings, self};
    scheduler = Scheduler::make(context, collect, kTable).value();
  }
  ~Rig() {
    for (const char* name : {"a", "b", "c"}) script->block(name, false);
    scheduler->stop();
    CHECK_FALSE(script->overlapped);
  }

  /// As a reload does.
  void replace(config::CollectSection section) {
    collect = std::move(section);
    const SchedulerContext context{roots, clock, registry, rings, self};
    auto fresh = Scheduler::make(context, collect, kTable).value();
    scheduler->stop();
    fresh->inherit(*scheduler);
    scheduler = std::move(fresh);
    scheduler->start();
  }

  /// Lets the threads get on until `done`, moving the clock by `step` each time.
  template <typename Done>
  void until(Done&& done, Millis step = 0ms) {
    for (int i = 0; i < 200'000 && !done(); ++i) {
      if (step > 0ms) clock.advance(step);
      std::this_thread::yield();
      std::unique_lock lock(idle_mutex);
      idle.wait_for(lock, 1ms, [] { return false; });
    }
    REQUIRE(done());
  }
  CollectorStatus status(std::string_view name) const {
    for (CollectorStatus& one : scheduler->status()) {
      if (one.name == name) return one;
    }
    FAIL("no collector " << name);
    return {};
  }
  void until_runs(std::string_view name, std::uint64_t runs, Millis step = 0ms) {
    until([&] { return status(name).runs >= runs; }, step);
  }
  const std::vector<Batch>& drain() {
    rings.drain([this](const knowledge::BatchView& view) {
      Batch batch{view.group, view.time, {}};
      for (std::size_t i = 0; i < view.ids.size(); ++i) {
        batch.values.emplace(to_string(registry.labels(view.ids[i])), view.values[i]);
      }
      batches.push_back(std::move(batch));
    });
    return batches;
  }
  std::vector<Batch> of_group(std::uint32_t group) {
    std::vector<Batch> chosen;
    for (const Batch& batch : drain()) {
      if (batch.group == group) chosen.push_back(batch);
    }
    return chosen;
  }

  std::mutex idle_mutex;
  std::condition_variable idle;
  host::Roots roots;
  base::ManualClock clock{base::from_unix_millis(1'700'000'000'300)};
  knowledge::SeriesRegistry registry{1000};
  knowledge::Rings rings;
  knowledge::SelfMetrics self;
  config::CollectSection collect;
  std::unique_ptr<Scheduler> scheduler;
  std::vector<Batch> batches;
};

std::string series(std::string_view collector, std::string_view name) {
  return "test_value{collector=\"" + std::string(collector) + "\", series=\"" + std::string(name) +
         "\"}";
}
/// to_string() with or without blanks after commas.
const double* find(const Batch& batch, std::string key) {
  if (const auto found = batch.values.find(key); found != batch.values.end()) return &found->second;
  std::erase(key, ' ');
  const auto found = batch.values.find(key);
  return found == batch.values.end() ? nullptr : &found->second;
}

int open_descriptors() {
  return static_cast<int>(host::list_directory("/proc/self/fd")->size());
}
int threads() {
  return static_cast<int>(host::list_directory("/proc/self/task")->size());
}

}  // namespace

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
  CHECK(gauge("nexus_collector_interval_seconds") == 1);
  CHECK(gauge("nexus_collector_last_success_timestamp_seconds") == 1'700'000'000.3);
}

TEST_CASE("a scheduler that was never started stops") {
  Rig rig;
  rig.scheduler->stop();
  CHECK(rig.scheduler->status().size() == 3);
}
