// Real processes and verification.
#include <sqlite3.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <fstream>
#include <thread>

#include "bench.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

namespace {

/// 0 as long as none is written.
pid_t look_for_pid(const std::string& file) {
  pid_t pid = 0;
  return std::ifstream(file) >> pid ? pid : 0;
}

pid_t read_pid(const std::string& file) {
  pid_t pid = 0;
  while ((pid = look_for_pid(file)) == 0) std::this_thread::yield();
  return pid;
}

bool is_gone(pid_t pid) {
  return ::kill(pid, 0) != 0 && errno == ESRCH;
}

/// A shell that starts a child of its own and writes the child's pid down.
config::CommandConfig family(const std::string& pid_file) {
  return Bench::command(
      "family", {"/bin/sh", "-c", fmt::format("sleep 1000 & echo $! > {}; wait", pid_file)});
}

Action verified(Bench& bench, std::string expr, Millis within) {
  auto action = bench.action("true");
  action.verify = config::VerifyConfig{.expr = {std::move(expr), {}}, .within = within};
  return action;
}

}  // namespace

TEST_CASE("a command runs: output, timings, evidence and metrics are kept") {
  base::SystemClock clock;
  Bench bench(clock);
  bench.executor->start();
  const auto done = bench.run(bench.action("echo"));
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(done.outcome.output == "hello\n");
  CHECK_THAT(done.outcome.result, Catch::StartsWith("command \"echo\" ended with exit status 0"));
  CHECK_FALSE(done.outcome.verified);
  CHECK(done.outcome.before == R"({"argv":["/bin/echo","hello"]})");
  CHECK(done.started);
  CHECK(done.finished);
  REQUIRE(done.detection_to_start_seconds);
  CHECK(*done.detection_to_start_seconds > 0);
  CHECK(bench.journal->get(done.id).value().outcome == done.outcome);
  CHECK(bench.self
            .counter("nexus_actions_total", "", {{"type", "run_command"}, {"state", "succeeded"}})
            .value() == 1);
  CHECK(bench.self.counter("nexus_detected_actions_started_total", "").value() == 1);
}

TEST_CASE("a command that fails is a failed action that keeps its output") {
  base::SystemClock clock;
  Bench bench(clock);
  bench.config.commands.push_back(Bench::command("bad", {"/bin/sh", "-c", "echo why; exit 7"}));
  bench.config.commands.push_back(Bench::command("absent", {"/no/such/program"}));
  bench.configure();
  bench.executor->start();
  const auto bad = bench.run(bench.action("bad"));
  CHECK(bad.state == ActionState::kFailed);
  CHECK_THAT(bad.outcome.result, Catch::Contains("exit status 7"));
  CHECK(bad.outcome.output == "why\n");
  const auto absent = bench.run(bench.action("absent"));
  CHECK(absent.state == ActionState::kFailed);
  CHECK_FALSE(absent.detection_to_start_seconds);
  auto gone = bench.action("echo");
  bench.config.commands.clear();
  bench.configure();
  const auto unlisted = bench.run(gone);
  CHECK(unlisted.state == ActionState::kFailed);
  CHECK_THAT(unlisted.outcome.result, Catch::Contains("not listed"));
}

TEST_CASE("a time limit ends the command and all that it started") {
  base::SystemClock clock;
  Bench bench(clock);
  const TemporaryDirectory directory;
  bench.config.commands.push_back(family(directory.file("pid")));
  bench.configure();
  bench.executor->start();
  bool of_the_action = false;
  SECTION("of the action") {
    of_the_action = true;
  }
  SECTION("of the command") {}
  // Longer each time, until it has had the time to start its own.
  pid_t pid = 0;
  for (Millis limit = 300ms; pid == 0; limit *= 2) {
    auto action = bench.action("family");
    if (of_the_action) action.timeout = limit;
    if (!of_the_action) bench.config.commands.back().timeout = limit;
    bench.configure();
    const auto ended = bench.run(action);
    CHECK(ended.state == ActionState::kFailed);
    CHECK_THAT(ended.outcome.result, Catch::Contains("time limit"));
    pid = look_for_pid(directory.file("pid"));
  }
  CHECK(is_gone(pid));
}

