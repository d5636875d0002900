// From a finding to an action begun, and what a decision costs.
#include <benchmark/benchmark.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/config/load.hpp"
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
cooldown = "0s"
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
    executor = std::make_unique<execute::Executor>(clock, *journal, nothing, self, nullptr);
    book = *analyze::Book::open(clock, *db, self);
    planner = *plan::Planner::open(clock, *db, self, *book, *executor, "/run/no-such-stop-file");
    auto config =
        std::make_shared<const config::Config>(config::load_text(kConfig, "bench").config);
    std::vector<config::Problem> problems;
    planner->configure(config, plan::RemedySet::compile(*config, problems));
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

}  // namespace
