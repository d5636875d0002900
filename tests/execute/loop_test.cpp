// Book, planner and executor together, as the agent wires them.
#include <catch2/catch.hpp>

#include "bench.hpp"
#include "nexus/analyze/book.hpp"
#include "nexus/config/load.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

namespace {

struct Loop {
  Loop(Clock& clock, const std::string& toml) : bench(clock) {
    auto loaded = config::load_text(toml, "loop");
    for (const auto& problem : loaded.problems) FAIL(config::to_string(problem));
    auto problems = check_remedies(loaded.config);
    for (const auto& problem : problems) FAIL(config::to_string(problem));
    config = std::make_shared<const config::Config>(std::move(loaded.config));
    book = *analyze::Book::open(clock, *bench.db, bench.self);
    planner = *plan::Planner::open(clock, *bench.db, bench.self, *book, *bench.executor, "");
    planner->configure(config, plan::RemedySet::compile(*config, problems));
    book->subscribe([this](const analyze::Finding& finding) { planner->on_finding(finding); });
    bench.privileged.list_commands(listed_commands(*config));
    bench.executor->configure(config);
    bench.executor->set_permission(
        [this](const Action& action) { return planner->refusal(action); });
    bench.executor->on_finished([this](const Action& action) {
      planner->on_finished(action);
      const std::lock_guard guard(bench.mutex);
      bench.finished.push_back(action);
      bench.changed.notify_all();
    });
    bench.executor->start();
  }
  ~Loop() { bench.executor->stop(0ms); }

  void fire() {
    book->report("test", {.kind = analyze::FindingKind::kService,
                          .name = "service_failed",
                          .subject = "web",
                          .labels = {{"service", "web"}},
                          .evidence = {.text = "web is down"},
                          .received = bench.clock.steady()});
  }
  void settle() {
    while (bench.executor->in_flight("web")) std::this_thread::yield();
  }

  Bench bench;
  std::shared_ptr<const config::Config> config;
  std::unique_ptr<analyze::Book> book;
  std::unique_ptr<plan::Planner> planner;
};

std::string toml(const std::string& argv, const std::string& more = "") {
  return R"(
[[command]]
name = "fix"
argv = )" +
         argv + R"(
[[remedy]]
name = "fix-web"
on = "service_failed"
action = "run_command"
parameters = { command = "fix" }
cooldown = "0s"
)" + more;
}

}  // namespace

TEST_CASE("a finding becomes an action, the action an outcome, with its cause and its timing") {
  base::SystemClock clock;
  Loop loop(clock, toml(R"(["/bin/echo", "fixed"])"));
  loop.fire();
  const auto done = loop.bench.wait(1).front();
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(done.target == "web");
  CHECK(done.outcome.output == "fixed\n");
  CHECK(done.cause.finding == "service_failed");
  CHECK(done.cause.summary == "web is down");
  CHECK(done.remedy == "fix-web");
  CHECK(done.detection_to_start_seconds);
  CHECK(loop.planner->decisions(10).value().at(0).action_id == done.id);
}

TEST_CASE("what never helps is given up, said, and re-armed by a reset") {
  base::SystemClock clock;
  Loop loop(clock, toml(R"(["/bin/false"])", "max_attempts = 3\n"));
  loop.fire();
  for (std::size_t attempt = 1; attempt <= 3; ++attempt) {
    loop.bench.wait(attempt);
    loop.settle();
    loop.planner->tick();
  }
  loop.settle();
  loop.planner->tick();
  CHECK(loop.bench.finished.size() == 3);
  CHECK(loop.bench.finished.back().attempt == 3);
  REQUIRE(loop.planner->breakers().size() == 1);
  CHECK(loop.planner->breakers()[0].state == "open");
  CHECK(loop.planner->decisions(1).value().at(0).reason_code == "breaker_open");
  REQUIRE(loop.planner->reset("fix-web", "web"));
  CHECK(loop.bench.wait(4).back().attempt == 1);
}

TEST_CASE("stopped between decision and start, an action does not start") {
  base::SystemClock clock;
  Loop loop(clock, toml(R"(["/bin/true"])", "[operations]\nmode = \"propose\"\n"));
  loop.fire();
  const auto proposed = loop.bench.executor->activity()->proposed;
  REQUIRE(proposed.size() == 1);
  REQUIRE(loop.planner->set_running(false, "alice"));
  CHECK(loop.planner->approve(proposed[0].id, "bob").error().code() == Errc::kConflict);
  CHECK(loop.planner->request({.type = "run_command", .target = "fix", .requested_by = "bob"})
            .error()
            .code() == Errc::kConflict);
  REQUIRE(loop.planner->set_running(true, "alice"));
  REQUIRE(loop.planner->approve(proposed[0].id, "bob"));
  CHECK(loop.bench.wait(1).front().state == ActionState::kSucceeded);
}

TEST_CASE("a finding that resolves takes its proposal along") {
  base::SystemClock clock;
  Loop loop(clock, toml(R"(["/bin/true"])", "[operations]\nmode = \"propose\"\n"));
  loop.fire();
  loop.book->clear("test", analyze::fingerprint(analyze::FindingKind::kService, "service_failed",
                                                {{"service", "web"}}));
  const auto ended = loop.bench.wait(1).front();
  CHECK(ended.state == ActionState::kCancelled);
  CHECK_THAT(ended.outcome.result,
             Catch::StartsWith("withdrawn: service_failed on web has resolved"));
  CHECK(loop.planner->breakers().empty());
}