TEST_CASE("cancelling a running command ends all that it started") {
  base::SystemClock clock;
  Bench bench(clock);
  const TemporaryDirectory directory;
  bench.config.commands.push_back(family(directory.file("pid")));
  bench.configure();
  bench.executor->start();
  const auto action = bench.action("family");
  REQUIRE(bench.executor->submit(action));
  const auto pid = read_pid(directory.file("pid"));
  CHECK(bench.journaled(action.id) == ActionState::kRunning);
  CHECK(bench.executor->activity()->in_progress.size() == 1);
  REQUIRE(bench.executor->cancel(action.id, "alice"));
  const auto ended = bench.wait(1).front();
  CHECK(ended.state == ActionState::kCancelled);
  CHECK_THAT(ended.outcome.result, Catch::StartsWith("cancelled by alice"));
  CHECK(is_gone(pid));
}

TEST_CASE("stop() interrupts what does not end in time, and leaves the queue in the journal") {
  base::SystemClock clock;
  Bench bench(clock);
  bench.config.operations.max_concurrent_actions = 1;
  bench.configure();
  bench.executor->start();
  const auto running = bench.action("sleep");
  REQUIRE(bench.executor->submit(running));
  bench.until(running.id, ActionState::kRunning);
  const auto waiting = bench.action("echo");
  REQUIRE(bench.executor->submit(waiting));
  bench.executor->stop(50ms);
  CHECK(bench.journaled(running.id) == ActionState::kInterrupted);
  CHECK(bench.journaled(waiting.id) == ActionState::kQueued);
  CHECK(bench.executor->submit(bench.action("true")).error().code() == Errc::kUnavailable);
}

TEST_CASE("an action whose start cannot be journaled does not start") {
  base::SystemClock clock;
  const TemporaryDirectory directory;
  Bench bench(clock, directory.file("state.db"));
  const auto mark = directory.file("mark");
  bench.config.commands.push_back(Bench::command("touch", {"/bin/touch", mark}));
  bench.configure();
  const auto action = bench.action("touch");
  REQUIRE(bench.executor->submit(action));
  sqlite3* other = nullptr;
  REQUIRE(sqlite3_open(directory.file("state.db").c_str(), &other) == SQLITE_OK);
  REQUIRE(sqlite3_exec(other, "ALTER TABLE action RENAME TO hidden", nullptr, nullptr, nullptr) ==
          SQLITE_OK);
  bench.executor->start();
  const auto ended = bench.wait(1).front();
  CHECK(ended.state == ActionState::kFailed);
  CHECK_THAT(ended.outcome.result, Catch::StartsWith("not started: journal action"));
  CHECK_FALSE(std::filesystem::exists(mark));
  // The journal is told as soon as it listens again.
  REQUIRE(sqlite3_exec(other, "ALTER TABLE hidden RENAME TO action", nullptr, nullptr, nullptr) ==
          SQLITE_OK);
  sqlite3_close(other);
  bench.executor->tick();
  CHECK(bench.journaled(action.id) == ActionState::kFailed);
}

