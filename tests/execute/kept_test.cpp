// What actions have set, compared with what is there: real kernel parameters, in a network of the
// test's own.
#include <sched.h>

#include "bench.hpp"
#include "execute/kept.hpp"
#include "nexus/execute/undone.hpp"
#include "nexus/host/privileged.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;

namespace {

constexpr auto kName = "net.core.somaxconn";

std::string shown(const Result<std::vector<Kept>>& all) {
  if (!all) return all.error().message();
  std::string out;
  for (const auto& one : *all) {
    for (const auto& value : one.values)
      out += fmt::format("{}: {} {} {} ", value.name, value.wanted, value.found,
                         value.as_set ? "as set" : "changed");
    out += one.unknown;
  }
  return out;
}

/// In a thread that has a network of its own: what it sets is nobody else's.
std::vector<std::string> in_own_network() {
  std::vector<std::string> seen;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) return;  // needs root, as other tests do
    base::SystemClock clock;
    Bench bench(clock);
    bench.executor->start();
    std::size_t count = 0;
    // What has ended is heard of while it is in flight still, and "being set" until it is not.
    const auto landed = [&] {
      while (bench.executor->in_flight(kName)) std::this_thread::yield();
    };
    const auto run = [&](std::string type, config::Parameters parameters, bool dry = false) {
      auto action = bench.action(kName);
      action.type = std::move(type);
      action.parameters = std::move(parameters);
      action.dry_run = dry;
      std::ignore = bench.executor->submit(action);
      const auto ended = bench.wait(++count).back();
      landed();
      return ended;
    };
    const auto note = [&] { seen.push_back(shown(bench.executor->kept())); };
    run("network_optimization", {{"value", "1111"}}, true);
    note();
    const auto first = run("network_optimization", {{"value", "1234"}});
    note();
    const auto second = run("network_optimization", {{"value", "2345"}});
    note();
    std::ignore = bench.privileged.set_sysctl(kName, "3456");  // somebody else
    note();
    run("undo_action", {{"action", second.id}});  // in vain: it is not as it was set
    note();
    run("network_optimization", {{"value", "4567"}});
    note();
    // Another is done, and is not known yet to have helped: it is nobody else's value.
    auto slow = bench.action(kName);
    slow.type = "network_optimization";
    slow.parameters = {{"value", "5678"}};
    slow.verify = config::VerifyConfig{.expr = {"helped == 1", {}}, .within = Millis(600'000)};
    std::ignore = bench.executor->submit(slow);
    bench.until(slow.id, ActionState::kVerifying);
    note();
    std::ignore = bench.executor->cancel(slow.id, "test");
    bench.wait(++count);
    landed();
    note();
  }).join();
  return seen;
}

}  // namespace

TEST_CASE("what was set last is compared; what is not wanted any more is not") {
  CHECK(in_own_network() ==
        std::vector<std::string>{
            "", "net.core.somaxconn: 1234 1234 as set ", "net.core.somaxconn: 2345 2345 as set ",
            "net.core.somaxconn: 2345 3456 changed ", "", "net.core.somaxconn: 4567 4567 as set ",
            "it is being set, or taken back", "net.core.somaxconn: 4567 4567 as set "});
}

namespace {

struct Memory {
  Action set(std::string target, std::string value, WallTime created, WallTime finished) {
    Action out;
    out.id = base::make_id(created);
    out.type = "performance_tuning";
    out.target = std::move(target);
    out.parameters = {{"value", std::move(value)}};
    out.created = created;
    out.started = finished;
    out.finished = finished;
    out.state = ActionState::kSucceeded;
    out.outcome.before = "{}";
    return out;
  }
  Action rollback(const Action& of, ActionState state, bool begun) {
    Action out = set(of.target, "", *of.finished, *of.finished + Millis(1000));
    out.type = "undo_action";
    out.parameters = {{"action", of.id}};
    out.state = state;
    if (!begun) out.started.reset();
    return out;
  }
  void end(const Action& action) {
    REQUIRE(journal->write(action));
    kept.heed(action);
  }
  static std::string shown(const KeptSettings& all) {
    std::string out;
    for (const auto& one : all.standing())
      out +=
          one.action.target + " " + std::get<std::string>(one.action.parameters.at("value")) + " ";
    return out;
  }
  /// As it has been told, and as an agent reads it after its start.
  std::string now() {
    REQUIRE(kept.read(*journal));
    KeptSettings after;
    REQUIRE(after.read(*journal));
    CHECK(shown(after) == shown(kept));
    return shown(kept);
  }

