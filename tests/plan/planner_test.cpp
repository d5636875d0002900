// What the scenarios cannot say: threads, a database that fails, metrics, bounds.
#include "nexus/plan/planner.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <mutex>
#include <thread>

#include "nexus/config/load.hpp"
#include "plan/planner_store.hpp"
#include "recording_sink.hpp"

using namespace nexus;
using namespace nexus::plan;
using namespace std::chrono_literals;

namespace {

/// As the recording sink, for several threads.
class LockedSink final : public ActionSink {
 public:
  Status submit(Action action) override {
    const std::lock_guard guard(mutex);
    return inner.submit(std::move(action));
  }
  bool in_flight(std::string_view target) const override {
    const std::lock_guard guard(mutex);
    return inner.in_flight(target);
  }
  std::size_t targets_in_flight() const override {
    const std::lock_guard guard(mutex);
    return inner.targets_in_flight();
  }
  Status validate(const Action& action) const override { return inner.validate(action); }
  Result<std::optional<Action>> find_by_key(std::string_view key) const override {
    const std::lock_guard guard(mutex);
    return inner.find_by_key(key);
  }
  void withdraw(std::string_view, std::string_view) override {}
  std::string resolve(std::string_view, std::string_view target) override {
    return std::string(target);
  }
  bool name_known(std::string_view, std::string_view) const override { return true; }
  Result<Action> find(std::string_view id) const override {
    const std::lock_guard guard(mutex);
    return inner.find(id);
  }
  Status approve(std::string_view id, std::string_view who, std::string_view why) override {
    const std::lock_guard guard(mutex);
    return inner.approve(id, who, why);
  }
  void refuse(std::string_view, std::string_view) override {}

  mutable std::mutex mutex;
  test::RecordingSink inner;
};

struct World {
  explicit World(ActionSink& sink,
                 const std::string& database = ":memory:", const std::string& toml = kRemedy) {
    db = *knowledge::StateDb::open(database);
    book = *analyze::Book::open(clock, *db, self);
    auto loaded = config::load_text(toml, "test");
    REQUIRE(loaded.problems.empty());
    std::vector<config::Problem> problems;
    remedies = RemedySet::compile(loaded.config, problems);
    config = std::make_shared<const config::Config>(std::move(loaded.config));
    restart(sink);
    book->subscribe([this](const analyze::Finding& finding) { planner->on_finding(finding); });
  }

  void restart(ActionSink& sink) {
    planner.reset();
    planner = *Planner::open(clock, *db, self, *book, sink, "", 1);
    planner->configure(config, remedies);
  }

  void fire(const std::string& subject) {
    book->report("test", {.kind = analyze::FindingKind::kService,
                          .name = "service_failed",
                          .subject = subject,
                          .labels = {{"service", subject}}});
  }

  static constexpr const char* kRemedy = R"(
[[remedy]]
name = "r"
on = "service_failed"
action = "restart_service"
)";

  base::ManualClock clock;
  knowledge::SelfMetrics self;
  std::unique_ptr<knowledge::StateDb> db;
  std::unique_ptr<analyze::Book> book;
  std::shared_ptr<const config::Config> config;
  std::shared_ptr<const RemedySet> remedies;
  std::unique_ptr<Planner> planner;
};

}  // namespace

TEST_CASE("threads that decide about one target at once make one action") {
  LockedSink sink;
  World world(sink);
  world.fire("web.service");
  world.clock.advance(1h);
  sink.inner.open.clear();  // the first one has ended, its cool-down is over
  sink.inner.submitted.clear();
  std::atomic<int> surprises{0};  // Catch's assertions are for one thread
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { world.planner->tick(); });
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const auto made =
          world.planner->request({.type = "restart_service", .target = "web", .requested_by = "x"});
      if (!made && made.error().code() != Errc::kConflict) ++surprises;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(surprises == 0);
  CHECK(sink.inner.submitted.size() == 1);
}

