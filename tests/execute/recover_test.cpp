// The agent dies in the middle: a second executor finds the same database as the first one left it.
// The first is never told; what it writes later comes after every check.
#include <catch2/catch.hpp>

#include "bench.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/execute/undone.hpp"
#include "support/server.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

TEST_CASE(
    "a running command is neither repeated nor forgotten, a queued one never ran, a proposal waits "
    "on") {
  base::SystemClock clock;
  const TemporaryDirectory directory;
  Bench before(clock, directory.file("state.db"));
  before.config.operations.max_concurrent_actions = 1;
  before.configure();
  before.executor->start();
  const auto running = before.action("sleep");
  REQUIRE(before.executor->submit(running));
  before.until(running.id, ActionState::kRunning);
  const auto queued = before.action("echo");
  REQUIRE(before.executor->submit(queued));
  auto proposed = before.action("true");
  proposed.state = ActionState::kProposed;
  proposed.idempotency_key = "k";
  REQUIRE(before.executor->submit(proposed));

  {
    Bench after(clock, directory.file("state.db"));
    REQUIRE(after.executor->recover());
    REQUIRE(after.finished.size() == 2);
    CHECK(after.finished[0].id == running.id);
    CHECK(after.finished[0].state == ActionState::kInterrupted);
    CHECK_THAT(after.finished[0].outcome.result, Catch::Contains("cannot be told"));
    CHECK(after.finished[0].started);
    CHECK(after.finished[0].cause == running.cause);
    CHECK(after.finished[1].id == queued.id);
    CHECK(after.finished[1].outcome.result == "interrupted: the agent stopped before it started");
    CHECK(after.journaled(running.id) == ActionState::kInterrupted);
    CHECK(after.journaled(queued.id) == ActionState::kInterrupted);
    CHECK(after.executor->status().proposed == 1);
    CHECK(after.executor->in_flight("true"));
    CHECK(after.executor->find_by_key("k").value()->id == proposed.id);
    after.executor->start();
    REQUIRE(after.executor->approve(proposed.id, "alice"));
    CHECK(after.wait(3).back().state == ActionState::kSucceeded);
    CHECK_FALSE(after.executor->in_flight("sleep"));
    // Once more: there is nothing left to settle.
    Bench again(clock, directory.file("state.db"));
    REQUIRE(again.executor->recover());
    CHECK(again.finished.empty());
    CHECK(again.executor->status().proposed == 0);
  }
}

TEST_CASE("what was being verified is verified further, and not done again") {
  base::ManualClock clock;
  const TemporaryDirectory directory;
  const auto mark = directory.file("mark");
  const auto touch = Bench::command("touch", {"/usr/bin/touch", mark});
  Bench before(clock, directory.file("state.db"));
  before.config.commands.push_back(touch);
  before.configure();
  before.executor->start();
  auto action = before.action("touch");
  action.verify = config::VerifyConfig{.expr = {"web_up == 1", {}}, .within = 10min};
  REQUIRE(before.executor->submit(action));
  before.until(action.id, ActionState::kVerifying);
  std::filesystem::remove(mark);

  Bench after(clock, directory.file("state.db"));
  after.config.commands.push_back(touch);
  after.configure();
  REQUIRE(after.executor->recover());
  CHECK(after.finished.empty());
  CHECK(after.executor->in_flight("touch"));
  CHECK(after.executor->targets_in_flight() == 1);
  after.executor->start();
  while (after.samples.asked < 1) std::this_thread::yield();
  clock.advance(1s);
  after.samples.set("web_up", base::to_unix_millis(clock.wall()), 1);
  after.end_verification(clock, action.id);
  const auto ended = after.wait(1).front();
  CHECK(ended.state == ActionState::kSucceeded);
  CHECK(ended.outcome.verified == true);
  CHECK_THAT(ended.outcome.result, Catch::Contains("verified after a restart of the agent"));
  CHECK_FALSE(std::filesystem::exists(mark));
}

TEST_CASE("stopping in an orderly way during verification leaves it to the next start") {
  base::ManualClock clock;
  const TemporaryDirectory directory;
  Bench before(clock, directory.file("state.db"));
  before.executor->start();
  auto action = before.action("true");
  action.verify = config::VerifyConfig{.expr = {"web_up == 1", {}}, .within = 10min};
  REQUIRE(before.executor->submit(action));
  before.until(action.id, ActionState::kVerifying);
  before.executor->stop(0ms);
  CHECK(before.finished.empty());
  CHECK(before.journaled(action.id) == ActionState::kVerifying);
  Bench after(clock, directory.file("state.db"));
  REQUIRE(after.executor->recover());
  CHECK(after.executor->status().queued == 1);
}

