// The lock that hosts share, against a real Redis and a real PostgreSQL; experiments; what holds an
// action back that is allowed.
#include <cmath>
#include <random>
#include <set>

#include "bench.hpp"
#include "compete.hpp"
#include "execute/mann_whitney.hpp"
#include "nexus/config/config.hpp"
#include "support/postgres_server.hpp"
#include "support/redis_server.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

namespace {

config::FleetSection fleet_of(std::uint32_t budget) {
  config::FleetSection out;
  out.budget = budget;
  out.timeout = 20s;
  return out;
}

}  // namespace

TEST_CASE("fifty hosts share a lock of Redis with a budget of two") {
  base::SystemClock clock;
  const nexus::test::RedisServer server;
  const auto lock_of = [&](int host) {
    return make_redis_fleet(clock, fleet_of(2), server.section(), "host" + std::to_string(host),
                            0s);
  };
  compete(lock_of, 50, 2);
  // Who has the places is said; tokens only grow; a place that nobody gives back lapses.
  const auto lock = lock_of(1);
  auto first = lock->acquire("x", 60s);
  auto second = lock->acquire("x", 60s);
  REQUIRE(first);
  REQUIRE(second);
  CHECK((*second)->token() > (*first)->token());
  const auto third = lock->acquire("x", 60s);
  REQUIRE_FALSE(third);
  CHECK(third.error().code() == Errc::kConflict);
  CHECK_THAT(third.error().message(), Catch::Contains("host1"));
  CHECK(lock->acquire("y", 60s));
  first->reset();
  CHECK(lock->acquire("x", 60s));
  {
    drivers::Redis by_hand(clock, server.section());
    REQUIRE(by_hand.command({"ZADD", "nexus:fleet:x", "1", "dead:1"}, clock.steady() + 10s));
    CHECK(lock->acquire("x", 60s));  // lapsed long ago
  }
}

TEST_CASE("hosts share an advisory lock of PostgreSQL, which a dead host gives back") {
  base::SystemClock clock;
  const nexus::test::PostgresServer server;
  const auto lock_of = [&](int host) {
    return make_postgres_fleet(clock, fleet_of(2), server.section(), "host" + std::to_string(host),
                               0s);
  };
  compete(lock_of, 8, 2);
  const auto lock = lock_of(1);
  auto first = lock->acquire("x", 60s);
  auto second = lock->acquire("x", 60s);
  REQUIRE(first);
  REQUIRE(second);
  CHECK(lock->acquire("x", 60s).error().code() == Errc::kConflict);
  first->reset();  // its connection ends, as it does with a host that dies
  while (!lock->acquire("x", 60s)) std::this_thread::yield();
}

TEST_CASE("a restarted server gives no place until those who hold one have told it again") {
  base::SystemClock clock;
  // The holder tells its server ten times a second; whoever asks waits for much longer.
  constexpr Millis kWait = 8s;
  const auto check = [&](FleetLock& holder, FleetLock& other,
                         const std::function<void()>& restart) {
    const auto fresh = other.acquire("x", 60s);
    REQUIRE_FALSE(fresh);
    CHECK(fresh.error().code() == Errc::kUnavailable);
    CHECK_THAT(fresh.error().message(), Catch::Contains("has started just now"));
    auto held = holder.acquire("x", 60s);
    REQUIRE(held);
    restart();
    Result<std::unique_ptr<FleetPlace>> asked;
    REQUIRE(nexus::test::eventually([&] {
      asked = other.acquire("x", 60s);
      return asked || asked.error().code() != Errc::kUnavailable;
    }));
    // As soon as it would give one, it knows again that it is taken.
    REQUIRE_FALSE(asked);
    CHECK(asked.error().code() == Errc::kConflict);
    const auto before = (*held)->token();
    held->reset();
    // PostgreSQL gives it when it has seen the end of the connection.
    REQUIRE(nexus::test::eventually([&] {
      asked = other.acquire("x", 60s);
      return asked.has_value();
    }));
    CHECK((*asked)->token() > before);
  };
  SECTION("Redis, which keeps nothing on disk") {
    nexus::test::RedisServer server;
    const auto holder = make_redis_fleet(clock, fleet_of(1), server.section(), "one", 0s);
    const auto other = make_redis_fleet(clock, fleet_of(1), server.section(), "other", kWait);
    check(*holder, *other, [&] {
      server.stop();
      server.start();
    });
  }
  SECTION("PostgreSQL, whose locks end with it") {
    nexus::test::PostgresServer server;
    const auto holder = make_postgres_fleet(clock, fleet_of(1), server.section(), "one", 0s);
    const auto other = make_postgres_fleet(clock, fleet_of(1), server.section(), "other", kWait);
    check(*holder, *other, [&] {
      server.stop();
      server.start();
    });
  }
}

