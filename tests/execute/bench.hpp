// A journal, an executor and what they need, for tests.
#pragma once

#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>

#include "nexus/config/config.hpp"
#include "nexus/drivers/unit_privileged.hpp"
#include "nexus/execute/executor.hpp"
#include "support/temporary_directory.hpp"

namespace nexus::execute::test {

using plan::Action;
using plan::ActionState;

/// Series that a test sets, each with one sample at the time it was set.
class Samples final : public knowledge::Queryable {
 public:
  void set(std::string metric, std::int64_t time, double value) {
    const std::lock_guard guard(mutex_);
    const auto known = std::ranges::find_if(
        series_, [&](const auto& s) { return s.second.first.metric() == metric; });
    const auto id =
        known != series_.end() ? known->first : static_cast<knowledge::SeriesId>(series_.size());
    auto& series = series_[id];
    series.first = knowledge::Labels(metric, {});
    series.second.times.push_back(time);
    series.second.values.push_back(value);
  }
  std::vector<knowledge::SeriesId> select(std::span<const knowledge::Matcher> matchers,
                                          std::int64_t, std::int64_t) const override {
    if (when_asked) when_asked();
    const std::lock_guard guard(mutex_);
    ++asked;
    std::vector<knowledge::SeriesId> out;
    for (const auto& [id, series] : series_) {
      if (std::ranges::all_of(matchers, [&](const auto& m) { return m.matches(series.first); }))
        out.push_back(id);
    }
    return out;
  }
  const knowledge::Labels& labels(knowledge::SeriesId id) const override {
    const std::lock_guard guard(mutex_);
    return series_.at(id).first;
  }
  void read(knowledge::SeriesId id, std::int64_t start, std::int64_t end,
            knowledge::Column& out) const override {
    const std::lock_guard guard(mutex_);
    const auto& column = series_.at(id).second;
    for (std::size_t i = 0; i < column.size(); ++i) {
      if (column.times[i] <= start || column.times[i] > end) continue;
      out.times.push_back(column.times[i]);
      out.values.push_back(column.values[i]);
    }
  }
  mutable std::atomic<int> asked{0};  // selections so far
  std::function<void()> when_asked;   // set before anything is asked

 private:
  mutable std::mutex mutex_;
  std::map<knowledge::SeriesId, std::pair<knowledge::Labels, knowledge::Column>> series_;
};

struct Bench {
  explicit Bench(Clock& the_clock,
                 const std::string& database = ":memory:", drivers::Systemd* systemd = nullptr)
      : clock(the_clock), privileged(the_clock) {
    db = *knowledge::StateDb::open(database);
    journal = *Journal::open(clock, *db);
    executor = std::make_unique<Executor>(clock, *journal, samples, self, systemd, privileged);
    config.commands = {command("true", {"/bin/true"}), command("false", {"/bin/false"}),
                       command("sleep", {"/bin/sleep", "1000"}),
                       command("echo", {"/bin/echo", "hello"})};
    executor->on_finished([this](const Action& action) {
      const std::lock_guard guard(mutex);
      finished.push_back(action);
      changed.notify_all();
    });
    configure();
  }

  static config::CommandConfig command(std::string name, std::vector<std::string> argv) {
    config::CommandConfig out;
    out.name = std::move(name);
    out.argv = std::move(argv);
    return out;
  }
  void configure() {
    privileged.list_commands(listed_commands(config));
    executor->configure(std::make_shared<const config::Config>(config));
  }

  Action action(const std::string& target) const {
    Action out;
    out.id = base::make_id(clock.wall());
    out.type = "run_command";
    out.target = target;
    out.created = clock.wall();
    out.received = clock.steady();
    out.cause = {.finding = "f", .fingerprint = "00ff", .summary = "s", .requested_by = "system"};
    return out;
  }

  /// Waits until `count` actions have ended.
  std::vector<Action> wait(std::size_t count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return finished.size() >= count; });
    return finished;
  }
  Action run(Action action) {
    const auto id = action.id;
    REQUIRE(executor->submit(std::move(action)));
    while (true) {
      std::unique_lock lock(mutex);
      for (const auto& ended : finished) {
        if (ended.id == id) return ended;
      }
      changed.wait(lock);
    }
  }
  ActionState journaled(const std::string& id) { return journal->get(id).value().state; }
  /// Spins until the action is in this state, by the journal.
  void until(const std::string& id, ActionState state) {
    while (journaled(id) != state) std::this_thread::yield();
  }

  /// Moves a test clock on until the action is not being verified any more.
  void end_verification(base::ManualClock& manual, const std::string& id) {
    while (evaluate(manual, id)) {
    }
  }
  /// One more evaluation of the verify expression; false when it was the last. Small steps: the
  /// executor may look at the clock at any moment in between.
  bool evaluate(base::ManualClock& manual, const std::string& id) {
    const int before = samples.asked;
    while (samples.asked == before) {
      if (journaled(id) != ActionState::kVerifying) return false;
      manual.advance(Millis(1));
      std::this_thread::yield();
    }
    return true;
  }

  Clock& clock;
  drivers::UnitPrivileged privileged;
  Samples samples;
  knowledge::SelfMetrics self;
  config::Config config;
  std::unique_ptr<knowledge::StateDb> db;
  std::unique_ptr<Journal> journal;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Action> finished;
  std::unique_ptr<Executor> executor;  // last: its workers end first
};

using nexus::test::TemporaryDirectory;

}  // namespace nexus::execute::test
