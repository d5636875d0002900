// The queue and its rules. What a run does with real processes: run_test.cpp; after a crash:
// recover_test.cpp.
#include "nexus/execute/executor.hpp"
#include "nexus/config/config.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <set>
#include <thread>

#include "bench.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

TEST_CASE("a thousand queued actions run by priority, then by arrival") {
  base::SystemClock clock;
  Bench bench(clock);
  bench.config.operations.max_concurrent_actions = 1;
  bench.configure();
  std::mt19937 random(3);
  std::vector<std::pair<int, int>> places;
  std::map<std::string, std::pair<int, int>> place_of;
  for (int i = 0; i < 1000; ++i) {
    auto action = bench.action("echo");
    action.dry_run = true;
    action.priority = static_cast<int>(random() % 100);
    place_of[action.id] = {action.priority, i};
    places.emplace_back(action.priority, i);
    REQUIRE(bench.executor->submit(std::move(action)));
  }
  auto extra = bench.action("echo");
  CHECK(bench.executor->submit(extra).error().code() == Errc::kExhausted);
  CHECK(bench.executor->status().queued == 1000);
  CHECK(bench.executor->activity()->queue.size() == 1000);
  std::ranges::sort(places);
  bench.executor->start();
  const auto finished = bench.wait(1000);
  for (std::size_t i = 0; i < finished.size(); ++i) CHECK(place_of.at(finished[i].id) == places[i]);
  CHECK(finished[0].outcome.would_do == "would run [\"/bin/echo\",\"hello\"]");
  CHECK(finished[0].state == ActionState::kSucceeded);
}

TEST_CASE("only one action of a target runs at a time") {
  base::SystemClock clock;
  Bench bench(clock);
  const TemporaryDirectory directory;
  const auto lock = directory.file("lock");
  // Fails when another one is inside.
  const auto exclusive = fmt::format("mkdir {0} && sleep 0.02 && rmdir {0}", lock);
  bench.config.commands.push_back(Bench::command("exclusive", {"/bin/sh", "-c", exclusive}));
  bench.configure();
  for (int i = 0; i < 6; ++i) REQUIRE(bench.executor->submit(bench.action("exclusive")));
  CHECK(bench.executor->in_flight("exclusive"));
  CHECK(bench.executor->targets_in_flight() == 1);
  bench.executor->start();
  for (const auto& action : bench.wait(6)) CHECK(action.state == ActionState::kSucceeded);
}

TEST_CASE("a proposal waits for approval and then runs") {
  base::SystemClock clock;
  Bench bench(clock);
  bench.executor->start();
  auto action = bench.action("echo");
  action.state = ActionState::kProposed;
  const auto id = action.id;
  REQUIRE(bench.executor->submit(action));
  CHECK(bench.executor->in_flight("echo"));
  CHECK(bench.executor->targets_in_flight() == 0);
  CHECK(bench.executor->status().proposed == 1);
  CHECK(bench.executor->activity()->proposed.size() == 1);
  CHECK(bench.executor->find(id).value().state == ActionState::kProposed);
  REQUIRE(bench.executor->approve(id, "alice"));
  const auto ended = bench.wait(1).front();
  CHECK(ended.state == ActionState::kSucceeded);
  CHECK(ended.approved_by == "alice");
  CHECK(ended.approved);
  CHECK(bench.executor->approve(id, "bob").error().code() == Errc::kConflict);
  CHECK(bench.executor->approve("nothing", "bob").error().code() == Errc::kNotFound);
}

TEST_CASE("a proposal that nobody answers expires; a declined one is cancelled") {
  base::ManualClock clock;
  Bench bench(clock);
  auto first = bench.action("echo");
  first.state = ActionState::kProposed;
  REQUIRE(bench.executor->submit(first));
  clock.advance(59min);
  auto second = bench.action("true");
  second.state = ActionState::kProposed;
  REQUIRE(bench.executor->submit(second));
  bench.executor->tick();
  CHECK(bench.finished.empty());
  clock.advance(1min);
  bench.executor->tick();
  REQUIRE(bench.finished.size() == 1);
  CHECK(bench.finished[0].state == ActionState::kExpired);
  CHECK(bench.journaled(first.id) == ActionState::kExpired);
  CHECK_FALSE(bench.executor->in_flight("echo"));
  REQUIRE(bench.executor->cancel(second.id, "alice"));
  CHECK(bench.finished.at(1).state == ActionState::kCancelled);
  CHECK(bench.finished.at(1).outcome.result == "cancelled by alice");
  CHECK(bench.executor->cancel(second.id, "alice").error().code() == Errc::kConflict);
  CHECK(bench.executor->cancel("nothing", "alice").error().code() == Errc::kNotFound);
}

