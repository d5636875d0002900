// Ladders: rungs that are actions of their own, and an agent that is killed in the middle of one.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "bench.hpp"
#include "nexus/config/config.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

namespace {

plan::Rung rung(const std::string& command) {
  return {.type = "run_command",
          .target = command,
          .parameters = {},
          .verify = std::nullopt,
          .timeout = 60s,
          .action_id = {}};
}

Action ladder(const Bench& bench, const std::vector<std::string>& commands) {
  auto out = bench.action("web");
  out.type = "composite";
  out.remedy = "climb";
  for (const auto& command : commands) out.rungs.push_back(rung(command));
  return out;
}

/// "a", "b", ...: each notes that it was done; `helps` is how it ends.
config::CommandConfig note(const std::string& name, const std::string& file, bool helps) {
  return Bench::command(
      name, {"/bin/sh", "-c", "echo " + name + " >> " + file + (helps ? "" : "; exit 1")});
}

std::string content(const std::string& file) {
  std::ifstream in(file);
  std::stringstream out;
  for (std::string line; std::getline(in, line);) out << line << ' ';
  return out.str();
}

struct Ladders {
  explicit Ladders(Clock& clock,
                   const std::string& database = ":memory:", const std::string& marks = {})
      : file(marks.empty() ? directory.file("done") : marks), bench(clock, database) {
    bench.config.commands.push_back(note("a", file, false));
    bench.config.commands.push_back(note("b", file, false));
    bench.config.commands.push_back(note("c", file, true));
    bench.config.commands.push_back(note("d", file, true));
    bench.configure();
  }
  TemporaryDirectory directory;
  std::string file;
  Bench bench;
};

}  // namespace

TEST_CASE("a ladder goes on to the next step until one helps, each an action of its own") {
  base::SystemClock clock;
  Ladders world(clock);
  auto& bench = world.bench;
  bench.executor->start();
  const auto ended = bench.run(ladder(bench, {"a", "b", "c", "d"}));
  CHECK(ended.state == ActionState::kSucceeded);
  CHECK_THAT(ended.outcome.result, Catch::Contains("step 3 of 4 (run_command c)"));
  CHECK(content(world.file) == "a b c ");
  CHECK(bench.finished.size() == 1);  // the planner hears of the ladder alone
  const auto rungs = bench.journal->rungs_of(ended.id).value();
  REQUIRE(rungs.size() == 3);
  CHECK(rungs[0].state == ActionState::kFailed);
  CHECK(rungs[2].state == ActionState::kSucceeded);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(rungs[i].parent == ended.id);
    CHECK(rungs[i].id == ended.rungs[i].action_id);
    CHECK(rungs[i].remedy == "climb");
  }
  CHECK(ended.rungs[3].action_id.empty());
  // Whoever listens hears of the end before the place is free.
  while (bench.executor->targets_in_flight() != 0) std::this_thread::yield();
  CHECK_FALSE(bench.executor->in_flight("web"));
  while (!bench.executor->activity()->in_progress.empty()) std::this_thread::yield();
}

TEST_CASE("a ladder that is cancelled before its next step begins does no further one") {
  base::SystemClock clock;
  Ladders world(clock);
  auto& bench = world.bench;
  auto action = ladder(bench, {"a", "b"});
  action.verify = config::VerifyConfig{.expr = {"load < 1", {}}, .within = 1ms};
  // Asked for the evidence before the ladder: it has its worker, and no step yet.
  bench.samples.when_asked = [&] { std::ignore = bench.executor->cancel(action.id, "alice"); };
  bench.executor->start();
  const auto ended = bench.run(action);
  CHECK(ended.state == ActionState::kCancelled);
  CHECK(ended.outcome.result == "cancelled by alice before step 1 of 2 (run_command a)");
  CHECK_FALSE(ended.started);
  CHECK(content(world.file).empty());
  CHECK(bench.journal->rungs_of(ended.id).value().empty());
}

TEST_CASE("a ladder none of whose steps helps says so; one whose steps all have to help stops") {
  base::SystemClock clock;
  Ladders world(clock);
  auto& bench = world.bench;
  bench.executor->start();
  const auto none = bench.run(ladder(bench, {"a", "b"}));
  CHECK(none.state == ActionState::kUnverified);
  CHECK_THAT(none.outcome.result, Catch::Contains("none of 2 steps has helped"));
  auto all = ladder(bench, {"c", "d"});
  all.all_rungs = true;
  CHECK(bench.run(all).state == ActionState::kSucceeded);
  CHECK(content(world.file) == "a b c d ");
  auto stops = ladder(bench, {"c", "a", "d"});
  stops.all_rungs = true;
  CHECK(bench.run(stops).state == ActionState::kFailed);
  CHECK(content(world.file) == "a b c d c a ");
}

