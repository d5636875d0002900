// From a finding to an action begun, and what a decision costs.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/config/load.hpp"
#include "nexus/drivers/unit_privileged.hpp"
#include "nexus/execute/executor.hpp"

using namespace nexus;

namespace {

constexpr const char* kConfig = R"(
[operations]
max_concurrent_actions = 1
[[command]]
name = "true"
argv = ["/bin/true"]
[[remedy]]
name = "r"
on = 'service_failed{service=~".+"}'
action = "run_command"
parameters = { command = "true" }
cooldown = "1h"
max_attempts = 1000000
[guardrails]
max_actions_per_hour = 1000000
max_actions_per_hour_per_target = 1000000
)";

class Nothing final : public knowledge::Queryable {
 public:
  std::vector<knowledge::SeriesId> select(std::span<const knowledge::Matcher>, std::int64_t,
                                          std::int64_t) const override {
    return {};
  }
  const knowledge::Labels& labels(knowledge::SeriesId) const override { return none_; }
  void read(knowledge::SeriesId, std::int64_t, std::int64_t, knowledge::Column&) const override {}

 private:
  knowledge::Labels none_;
};

struct Loop {
  explicit Loop(const std::string& file) {
    log::configure(log::Level::kError, log::Format::kText);
    db = *knowledge::StateDb::open(file);
    journal = *execute::Journal::open(clock, *db);
    executor =
        std::make_unique<execute::Executor>(clock, *journal, nothing, self, nullptr, privileged);
    book = *analyze::Book::open(clock, *db, self);
    planner = *plan::Planner::open(clock, *db, self, *book, *executor, "/run/no-such-stop-file");
    auto config =
        std::make_shared<const config::Config>(config::load_text(kConfig, "bench").config);
    std::vector<config::Problem> problems;
    planner->configure(config, plan::RemedySet::compile(*config, problems));
    privileged.list_commands(execute::listed_commands(*config));
    executor->configure(config);
    executor->on_finished([this](const plan::Action& action) {
      planner->on_finished(action);
      const std::lock_guard guard(mutex);
      last = action;
      ++ended;
      changed.notify_all();
    });
  }
  ~Loop() { executor->stop(Millis(0)); }

  analyze::Finding finding(const std::string& subject) {
    analyze::Finding out;
    out.kind = analyze::FindingKind::kService;
    out.name = "service_failed";
    out.subject = subject;
    out.labels = {{"service", subject}};
    out.fingerprint = analyze::fingerprint(out.kind, out.name, out.labels);
    out.state = analyze::FindingState::kFiring;
    out.fired = clock.wall();
    out.received = clock.steady();
    return out;
  }

  base::SystemClock clock;
  drivers::UnitPrivileged privileged{clock};
  knowledge::SelfMetrics self;
  Nothing nothing;
  std::unique_ptr<knowledge::StateDb> db;
  std::unique_ptr<execute::Journal> journal;
  std::unique_ptr<analyze::Book> book;
  std::mutex mutex;
  std::condition_variable changed;
  std::uint64_t ended = 0;
  plan::Action last;
  std::unique_ptr<plan::Planner> planner;
  std::unique_ptr<execute::Executor> executor;
};

class StateFile {
 public:
  StateFile()
      : path_(std::filesystem::temp_directory_path() / ("nexus-bench-" + base::random_hex(6))) {
    std::filesystem::create_directories(path_);
  }
  ~StateFile() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string name() const { return (path_ / "state.db").string(); }

 private:
  std::filesystem::path path_;
};

/// Finding received to process started (written ahead three times: intention, submission, start).
void finding_to_begun(benchmark::State& state, const std::string& file) {
  Loop loop(file);
  loop.executor->start();
  std::uint64_t round = 0;
  for (auto _ : state) {
    const std::string subject = "unit" + std::to_string(round++);
    loop.planner->on_finding(loop.finding(subject));
    std::unique_lock lock(loop.mutex);
    loop.changed.wait(lock, [&] { return loop.ended >= round; });
    state.SetIterationTime(loop.last.detection_to_start_seconds.value_or(1));
    lock.unlock();
    while (loop.executor->in_flight(subject)) {
    }
  }
}

void finding_to_begun_memory(benchmark::State& state) {
  finding_to_begun(state, ":memory:");
}
BENCHMARK(finding_to_begun_memory)->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(500);

void finding_to_begun_file(benchmark::State& state) {
  const StateFile file;
  finding_to_begun(state, file.name());
}
BENCHMARK(finding_to_begun_file)->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(500);