  base::ManualClock clock;
  std::unique_ptr<knowledge::StateDb> db = *knowledge::StateDb::open(":memory:");
  std::unique_ptr<Journal> journal = *Journal::open(clock, *db);
  KeptSettings kept;
  const WallTime noon = clock.wall();
};

}  // namespace

TEST_CASE("the last to end has set it, however long it had waited for approval") {
  using namespace std::chrono_literals;
  Memory m;
  m.end(m.set("a", "later", m.noon + 1h, m.noon + 1h));
  m.end(m.set("a", "approved", m.noon, m.noon + 2h));
  CHECK(m.now() == "a approved ");
}

TEST_CASE("what may have been left without success is compared with nothing, until it is undone") {
  using namespace std::chrono_literals;
  Memory m;
  m.end(m.set("a", "1", m.noon, m.noon));
  auto second = m.set("a", "2", m.noon + 1h, m.noon + 1h);
  SECTION("in vain") {
    second.state = ActionState::kUnverified;
  }
  SECTION("cancelled") {
    second.state = ActionState::kCancelled;
  }
  SECTION("the agent ended") {
    second.state = ActionState::kInterrupted;
  }
  SECTION("half-way") {
    second.state = ActionState::kFailed;
    second.outcome.after = R"({"value":"2"})";
  }
  if (second.state == ActionState::kSucceeded) return;
  second.outcome.undone = std::string(kNotUndone) + "read-only";
  m.end(second);
  CHECK(m.now().empty());
  second.outcome.undone = "undone: it is 1 again";
  m.end(second);
  CHECK(m.now() == "a 1 ");
  m.end(m.set("a", "3", m.noon + 2h, m.noon + 2h));
  CHECK(m.now() == "a 3 ");
}

TEST_CASE("what was never done leaves what was set before") {
  using namespace std::chrono_literals;
  Memory m;
  m.end(m.set("a", "1", m.noon, m.noon));
  auto second = m.set("a", "2", m.noon + 1h, m.noon + 1h);
  SECTION("refused before it began") {
    second.state = ActionState::kCancelled;
    second.started.reset();
  }
  SECTION("failed and has changed nothing") {
    second.state = ActionState::kFailed;
    second.outcome.after = second.outcome.before;
  }
  SECTION("a dry run") {
    second.dry_run = true;
  }
  m.end(second);
  CHECK(m.now() == (second.state == ActionState::kSucceeded && !second.dry_run ? "a 2 " : "a 1 "));
}

TEST_CASE("a rollback that was not let run says nothing of what was set") {
  Memory m;
  const auto first = m.set("a", "1", m.noon, m.noon);
  m.end(first);
  m.end(m.rollback(first, ActionState::kCancelled, false));
  m.end(m.rollback(first, ActionState::kExpired, false));
  m.end(m.rollback(first, ActionState::kFailed, false));
  CHECK(m.now() == "a 1 ");
  m.end(m.rollback(first, ActionState::kFailed, true));  // found another value
  CHECK(m.now().empty());
}

TEST_CASE("one setting that is set again and again takes the place of no other") {
  using namespace std::chrono_literals;
  Memory m;
  m.end(m.set("b", "1", m.noon, m.noon));
  for (int i = 0; i < 1100; ++i)
    m.end(m.set("a", std::to_string(i), m.noon + i * 1s, m.noon + i * 1s));
  CHECK(m.now() == "a 1099 b 1 ");
}