TEST_CASE("an action whose intention cannot be written down is not taken, and says so once") {
  const auto directory =
      std::filesystem::temp_directory_path() / ("nexus-plan-" + std::to_string(::getpid()));
  std::filesystem::create_directories(directory);
  const auto file = (directory / "state.db").string();
  test::RecordingSink sink;
  {
    World world(sink, file);
    // Another process that breaks the table: every write of the planner fails from now on.
    sqlite3* other = nullptr;
    REQUIRE(sqlite3_open(file.c_str(), &other) == SQLITE_OK);
    REQUIRE(sqlite3_exec(other, "DROP TABLE planner_recent", nullptr, nullptr, nullptr) ==
            SQLITE_OK);
    sqlite3_close(other);
    world.fire("web.service");
    CHECK(sink.submitted.empty());
    CHECK(world.self
              .counter("nexus_decisions_total", "",
                       {{"verdict", "skipped"}, {"reason", "state_unavailable"}})
              .value() == 1);
    CHECK(world.planner->breakers().empty());
    CHECK_FALSE(
        world.planner->request({.type = "restart_service", .target = "db", .requested_by = "x"}));
    CHECK(sink.submitted.empty());
  }
  std::filesystem::remove_all(directory);
}

TEST_CASE("breakers, the switch and decisions are metrics") {
  test::RecordingSink sink;
  World world(sink, ":memory:", std::string(World::kRemedy) + "max_attempts = 1\n");
  sink.finished = [&](const Action& action) { world.planner->on_finished(action); };
  world.fire("web.service");
  sink.end(sink.open.front().id, ActionState::kFailed);
  world.clock.advance(1s);
  world.planner->tick();
  const auto open = world.self.gauge("nexus_breaker_open", "", {{"remedy", "r"}});
  CHECK(open.value() == 1);
  CHECK(world.self.gauge("nexus_operations_running", "").value() == 1);
  CHECK(world.self.counter("nexus_decisions_total", "", {{"verdict", "acted"}, {"reason", "ok"}})
            .value() == 1);
  CHECK(world.self
            .counter("nexus_decisions_total", "",
                     {{"verdict", "skipped"}, {"reason", "breaker_open"}})
            .value() == 1);
  REQUIRE(world.planner->set_running(false, "alice"));
  CHECK(world.self.gauge("nexus_operations_running", "").value() == 0);
  CHECK_FALSE(world.planner->running());
  REQUIRE(world.planner->reset("r", "web.service"));
  CHECK(open.value() == 0);
  CHECK(world.planner->reset("r", "web.service").error().code() == Errc::kNotFound);
  CHECK(world.planner->reset("unknown", "x").error().code() == Errc::kNotFound);
}

TEST_CASE("a remedy that is configured no more loses its counters and its breaker's finding") {
  test::RecordingSink sink;
  World world(sink, ":memory:", std::string(World::kRemedy) + "max_attempts = 1\n");
  sink.finished = [&](const Action& action) { world.planner->on_finished(action); };
  world.fire("web.service");
  sink.end(sink.open.front().id, ActionState::kFailed);
  world.clock.advance(1s);
  world.planner->tick();
  REQUIRE(world.planner->breakers().size() == 1);
  std::vector<config::Problem> problems;
  config::Config empty;
  auto none = RemedySet::compile(empty, problems);
  world.planner->configure(std::make_shared<const config::Config>(empty), none);
  CHECK(world.planner->breakers().empty());
  for (const auto& finding : *world.book->snapshot()) {
    if (finding.name == "remedy_breaker_open")
      CHECK(finding.state == analyze::FindingState::kResolved);
  }
}

TEST_CASE("decisions are kept newest first, in pages, and pruned to a bound") {
  auto db = *knowledge::StateDb::open(":memory:");
  auto store = *PlannerStore::open(*db);
  for (int i = 0; i < PlannerStore::kKeepDecisions + 5; ++i) {
    REQUIRE(store->record({{.remedy = "r", .target = std::to_string(i), .verdict = "skipped"}}));
  }
  REQUIRE(store->prune(WallTime{}, WallTime{}));
  const auto page = store->decisions(3, 0).value();
  REQUIRE(page.size() == 3);
  CHECK(page[0].target == "10004");
  CHECK(store->decisions(1000, 7).value().size() == 1);  // ids 1 to 5 are gone
  CHECK(store->decisions(1, page[2].id).value().at(0).target == "10001");
}

TEST_CASE("an older state of a pair never overwrites a newer one") {
  auto db = *knowledge::StateDb::open(":memory:");
  auto store = *PlannerStore::open(*db);
  REQUIRE(store->save({{"r", "t"}, {.attempts = 2, .version = 8}}));
  REQUIRE(store->save({{"r", "t"}, {.attempts = 1, .version = 7}}));
  CHECK(store->pairs().value().at(0).state.attempts == 2);
}

