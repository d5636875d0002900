// A scheduler over scripted collectors and a test clock, for the tests of the scheduler.
#pragma once

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

namespace nexus::monitor {

using namespace std::chrono_literals;

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
inline std::shared_ptr<Script> script;  // of the running test

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
constexpr CollectorDescriptor kRemoteB = {
    .name = "b", .help = "B", .remote = true, .metrics = kMetrics, .make = make_scripted<'b'>};
constexpr CollectorDescriptor kRemoteC = {
    .name = "c", .help = "C", .remote = true, .metrics = kMetrics, .make = make_scripted<'c'>};
constexpr std::array<const CollectorDescriptor*, 3> kRemoteTable = {&kA, &kRemoteB, &kRemoteC};

struct Batch {
  std::uint32_t group;
  std::int64_t time;
  std::map<std::string, double> values;  // by series
};

struct Rig {
  explicit Rig(config::CollectSection section = {}, std::size_t ring = 1 << 14,
               std::span<const CollectorDescriptor* const> table = kTable)
      : rings(ring), collect(std::move(section)) {
    script = std::make_shared<Script>();
    for (const char* name : {"a", "b", "c"}) script->series[name] = {"one"};
    const SchedulerContext context{roots, clock, registry, rings, self};
    scheduler = Scheduler::make(context, collect, table).value();
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

inline std::string series(std::string_view collector, std::string_view name) {
  return "test_value{collector=\"" + std::string(collector) + "\", series=\"" + std::string(name) +
         "\"}";
}
/// to_string() with or without blanks after commas.
inline const double* find(const Batch& batch, std::string key) {
  if (const auto found = batch.values.find(key); found != batch.values.end()) return &found->second;
  std::erase(key, ' ');
  const auto found = batch.values.find(key);
  return found == batch.values.end() ? nullptr : &found->second;
}

inline int open_descriptors() {
  return static_cast<int>(host::list_directory("/proc/self/fd")->size());
}
inline int threads() {
  return static_cast<int>(host::list_directory("/proc/self/task")->size());
}

}  // namespace nexus::monitor