TEST_CASE("a verify expression has to hold over what was measured after the action") {
  base::ManualClock clock;
  Bench bench(clock);
  bench.samples.set("web_up", base::to_unix_millis(clock.wall()),
                    1);  // from before: proves nothing
  clock.advance(1s);
  bench.executor->start();
  const auto action = verified(bench, "web_up == 1", 10min);
  REQUIRE(bench.executor->submit(action));
  bench.until(action.id, ActionState::kVerifying);
  // Several evaluations see nothing but the old sample.
  for (int i = 0; i < 3; ++i) CHECK(bench.evaluate(clock, action.id));
  CHECK(bench.journaled(action.id) == ActionState::kVerifying);
  SECTION("it does") {
    bench.samples.set("web_up", base::to_unix_millis(clock.wall() + 100ms), 1);
    bench.end_verification(clock, action.id);
    const auto ended = bench.wait(1).front();
    CHECK(ended.state == ActionState::kSucceeded);
    CHECK(ended.outcome.verified == true);
    CHECK_THAT(ended.outcome.after, Catch::Contains("web_up 1"));
    CHECK_THAT(ended.outcome.before, Catch::Contains("web_up 1"));
  }
  SECTION("it does not") {
    bench.samples.set("web_up", base::to_unix_millis(clock.wall() + 100ms), 0);
    while (bench.journaled(action.id) == ActionState::kVerifying) clock.advance(1min);
    const auto ended = bench.wait(1).front();
    CHECK(ended.state == ActionState::kUnverified);
    CHECK(ended.outcome.verified == false);
    CHECK_THAT(ended.outcome.result,
               Catch::Contains("web_up == 1 did not hold within 10m: no data"));
  }
}

TEST_CASE("an expression that is true for want of samples waits for them too") {
  base::ManualClock clock;
  Bench bench(clock);
  bench.samples.set("disk", base::to_unix_millis(clock.wall()), 95);
  bench.samples.set("known", base::to_unix_millis(clock.wall() + 1s), 1);
  clock.advance(1s);
  bench.executor->start();
  const auto action = verified(bench, "known unless disk > 90", 10min);
  REQUIRE(bench.executor->submit(action));
  bench.until(action.id, ActionState::kVerifying);
  // After the action there is a sample of `known`, and none of `disk` yet: what is known of it says
  // no.
  bench.samples.set("known", base::to_unix_millis(clock.wall() + 100ms), 1);
  for (int i = 0; i < 3; ++i) CHECK(bench.evaluate(clock, action.id));
  CHECK(bench.journaled(action.id) == ActionState::kVerifying);
  bench.samples.set("disk", base::to_unix_millis(clock.wall() + 100ms), 50);
  bench.end_verification(clock, action.id);
  CHECK(bench.wait(1).front().state == ActionState::kSucceeded);
}

TEST_CASE("what a verify expression asks for may be nothing at all") {
  base::ManualClock clock;
  Bench bench(clock);
  bench.samples.set("drops", base::to_unix_millis(clock.wall()), 5);
  clock.advance(1s);
  bench.executor->start();
  const auto action = verified(bench, "drops == 0", 10min);
  REQUIRE(bench.executor->submit(action));
  bench.until(action.id, ActionState::kVerifying);
  bench.samples.set("drops", base::to_unix_millis(clock.wall() + 100ms), 0);
  bench.end_verification(clock, action.id);
  const auto ended = bench.wait(1).front();
  CHECK(ended.state == ActionState::kSucceeded);
  CHECK(ended.outcome.verified == true);
}

TEST_CASE("a verify expression that cannot be evaluated verifies nothing, and says why") {
  base::SystemClock clock;
  Bench bench(clock);
  bench.executor->start();
  const auto ended = bench.run(verified(bench, "up ==", 1min));
  CHECK(ended.state == ActionState::kUnverified);
  CHECK_THAT(ended.outcome.result, Catch::Contains("parse error"));
}

TEST_CASE("cancelling while it is verified ends the wait") {
  base::ManualClock clock;
  Bench bench(clock);
  bench.executor->start();
  const auto action = verified(bench, "web_up == 1", 10min);
  REQUIRE(bench.executor->submit(action));
  bench.until(action.id, ActionState::kVerifying);
  REQUIRE(bench.executor->cancel(action.id, "alice"));
  const auto ended = bench.wait(1).front();
  CHECK(ended.state == ActionState::kCancelled);
  CHECK_THAT(ended.outcome.result, Catch::Contains("while it was verified"));
}