TEST_CASE(
    "queued actions are cancelled by the kill switch, a person, or the end of their finding") {
  base::ManualClock clock;
  Bench bench(clock);
  const auto a = bench.action("a");
  auto b = bench.action("b");
  b.cause.fingerprint = "other";
  auto c = bench.action("c");
  c.cause.fingerprint = "other";
  for (const auto& action : {a, b, c}) REQUIRE(bench.executor->submit(action));
  bench.executor->withdraw("00ff", "f has resolved");
  REQUIRE(bench.finished.size() == 1);
  CHECK(bench.finished[0].id == a.id);
  CHECK(bench.finished[0].outcome.result == "withdrawn: f has resolved");
  REQUIRE(bench.executor->cancel(b.id, "alice"));
  bench.executor->cancel_queued("operations were stopped");
  CHECK(bench.finished.size() == 3);
  CHECK(bench.executor->status().queued == 0);
  CHECK(bench.executor->targets_in_flight() == 0);
  CHECK_FALSE(bench.finished[2].started);
}

TEST_CASE("permission is asked again right before an action starts") {
  base::SystemClock clock;
  Bench bench(clock);
  const TemporaryDirectory directory;
  const auto mark = directory.file("mark");
  bench.config.commands.push_back(Bench::command("touch", {"/bin/touch", mark}));
  bench.configure();
  bench.executor->set_permission(
      [](const Action&) { return std::optional(plan::Refusal{"observe", "mode is observe"}); });
  bench.executor->start();
  const auto refused = bench.run(bench.action("touch"));
  CHECK(refused.state == ActionState::kCancelled);
  CHECK(refused.outcome.result == "cancelled before it started: mode is observe");
  CHECK(refused.outcome.reason_code == "observe");
  CHECK_FALSE(refused.started);
  CHECK_FALSE(std::filesystem::exists(mark));
  auto dry = bench.action("touch");
  dry.dry_run = true;
  CHECK(bench.run(dry).state == ActionState::kSucceeded);
  CHECK_FALSE(std::filesystem::exists(mark));
  bench.executor->set_permission([](const Action&) { return std::optional<plan::Refusal>(); });
  CHECK(bench.run(bench.action("touch")).state == ActionState::kSucceeded);
  CHECK(std::filesystem::exists(mark));
}

TEST_CASE("an idempotency key is used once") {
  base::ManualClock clock;
  Bench bench(clock);
  auto first = bench.action("echo");
  first.idempotency_key = "k";
  REQUIRE(bench.executor->submit(first));
  auto second = bench.action("echo");
  second.idempotency_key = "k";
  CHECK(bench.executor->submit(second).error().code() == Errc::kAlreadyExists);
  CHECK(bench.executor->find_by_key("k").value()->id == first.id);
  CHECK(bench.executor->status().queued == 1);
}

TEST_CASE("what cannot be done is refused before it is queued") {
  base::ManualClock clock;
  Bench bench(clock);
  const auto refusal = [&](auto change) {
    auto action = bench.action("echo");
    change(action);
    const auto ok = bench.executor->validate(action);
    return ok ? std::string("fine") : ok.error().message();
  };
  CHECK(refusal([](Action&) {}) == "fine");
  CHECK_THAT(refusal([](Action& a) { a.type = "format_disk"; }),
             Catch::Contains("no action \"format_disk\""));
  CHECK_THAT(refusal([](Action& a) { a.target.clear(); }), Catch::Contains("target is missing"));
  CHECK_THAT(refusal([](Action& a) { a.target = "rm"; }), Catch::Contains("\"rm\" is not listed"));
  CHECK_THAT(refusal([](Action& a) { a.priority = 101; }), Catch::Contains("priority 101"));
  CHECK_THAT(refusal([](Action& a) { a.parameters["argv"] = std::string("x"); }),
             Catch::Contains("no parameter"));
  CHECK_THAT(refusal([](Action& a) {
               a.type = "restart_service";
               a.target = "../etc";
             }),
             Catch::Contains("restart_service"));
}