/// One firing finding that is held back by what is in flight: what every tick costs for it.
void decision_not_to_act(benchmark::State& state) {
  Loop loop(":memory:");  // without workers: its action stays queued
  auto first = loop.finding("web");
  loop.planner->on_finding(first);
  auto other = loop.finding("web");
  other.fingerprint = "0000000000000001";
  for (auto _ : state) loop.planner->on_finding(other);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(decision_not_to_act)->Unit(benchmark::kMicrosecond);

/// The same while 10,000 other findings fire that a rail holds back, each looked at again at every
/// turn of the plan loop, which runs beside; p50 and p99 in milliseconds.
void finding_to_begun_in_a_storm(benchmark::State& state) {
  const StateFile file;
  Loop loop(file.name());
  loop.book->subscribe([&](const analyze::Finding& f) { loop.planner->on_finding(f); });
  // Held off: what 10,000 findings of one hour meet is the rate, the blast radius or a hold.
  if (!loop.planner->hold({.targets = {"storm*"}, .remedy = {}, .lasts = Millis(3'600'000)}))
    return state.SkipWithError("no hold");
  for (int source = 0; source < 10; ++source) {
    std::vector<analyze::Observation> seen;
    for (int i = 0; i < 990; ++i) {
      const auto subject = "storm" + std::to_string(source * 1000 + i);
      seen.push_back({.kind = analyze::FindingKind::kService,
                      .name = "service_failed",
                      .subject = subject,
                      .labels = {{"service", subject}}});
    }
    loop.book->observe("storm" + std::to_string(source), seen);
  }
  loop.executor->start();
  std::atomic<bool> over{false};
  std::thread ticker([&] {
    while (!over) {
      loop.book->tick();
      loop.planner->tick();
      std::this_thread::sleep_for(std::chrono::milliseconds(1000));
    }
  });
  std::vector<double> took;
  std::uint64_t round = 0;
  for (auto _ : state) {
    const std::string subject = "unit" + std::to_string(round++);
    loop.book->report("service:" + subject, {.kind = analyze::FindingKind::kService,
                                             .name = "service_failed",
                                             .subject = subject,
                                             .labels = {{"service", subject}},
                                             .received = loop.clock.steady()});
    std::unique_lock lock(loop.mutex);
    loop.changed.wait(lock, [&] { return loop.ended >= round; });
    took.push_back(loop.last.detection_to_start_seconds.value_or(1));
    state.SetIterationTime(took.back());
    lock.unlock();
    loop.book->clear("service:" + subject,
                     analyze::fingerprint(analyze::FindingKind::kService, "service_failed",
                                          {{"service", subject}}));
  }
  over = true;
  ticker.join();
  std::ranges::sort(took);
  state.counters["p50_ms"] = took[took.size() / 2] * 1000;
  state.counters["p99_ms"] = took[took.size() * 99 / 100] * 1000;
}
BENCHMARK(finding_to_begun_in_a_storm)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(300);

/// One turn of the planner over 1,000 firing findings, each decided about anew and held back.
void turn_of_a_thousand_decisions(benchmark::State& state) {
  Loop loop(":memory:");
  std::vector<analyze::Observation> seen;
  for (int i = 0; i < 1000; ++i) {
    const auto subject = "web" + std::to_string(i);
    seen.push_back({.kind = analyze::FindingKind::kService,
                    .name = "service_failed",
                    .subject = subject,
                    .labels = {{"service", subject}}});
  }
  if (!loop.planner->hold({.targets = {"*"}, .remedy = {}, .lasts = Millis(3'600'000)}))
    return state.SkipWithError("no hold");
  loop.book->observe("rule", seen);
  for (auto _ : state) loop.planner->tick();
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(turn_of_a_thousand_decisions)->Unit(benchmark::kMillisecond);

/// The same over services that are watched, depend on each other, and of which some have failed.
void turn_of_a_thousand_about_services(benchmark::State& state) {
  Loop loop(":memory:");
  std::string text = R"(
[[remedy]]
name = "r"
on = "service_slow"
action = "restart_service"
[guardrails]
max_unhealthy_share = 1
[services]
watch = [)";
  for (int i = 0; i < 200; ++i) {
    text += i % 10 == 0
                ? fmt::format("\"web{}\", ", i)
                : fmt::format("{{ name = \"web{}\", depends_on = [\"web{}\"] }}, ", i, i / 10 * 10);
  }
  text += "]\n";
  auto read = config::load_text(text, "bench");
  if (!read.problems.empty()) return state.SkipWithError(read.problems.front().message.c_str());
  const auto config = std::make_shared<const config::Config>(std::move(read.config));
  std::vector<config::Problem> problems;
  loop.planner->configure(config, plan::RemedySet::compile(*config, problems));
  loop.executor->configure(config);
  std::vector<analyze::Observation> seen;
  for (int i = 0; i < 1000; ++i) {
    const auto subject = fmt::format("web{}.service", i % 200);
    seen.push_back({.kind = analyze::FindingKind::kService,
                    .name = i < 20 ? "service_failed" : "service_slow",
                    .subject = subject,
                    .labels = {{"service", subject}, {"number", std::to_string(i)}}});
    loop.executor->learn_names(subject, {});
  }
  if (!loop.planner->hold({.targets = {"*"}, .remedy = {}, .lasts = Millis(3'600'000)}))
    return state.SkipWithError("no hold");
  loop.book->observe("rule", seen);
  for (auto _ : state) loop.planner->tick();
  state.SetItemsProcessed(state.iterations() * 980);
}
BENCHMARK(turn_of_a_thousand_about_services)->Unit(benchmark::kMillisecond);

/// Into and out of a queue that has 100,000 actions in it.
void queue_of_a_hundred_thousand(benchmark::State& state) {
  Loop loop(":memory:");
  config::Config config = config::load_text(kConfig, "bench").config;
  config.operations.max_queue = 200'000;
  loop.executor->configure(std::make_shared<const config::Config>(config));
  const auto action = [&](const std::string& target, const std::string& print) {
    plan::Action out;
    out.id = base::make_id(loop.clock.wall());
    out.type = "run_command";
    out.target = target;
    out.parameters = {{"command", std::string("true")}};
    out.created = loop.clock.wall();
    out.cause.fingerprint = print;
    return out;
  };
  for (int i = 0; i < 100'000; ++i) {
    const auto name = "t" + std::to_string(i);
    if (!loop.executor->submit(action(name, name))) return state.SkipWithError("not queued");
  }
  std::uint64_t round = 0;
  for (auto _ : state) {
    const auto name = "x" + std::to_string(round++);
    benchmark::DoNotOptimize(loop.executor->in_flight(name));
    if (!loop.executor->submit(action(name, name))) return state.SkipWithError("not queued");
    loop.executor->withdraw(name, "it has resolved");
  }
}
BENCHMARK(queue_of_a_hundred_thousand)->Unit(benchmark::kMicrosecond)->Iterations(2000);

/// The newest page of a journal that holds 100,000 old actions, and one more written to it.
void journal_of_a_hundred_thousand(benchmark::State& state) {
  const StateFile file;
  Loop loop(file.name());
  plan::Action old;
  old.type = "run_command";
  old.state = plan::ActionState::kSucceeded;
  const auto filled = loop.db->transaction([&]() -> Status {
    for (int i = 0; i < 100'000; ++i) {
      old.id = base::make_id(loop.clock.wall());
      old.target = "t" + std::to_string(i % 1000);
      old.created = loop.clock.wall();
      old.finished = old.created;
      if (auto ok = loop.journal->write(old); !ok) return ok;
    }
    return {};
  });
  if (!filled) return state.SkipWithError("not filled");
  for (auto _ : state) {
    benchmark::DoNotOptimize(loop.journal->list({.target = "t7"}));
    benchmark::DoNotOptimize(loop.journal->unfinished());
    old.id = base::make_id(loop.clock.wall());
    if (!loop.journal->write(old)) return state.SkipWithError("not written");
  }
  // What people ask it for, each in milliseconds; nothing of it is there, so that all is looked at.
  const auto time = [&](const char* name, const auto& ask) {
    const auto begun = loop.clock.steady();
    benchmark::DoNotOptimize(ask());
    state.counters[name] =
        std::chrono::duration<double, std::milli>(loop.clock.steady() - begun).count();
  };
  time("by_cause_ms", [&] { return loop.journal->list({.cause = "nothing"}); });
  time("by_status_ms",
       [&] { return loop.journal->list({.state = plan::ActionState::kUnverified}); });
  time("by_time_ms", [&] {
    return loop.journal->list({.since = loop.clock.wall(), .until = loop.clock.wall()});
  });
  time("usual_seconds_ms", [&] { return loop.journal->usual_seconds("run_command"); });
}
BENCHMARK(journal_of_a_hundred_thousand)->Unit(benchmark::kMicrosecond)->Iterations(200);

}  // namespace