TEST_CASE("a decision whose action was lost before it was journaled says so, and is no attempt") {
  test::RecordingSink sink;
  World world(sink);
  world.fire("web.service");
  // The agent was killed after the decision about db.service, and before its action was journaled.
  auto store = *PlannerStore::open(*world.db);
  const StoredPair pair{{"r", "db.service"}, {.attempts = 1, .version = 100}};
  Decision decision{.time = world.clock.wall(),
                    .remedy = "r",
                    .action_type = "restart_service",
                    .target = "db.service",
                    .verdict = "acted",
                    .reason_code = "ok",
                    .action_id = "00ff"};
  REQUIRE(store->intend(&pair, Counts::kAction, decision.target, decision, {}));
  REQUIRE(store->recent(WallTime{}).value().size() == 2);
  world.restart(sink);
  REQUIRE(world.planner->recover());
  const auto decisions = world.planner->decisions(10).value();
  CHECK(decisions.at(0).target == "db.service");
  CHECK(decisions.at(0).verdict == "skipped");
  CHECK(decisions.at(0).reason_code == "lost");
  CHECK(decisions.at(0).action_id.empty());
  CHECK_THAT(decisions.at(0).reason, Catch::Contains("the agent ended before action"));
  CHECK(decisions.at(1).verdict == "acted");
  const auto counters = world.planner->breakers();
  REQUIRE(counters.size() == 2);
  CHECK(counters[0].target == "db.service");
  CHECK(counters[0].attempts == 0);
  CHECK(counters[0].unanswered == 1);  // it backs off when that happens again
  CHECK(counters[1].attempts == 1);
  CHECK(store->recent(WallTime{}).value().size() == 1);
  REQUIRE(world.planner->recover());  // once is enough
  CHECK(
      world.self.counter("nexus_decisions_total", "", {{"verdict", "skipped"}, {"reason", "lost"}})
          .value() == 1);
}

TEST_CASE("what has left the journal in order is not lost") {
  test::RecordingSink sink;
  World world(sink);
  world.fire("web.service");
  // Pruned under a shorter journal_retention than the one that holds after the restart.
  sink.submitted.clear();
  sink.open.clear();
  world.clock.advance(24h);
  world.restart(sink);
  REQUIRE(world.planner->recover());
  CHECK(world.planner->decisions(1).value().at(0).verdict == "acted");
}

TEST_CASE("an approval that fails or is lost halfway takes back what it counted") {
  test::RecordingSink sink;
  World world(sink, ":memory:", std::string(World::kRemedy) + "mode = \"propose\"\n");
  world.fire("web.service");
  auto store = *PlannerStore::open(*world.db);
  const auto id = sink.open.at(0).id;
  SECTION("the executor refuses it") {
    sink.full = true;
    CHECK(world.planner->approve(id, "alice").error().code() == Errc::kExhausted);
    sink.full = false;
    CHECK(world.planner->decisions(1).value().at(0).reason_code == "not_submitted");
  }
  SECTION("the agent is killed before the journal has it") {
    Decision decision{.time = world.clock.wall(),
                      .remedy = "r",
                      .action_type = "restart_service",
                      .target = "web.service",
                      .verdict = "acted",
                      .reason_code = "ok",
                      .action_id = id};
    REQUIRE(store->intend(nullptr, Counts::kAction, decision.target, decision, {}));
    world.restart(sink);
    REQUIRE(world.planner->recover());
    const auto newest = world.planner->decisions(1).value().at(0);
    CHECK(newest.reason_code == "lost");
    CHECK_THAT(newest.reason, Catch::Contains("it stays proposed"));
  }
  const auto actions = [&] {
    const auto recent = store->recent(WallTime{}).value();
    return std::ranges::count(recent, Counts::kAction, &RecentAction::counts);
  };
  CHECK(actions() == 0);
  REQUIRE(world.planner->approve(id, "alice"));
  CHECK(actions() == 1);
}