TEST_CASE(
    "a lock that cannot be asked, or whose places are taken, keeps an action from beginning") {
  base::SystemClock clock;
  const TemporaryDirectory directory;
  Bench bench(clock);
  bench.executor->start();
  config::RedisSection nowhere;
  nowhere.host = directory.file("no.sock");
  bench.config.fleet = fleet_of(1);
  bench.config.fleet.lock = "redis";
  bench.config.connections.redis = nowhere;
  bench.configure();
  const auto unreachable = bench.run(bench.action("true"));
  CHECK(unreachable.state == ActionState::kCancelled);
  CHECK(unreachable.outcome.reason_code == "fleet_unreachable");
  CHECK_FALSE(unreachable.started);
  const nexus::test::RedisServer server;
  bench.config.connections.redis = server.section();
  bench.configure();
  CHECK(bench.run(bench.action("true")).outcome.reason_code ==
        "fleet_unreachable");  // just started
  bench.executor->set_fleet(
      make_redis_fleet(clock, bench.config.fleet, server.section(), "this", 0s));
  const auto done = bench.run(bench.action("true"));
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_THAT(done.outcome.fleet, Catch::Contains("nexus:fleet:run_command, token "));
  // What it runs can have it checked.
  bench.config.commands.push_back(Bench::command("env", {"/usr/bin/env"}));
  bench.configure();
  auto told = bench.run(bench.action("env"));
  // The place of the action before is given back after its end.
  while (told.outcome.reason_code == "fleet_lock") told = bench.run(bench.action("env"));
  const auto token = told.outcome.fleet.substr(told.outcome.fleet.rfind(' ') + 1);
  CHECK_THAT(told.outcome.output, Catch::Contains("NEXUS_FENCING_TOKEN=" + token + "\n"));
  auto other = make_redis_fleet(clock, fleet_of(1), server.section(), "other", 0s);
  auto place = other->acquire("run_command", 60s);
  while (!place) place = other->acquire("run_command", 60s);  // the action's is given back by now
  const auto taken = bench.run(bench.action("true"));
  CHECK(taken.outcome.reason_code == "fleet_lock");
  CHECK_THAT(taken.outcome.result, Catch::Contains("other"));
  bench.config.fleet.actions = {"*_service"};
  bench.configure();
  CHECK(bench.run(bench.action("true")).state == ActionState::kSucceeded);
}