TEST_CASE("many threads submit, approve, cancel and look while workers run") {
  base::SystemClock clock;
  Bench bench(clock);
  bench.config.operations.max_concurrent_actions = 3;
  bench.configure();
  bench.executor->start();
  constexpr int kThreads = 4;
  constexpr int kEach = 60;
  std::atomic<bool> done{false};
  std::atomic<int> refused{0};  // Catch's assertions are for one thread
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        auto action = bench.action(t % 2 == 0 ? "echo" : "true");
        action.priority = i % 7;
        action.dry_run = i % 10 != 0;
        if (i % 3 == 0) action.state = ActionState::kProposed;
        const auto id = action.id;
        if (!bench.executor->submit(action)) ++refused;
        if (i % 3 == 0) std::ignore = bench.executor->approve(id, "x");
        if (i % 5 == 0) std::ignore = bench.executor->cancel(id, "x");
      }
    });
  }
  std::thread looker([&] {
    while (!done) {
      std::ignore = bench.executor->activity();
      std::ignore = bench.executor->status();
      std::ignore = bench.executor->in_flight("echo");
      bench.executor->tick();
      bench.configure();
    }
  });
  for (auto& thread : threads) thread.join();
  CHECK(refused == 0);
  const auto finished = bench.wait(kThreads * kEach);
  done = true;
  looker.join();
  bench.executor->stop(10s);
  std::set<std::string> ids;
  for (const auto& action : finished) {
    CHECK(plan::is_final(action.state));
    ids.insert(action.id);
  }
  CHECK(ids.size() == kThreads * kEach);
  CHECK(bench.journal->unfinished().value().empty());
  CHECK(bench.executor->targets_in_flight() == 0);
  CHECK_FALSE(bench.executor->in_flight("echo"));
}

TEST_CASE("a proposal that is refused ends, and says why; anything else is not touched") {
  base::ManualClock clock;
  Bench bench(clock);
  auto proposed = bench.action("echo");
  proposed.state = ActionState::kProposed;
  const auto queued = bench.action("true");
  REQUIRE(bench.executor->submit(proposed));
  REQUIRE(bench.executor->submit(queued));
  bench.executor->refuse(proposed.id, "it is protected");
  bench.executor->refuse(queued.id, "it is protected");
  REQUIRE(bench.finished.size() == 1);
  CHECK(bench.finished[0].state == ActionState::kCancelled);
  CHECK(bench.finished[0].outcome.result == "refused: it is protected");
  CHECK(bench.executor->status().queued == 1);
}

TEST_CASE("a target whose name cannot be resolved keeps it") {
  base::ManualClock clock;
  Bench bench(clock);
  CHECK(bench.executor->resolve("restart_service", "web.service") == "web.service");
  CHECK(bench.executor->resolve("run_command", "echo") == "echo");
  CHECK(bench.executor->resolve("restart_service", "web") == "web.service");
  CHECK(bench.executor->resolve("no_such_action", "x") == "x");
}

TEST_CASE("stopped while its start was being journaled, an action has not started") {
  base::SystemClock clock;
  Bench bench(clock);
  std::atomic<int> asked{0};
  bench.executor->set_permission([&](const Action&) {
    return ++asked < 2 ? std::nullopt : std::optional(plan::Refusal{"stopped", "stopped"});
  });
  bench.executor->start();
  const auto ended = bench.run(bench.action("echo"));
  CHECK(ended.state == ActionState::kCancelled);
  CHECK(asked == 2);
  CHECK_FALSE(ended.started);
  CHECK_FALSE(bench.journal->get(ended.id).value().started);
}