TEST_CASE("a pair that only cools down is kept until it has") {
  auto db = *knowledge::StateDb::open(":memory:");
  auto store = *PlannerStore::open(*db);
  const WallTime until{Millis(60'000)};
  REQUIRE(store->save({{"r", "t"}, {.cooldown_until = until, .version = 1}}));
  REQUIRE(store->prune(WallTime{}, until - Millis(1)));
  CHECK(store->pairs().value().size() == 1);
  REQUIRE(store->prune(WallTime{}, until));
  CHECK(store->pairs().value().empty());
}

TEST_CASE("a proposal that is unknown, or not one any more, cannot be approved") {
  test::RecordingSink sink;
  World world(sink);
  world.fire("web.service");
  CHECK(world.planner->approve("nothing", "alice").error().code() == Errc::kNotFound);
  CHECK(world.planner->approve(sink.submitted.at(0).id, "alice").error().code() == Errc::kConflict);
}

TEST_CASE("what was queued may not start once a reload, a stop or a dependency forbids it") {
  test::RecordingSink sink;
  World world(sink, ":memory:",
              std::string(World::kRemedy) +
                  "[services]\nwatch = [{name = 'web.service', depends_on = ['db.service']}]\n");
  world.fire("web.service");
  REQUIRE(sink.submitted.size() == 1);
  const Action queued = sink.submitted[0];
  CHECK_FALSE(world.planner->refusal(queued));
  const auto said = [&](const Action& action) {
    const auto refusal = world.planner->refusal(action);
    return refusal ? refusal->reason : std::string("allowed");
  };
  const auto reload = [&](const std::string& toml) {
    auto loaded = config::load_text(toml, "test");
    REQUIRE(loaded.problems.empty());
    std::vector<config::Problem> problems;
    world.planner->configure(std::make_shared<const config::Config>(loaded.config),
                             RemedySet::compile(loaded.config, problems));
    return said(queued);
  };
  const std::string remedy = World::kRemedy;
  CHECK(reload(remedy) == "allowed");
  CHECK(reload(remedy + "mode = 'observe'\n") == "mode is observe, findings only");
  CHECK(reload(remedy + "mode = 'propose'\n") == "mode is propose, and nobody has approved it");
  CHECK(reload("[operations]\nmode = 'propose'\n" + remedy) ==
        "mode is propose, and nobody has approved it");
  CHECK(reload(remedy + "enabled = false\n") ==
        "there is no remedy r any more, or it is switched off");
  CHECK(reload("") == "there is no remedy r any more, or it is switched off");
  CHECK(reload(remedy + "priority = 10\n") == "allowed");
  CHECK(reload(remedy + "timeout = '5s'\n") == "remedy r is another one since it was decided on");
  CHECK(world.planner->refusal(queued)->code == "redefined");
  CHECK(reload("[guardrails]\nprotected_units = ['web.service']\n" + remedy).find("protected") !=
        std::string::npos);
  Action approved = queued;
  approved.approved = world.clock.wall();
  Action by_person = queued;
  by_person.remedy.clear();
  CHECK(reload("[operations]\nmode = 'propose'\n" + remedy) != "allowed");
  CHECK_FALSE(world.planner->refusal(approved));
  CHECK_FALSE(world.planner->refusal(by_person));
  world.planner->configure(world.config, world.remedies);
  CHECK_FALSE(world.planner->refusal(queued));
  world.fire("db.service");
  CHECK(said(queued) == "web.service depends on db.service, which is down");
  world.book->doubt("test");
  CHECK(said(queued) == "service_failed is not seen any more");
  world.book->retire([](std::string_view) { return true; });
  CHECK(said(queued) == "service_failed does not fire any more");
  CHECK(said(approved) == "service_failed does not fire any more");
  REQUIRE(world.planner->set_running(false, "alice"));
  CHECK(said(by_person).starts_with("operations were stopped by alice"));
}

TEST_CASE("a stop holds against a start that was under way") {
  test::RecordingSink sink;
  World world(sink);
  for (int i = 0; i < 50; ++i) {
    Status started;
    std::thread starter([&] { started = world.planner->set_running(true, "bob"); });
    const Status stopped = world.planner->set_running(false, "alice");
    starter.join();
    REQUIRE(stopped);
    // In this order or in that; never a start that is told to have failed and holds.
    if (!started) CHECK(started.error().code() == Errc::kConflict);
    if (!started) CHECK_FALSE(world.planner->running());
    const bool running = world.planner->running();
    world.restart(sink);
    CHECK(world.planner->running() == running);
  }
}