TEST_CASE("a unit job whose unit cannot be asked is interrupted, with the reason") {
  base::ManualClock clock;
  Bench bench(clock);
  auto action = bench.action("web.service");
  action.type = "restart_service";
  action.state = ActionState::kRunning;
  action.started = clock.wall();
  REQUIRE(bench.journal->write(action));
  auto unknown = bench.action("x");
  unknown.type = "of_a_newer_release";
  unknown.state = ActionState::kRunning;
  REQUIRE(bench.journal->write(unknown));
  REQUIRE(bench.executor->recover());
  REQUIRE(bench.finished.size() == 2);
  CHECK(bench.finished[0].state == ActionState::kInterrupted);
  CHECK_THAT(bench.finished[0].outcome.result, Catch::Contains("there is no systemd here"));
  CHECK(bench.finished[1].state == ActionState::kInterrupted);
}

TEST_CASE("while the bus is away a unit job is followed, until its time limit is over") {
  base::ManualClock clock;
  drivers::Systemd systemd(clock, "unix:path=/nonexistent/nexus/bus");
  Bench bench(clock, ":memory:", &systemd);
  auto action = bench.action("web.service");
  action.type = "restart_service";
  action.timeout = 10s;
  action.state = ActionState::kRunning;
  action.started = clock.wall();
  REQUIRE(bench.journal->write(action));
  REQUIRE(bench.executor->recover());
  CHECK(bench.finished.empty());
  CHECK(bench.executor->in_flight("web.service"));
  CHECK(bench.journaled(action.id) == ActionState::kRunning);
  bench.executor->start();
  while (bench.journaled(action.id) == ActionState::kRunning) {
    clock.advance(100ms);
    std::this_thread::yield();
  }
  const auto ended = bench.wait(1).front();
  CHECK(ended.state == ActionState::kInterrupted);
  CHECK_THAT(ended.outcome.result, Catch::Contains("what became of it cannot be told") &&
                                       Catch::Contains("/nonexistent/nexus/bus"));
}

namespace {

/// An action on containers whose undo a crash has cut off.
Action being_undone(const Bench& bench, const std::string& type) {
  auto out = bench.action("docker:shop/web");
  out.type = type;
  out.parameters = {{"replicas", std::int64_t{2}}};
  out.timeout = 1h;
  out.state = ActionState::kVerifying;
  out.started = bench.clock.wall();
  out.outcome.verified = false;
  out.outcome.undone = kUndoing;
  return out;
}

/// A kill switch that counts who looks at it.
struct Switch {
  explicit Switch(Bench& bench) {
    bench.executor->set_halted([this] {
      ++asked;
      return stopped.load();
    });
  }
  /// For so many hours: each half of one is over only when the executor has looked again.
  void stays_for(int hours, base::ManualClock& clock) const {
    for (int i = 0; i < 2 * hours; ++i) {
      const int before = asked;
      clock.advance(30min);
      REQUIRE(nexus::test::eventually([&] {
        if (asked > before) return true;
        clock.advance(1s);
        return false;
      }));
    }
  }

  std::atomic<bool> stopped{true};
  std::atomic<int> asked{0};
};

/// Moves a test clock on until the action has ended.
Action ended(Bench& bench, base::ManualClock& clock, const std::string& id) {
  REQUIRE(nexus::test::eventually([&] {
    clock.advance(1min);
    return plan::is_final(bench.journaled(id));
  }));
  return bench.wait(1).front();
}

}  // namespace

TEST_CASE("an undo that was cut off is not taken up while operations are stopped, nor lost") {
  base::ManualClock clock;
  Bench bench(clock);
  Switch kill(bench);
  const auto action = being_undone(bench, "scale_service");
  REQUIRE(bench.journal->write(action));
  REQUIRE(bench.executor->recover());
  bench.executor->start();
  SECTION("until they are released") {}
  SECTION("however long that is") {
    kill.stays_for(4, clock);
  }
  SECTION("and whoever cancels it meanwhile") {
    REQUIRE(bench.executor->cancel(action.id, "alice"));
    kill.stays_for(2, clock);
  }
  CHECK(bench.journaled(action.id) == ActionState::kVerifying);
  CHECK(is_being_undone(bench.journal->get(action.id).value().outcome));
  kill.stopped = false;
  const auto end = ended(bench, clock, action.id);
  // The evidence says nothing of containers: no answer will come, and none is waited for.
  CHECK(end.outcome.undone == "not undone: how many there were before is not known");
  CHECK(end.state == ActionState::kUnverified);
}