TEST_CASE("the test of two samples: values of scipy.stats.mannwhitneyu, asymptotic, one side") {
  const std::vector<double> low{1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<double> high{5, 6, 7, 8, 9, 10, 11, 12};
  const auto test = mann_whitney(low, high);
  // U = 8 with ties 5, 6, 7, 8: sigma^2 = 64 / 12 * (17 - 24 / 240), z = -23.5 / sigma
  CHECK(test.p_less == Approx(0.006652).epsilon(0.001));
  CHECK(test.delta == Approx(0.75));
  const auto other = mann_whitney(high, low);
  CHECK(other.p_less > 0.99);
  CHECK(other.delta == Approx(-0.75));
  const std::vector<double> same(10, 3.0);
  CHECK(mann_whitney(same, same).p_less == 1);
  CHECK(mann_whitney(same, same).delta == 0);
}

TEST_CASE(
    "values that follow each other prove less: a drifting metric is seldom taken for better") {
  std::mt19937 random(7);
  std::normal_distribution<double> noise;
  const auto window = [&] {  // autoregressive, of first order
    std::vector<double> out{noise(random)};
    for (int i = 0; i < 20; ++i) out[0] = 0.9 * out[0] + noise(random);
    while (out.size() < 300) out.push_back(0.9 * out.back() + noise(random));
    return out;
  };
  int plain = 0;
  int widened = 0;
  constexpr int kTries = 1000;
  for (int i = 0; i < kTries; ++i) {
    const auto before = window();
    const auto after = window();  // nothing has changed
    const double dependence = std::max(dependence_of(before), dependence_of(after));
    CHECK(dependence > 5);
    plain += mann_whitney(after, before).p_less < 0.05 ? 1 : 0;
    widened += mann_whitney(after, before, dependence).p_less < 0.05 ? 1 : 0;
  }
  CHECK(plain > kTries / 5);  // one in twenty is what is said
  CHECK(widened < kTries / 10);
  const std::vector<double> steady(10, 3.0);
  CHECK(dependence_of(steady) == 1);
  const std::vector<double> alternating{1, 2, 1, 2, 1, 2, 1, 2};
  CHECK(dependence_of(alternating) == 1);
}

TEST_CASE("an experiment keeps what is proven better and undoes the rest") {
  base::ManualClock clock;
  Bench bench(clock);
  bench.executor->start();
  const auto start = base::to_unix_millis(clock.wall());
  for (int i = 60; i > 0; --i) bench.samples.set("latency", start - i * 1000, 100 + i % 7);
  auto action = bench.action("true");
  action.experiment = config::ExperimentConfig{
      .metric = {"latency", {}}, .better = "lower", .before = 60s, .after = 60s};
  double after = 50;
  bool keeps = true;
  SECTION("better by half") {}
  SECTION("no better") {
    after = 100;
    keeps = false;
  }
  SECTION("not measured any more") {
    after = -1;
    keeps = false;
  }
  REQUIRE(bench.executor->submit(action));
  bench.until(action.id, ActionState::kVerifying);
  for (int i = 1; i <= 60 && after > 0; ++i)
    bench.samples.set("latency", start + i * 1000, after + i % 7);
  while (bench.journaled(action.id) == ActionState::kVerifying) {
    clock.advance(1s);
    std::this_thread::yield();
  }
  const auto ended = bench.wait(1).front();
  CHECK(ended.state == (keeps ? ActionState::kSucceeded : ActionState::kUnverified));
  CHECK(ended.outcome.verified == keeps);
  CHECK_THAT(ended.outcome.experiment, Catch::Contains(keeps ? "\"keep\"" : "\"undo\""));
  CHECK(bench.journal->get(ended.id).value().outcome.experiment == ended.outcome.experiment);
}

TEST_CASE("experiments, whose windows take minutes, leave a worker for what is urgent") {
  base::ManualClock clock;
  Bench bench(clock);
  bench.config.operations.max_concurrent_actions = 2;
  bench.configure();
  bench.executor->start();
  auto first = bench.action("true");
  first.experiment = config::ExperimentConfig{
      .metric = {"latency", {}}, .better = "lower", .before = 60s, .after = 60s};
  auto second = bench.action("echo");
  second.experiment = first.experiment;
  REQUIRE(bench.executor->submit(first));
  REQUIRE(bench.executor->submit(second));
  CHECK(bench.run(bench.action("false")).state == ActionState::kFailed);
  bench.until(first.id, ActionState::kVerifying);
  CHECK(bench.journaled(second.id) == ActionState::kQueued);
  while (bench.journaled(second.id) == ActionState::kQueued) {
    clock.advance(1s);
    std::this_thread::yield();
  }
}

TEST_CASE("a condition that is false or has no answer holds an action back") {
  base::ManualClock clock;
  Bench bench(clock);
  bench.executor->start();
  auto action = bench.action("true");
  action.only_if = "load < bool 5";
  CHECK(bench.run(action).outcome.reason_code == "missing_data");
  bench.samples.set("load", base::to_unix_millis(clock.wall()), 9);
  action.id = bench.action("true").id;
  CHECK(bench.run(action).outcome.reason_code == "condition");
  clock.advance(1s);
  bench.samples.set("load", base::to_unix_millis(clock.wall()), 1);
  action.id = bench.action("true").id;
  CHECK(bench.run(action).state == ActionState::kSucceeded);
}

TEST_CASE("the kill switch ends a command in the middle") {
  base::SystemClock clock;
  Bench bench(clock);
  std::atomic<bool> stopped{false};
  bench.executor->set_halted([&] { return stopped.load(); });
  bench.executor->start();
  const auto action = bench.action("sleep");
  REQUIRE(bench.executor->submit(action));
  bench.until(action.id, ActionState::kRunning);
  stopped = true;
  const auto ended = bench.wait(1).front();
  CHECK(ended.state == ActionState::kCancelled);
  CHECK_THAT(ended.outcome.result, Catch::Contains("operations were stopped"));
}

TEST_CASE("what is told, and what is kept of the host before a step") {
  base::SystemClock clock;
  Bench bench(clock);
  std::vector<Notice> told;
  bench.executor->set_notifier([&](const Notice& notice) {
    told.push_back(notice);
    return Status{};
  });
  bench.executor->set_witness([](const Action& a) { return "{\"about\":\"" + a.target + "\"}"; });
  bench.executor->start();
  auto notice = bench.action("web");
  notice.type = "notify";
  notice.parameters = {{"message", std::string("web is down")}};
  const auto done = bench.run(notice);
  CHECK(done.state == ActionState::kSucceeded);
  REQUIRE(told.size() == 1);
  CHECK(told[0].text == "web is down");
  CHECK(told[0].severity == config::Severity::kCritical);
  CHECK(done.outcome.evidence.empty());  // it destroys no traces
  CHECK(bench.run(bench.action("true")).outcome.evidence == "{\"about\":\"true\"}");
  notice.parameters["severity"] = std::string("loud");
  CHECK_THAT(bench.executor->validate(notice).error().message(), Catch::Contains("loud"));
}