TEST_CASE("a step that is refused, a person who cancels and a resolved finding end a ladder") {
  base::SystemClock clock;
  Ladders world(clock);
  auto& bench = world.bench;
  std::atomic<bool> resolved{false};
  bench.executor->set_permission([&](const Action& action) -> std::optional<plan::Refusal> {
    if (action.target == "d") return plan::Refusal{"held", "held by alice"};
    if (action.target == "c" && resolved) return plan::Refusal{"resolved", "f does not fire"};
    return std::nullopt;
  });
  bench.executor->start();
  SECTION("the first step is refused: nothing was done, and it is no attempt") {
    const auto ended = bench.run(ladder(bench, {"d", "c"}));
    CHECK(ended.state == ActionState::kCancelled);
    CHECK(ended.outcome.reason_code == "held");
    CHECK_FALSE(ended.started);
    CHECK(content(world.file).empty());
  }
  SECTION("a later one") {
    const auto ended = bench.run(ladder(bench, {"a", "d"}));
    CHECK(ended.state == ActionState::kCancelled);
    CHECK(ended.started);
  }
  SECTION("what has resolved after a step needs no further one") {
    resolved = true;
    const auto ended = bench.run(ladder(bench, {"a", "c"}));
    CHECK(ended.state == ActionState::kSucceeded);
    CHECK(ended.outcome.result == "it has resolved after step 1");
    CHECK(content(world.file) == "a ");
  }
  SECTION("cancelled with its step") {
    const auto action = ladder(bench, {"sleep", "c"});
    REQUIRE(bench.executor->submit(action));
    while (bench.journal->rungs_of(action.id).value().empty()) std::this_thread::yield();
    bench.until(bench.journal->rungs_of(action.id).value().front().id, ActionState::kRunning);
    REQUIRE(bench.executor->cancel(action.id, "alice"));
    CHECK(bench.wait(1).front().state == ActionState::kCancelled);
    CHECK(content(world.file).empty());
  }
}

TEST_CASE("a dry run of a ladder says what each step would do") {
  base::SystemClock clock;
  Ladders world(clock);
  world.bench.executor->start();
  auto action = ladder(world.bench, {"a", "c"});
  action.dry_run = true;
  const auto ended = world.bench.run(action);
  CHECK(ended.state == ActionState::kSucceeded);
  CHECK_THAT(ended.outcome.would_do, Catch::Contains("until one has helped"));
  CHECK_THAT(ended.outcome.would_do, Catch::Contains("step 2 of 2 (run_command c)"));
  CHECK(content(world.file).empty());
}

TEST_CASE("a ladder is checked as a whole before it is begun") {
  base::SystemClock clock;
  Ladders world(clock);
  auto action = ladder(world.bench, {"a", "unlisted"});
  CHECK_THAT(world.bench.executor->validate(action).error().message(),
             Catch::Contains("step 2") && Catch::Contains("unlisted"));
  action.rungs.clear();
  CHECK_FALSE(world.bench.executor->validate(action));
}

// What the next test starts and kills; it is no test by itself.
TEST_CASE("an agent that climbs until it is killed", "[.climber]") {
  const auto* database = std::getenv("NEXUS_TEST_DATABASE");
  const auto* file = std::getenv("NEXUS_TEST_MARKS");
  if (database == nullptr || file == nullptr) return;
  base::SystemClock clock;
  Ladders world(clock, database, file);
  auto& bench = world.bench;
  REQUIRE(bench.executor->recover());
  bench.executor->start();
  if (std::getenv("NEXUS_TEST_SUBMIT") != nullptr)
    REQUIRE(bench.executor->submit(ladder(bench, {"a", "b", "c"})));
  while (bench.executor->in_flight("web")) std::this_thread::yield();
}

TEST_CASE("killed at any transition, a ladder is neither repeated nor forgotten") {
  const auto climb = [](const std::string& database, const std::string& marks, bool submit) {
    const auto child = ::fork();
    if (child != 0) return child;
    ::setenv("NEXUS_TEST_DATABASE", database.c_str(), 1);
    ::setenv("NEXUS_TEST_MARKS", marks.c_str(), 1);
    if (submit) ::setenv("NEXUS_TEST_SUBMIT", "1", 1);
    ::execl("/proc/self/exe", "execute_test", "[.climber]", "-o", "/dev/null", nullptr);
    ::_exit(127);
  };
  const auto all = [](Journal& journal) {
    std::string out;
    const auto actions = journal.list({}).value();
    for (const auto& action : actions)
      out += action.type + std::string(to_string(action.state)) + ";";
    return out;
  };
  base::SystemClock clock;
  int unfinished = 0;
  // Three rungs: queued, running, verifying or ended, and the ladder's own: fourteen changes.
  for (int transition = 1; transition <= 14; ++transition) {
    const TemporaryDirectory directory;
    const auto database = directory.file("state.db");
    const auto marks = directory.file("done");
    auto db = *knowledge::StateDb::open(database);
    auto journal = *Journal::open(clock, *db);
    const auto first = climb(database, marks, true);
    REQUIRE(first > 0);
    std::string seen;
    int changes = 0;
    int status = 0;
    bool ended = false;
    while (!ended && changes < transition) {
      const auto now = all(*journal);
      changes += now != seen ? 1 : 0;
      seen = now;
      ended = ::waitpid(first, &status, WNOHANG) == first;
    }
    if (!ended) {
      ::kill(first, SIGKILL);
      ::waitpid(first, &status, 0);
    }
    const auto left = journal->list({}).value();
    for (const auto& action : left) unfinished += plan::is_final(action.state) ? 0 : 1;
    const auto second = climb(database, marks, false);
    REQUIRE(::waitpid(second, &status, 0) == second);
    CAPTURE(transition, seen, content(marks), all(*journal));
    CHECK(status == 0);
    const auto settled = journal->list({}).value();
    for (const auto& action : settled) CHECK(plan::is_final(action.state));
    // In their order, each once, none left out before a later one.
    CHECK(std::string("a b c ").starts_with(content(marks)));
  }
  CHECK(unfinished > 0);  // it was killed in the middle indeed
}