TEST_CASE("a rollout that a crash cut off is put back after a stop, however long that was") {
  base::ManualClock clock;
  const TemporaryDirectory host;
  Bench bench(clock);
  bench.config.collect.rootfs = host.path();
  bench.configure();
  Switch kill(bench);
  auto action = being_undone(bench, "rolling_update");
  action.parameters = {};
  action.state = ActionState::kRunning;
  action.outcome = {};
  REQUIRE(bench.journal->write(action));
  REQUIRE(bench.executor->recover());
  bench.executor->start();
  auto state = ActionState::kInterrupted;
  SECTION("beyond its time limit") {
    kill.stays_for(4, clock);
  }
  SECTION("and whoever cancels it meanwhile") {
    REQUIRE(bench.executor->cancel(action.id, "alice"));
    kill.stays_for(2, clock);
    state = ActionState::kCancelled;  // only now: for an engine that is away nobody waits any more
  }
  CHECK(bench.journaled(action.id) == ActionState::kRunning);
  kill.stopped = false;
  const auto end = ended(bench, clock, action.id);
  CHECK(end.state == state);
  CHECK_THAT(end.outcome.result, Catch::Contains("no Docker engine runs here"));  // it was asked
}

TEST_CASE("an undo that somebody asked for begins again after a stop, unless it is cancelled") {
  base::ManualClock clock;
  Bench bench(clock);
  Switch kill(bench);
  auto done = being_undone(bench, "scale_service");
  done.state = ActionState::kSucceeded;
  done.finished = clock.wall();
  done.outcome.undone.clear();
  REQUIRE(bench.journal->write(done));
  auto action = bench.action(done.target);
  action.type = "undo_action";
  action.parameters = {{"action", std::string(done.id)}};
  action.timeout = 1h;
  action.state = ActionState::kRunning;
  action.started = clock.wall();
  REQUIRE(bench.journal->write(action));
  REQUIRE(bench.executor->recover());
  bench.executor->start();
  kill.stays_for(2, clock);
  CHECK(bench.journaled(action.id) == ActionState::kRunning);
  SECTION("released") {
    kill.stopped = false;
    const auto end = ended(bench, clock, action.id);
    CHECK(end.state == ActionState::kFailed);
    CHECK_THAT(end.outcome.result, Catch::Contains("how many there were before is not known"));
  }
  SECTION("cancelled") {
    REQUIRE(bench.executor->cancel(action.id, "alice"));
    const auto end = ended(bench, clock, action.id);
    CHECK(end.state == ActionState::kCancelled);
    CHECK_THAT(end.outcome.result, Catch::Contains("cancelled by alice") &&
                                       Catch::Contains("while operations are stopped"));
  }
}

TEST_CASE(
    "after a boot an undo waits for an engine that is not up so far, and no longer than it may") {
  base::ManualClock clock;
  const TemporaryDirectory host;
  Bench bench(clock);
  bench.config.collect.rootfs = host.path();
  bench.configure();
  std::atomic<int> asked{0};
  // It is asked each time before the engine is asked again.
  bench.executor->set_halted([&] {
    ++asked;
    return false;
  });
  auto open = being_undone(bench, "rolling_update");
  open.parameters = {};
  SECTION("one that the crash cut off") {
    REQUIRE(bench.journal->write(open));
  }
  SECTION("one that somebody asked for") {
    auto done = open;
    done.state = ActionState::kSucceeded;
    done.finished = clock.wall();
    done.outcome.undone.clear();
    REQUIRE(bench.journal->write(done));
    open = bench.action(done.target);
    open.type = "undo_action";
    open.parameters = {{"action", std::string(done.id)}};
    open.timeout = 1h;
    open.state = ActionState::kRunning;
    open.started = clock.wall();
    REQUIRE(bench.journal->write(open));
  }
  REQUIRE(bench.executor->recover());
  CHECK(bench.finished.empty());
  bench.executor->start();
  while (!plan::is_final(bench.journaled(open.id))) {
    clock.advance(1min);
    std::this_thread::yield();
  }
  const auto ended = bench.wait(1).front();
  CHECK(asked >= 1);
  CHECK((ended.state == ActionState::kUnverified || ended.state == ActionState::kFailed));
  CHECK_THAT(ended.outcome.result, Catch::Contains("no Docker engine runs here"));
}
