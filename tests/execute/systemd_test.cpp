// Unit jobs that take long, against a real systemd: tests/testbed/room_systemd.py boots one and
// runs these in it.
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <thread>

#include "nexus/drivers/unit_requirements.hpp"
#include "unit_machine.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;
using drivers::testing::kLong;
using drivers::testing::TestUnit;

namespace {

/// A service whose stop, or whose start, takes as long as a file is there.
class Gate {
 public:
  Gate() { close(); }
  void close() const { std::ofstream(path()).put('\n'); }
  void open() const { std::filesystem::remove(path()); }
  [[nodiscard]] std::string wait() const {
    return fmt::format("/bin/sh -c 'while test -e {}; do sleep 0.02; done'", path());
  }
  [[nodiscard]] std::string path() const { return directory_.file("closed"); }

 private:
  TemporaryDirectory directory_;
};

std::string slow_stop(const Gate& gate) {
  return "[Service]\nExecStart=/usr/bin/sleep infinity\nTimeoutStopSec=infinity\nExecStop=" +
         gate.wait() + "\n";
}

std::string slow_start(const Gate& gate) {
  return "[Service]\nTimeoutStartSec=infinity\nExecStartPre=" + gate.wait() +
         "\nExecStart=/usr/bin/sleep infinity\n";
}

}  // namespace

TEST_CASE("stopped in the middle of a restart, the agent leaves the job and finds it done later",
          "[.systemd]") {
  Machine m;
  const Gate gate;
  const TestUnit unit("nexus-test-slow.service", slow_stop(gate));
  m.start(unit);
  const auto first = m.status(unit);
  m.bench.executor->start();
  const auto action = m.action("restart_service", unit);
  REQUIRE(m.bench.executor->submit(action));
  m.await(unit, "deactivating");
  m.bench.executor->stop(0ms);
  CHECK(m.bench.finished.empty());
  CHECK(m.bench.journaled(action.id) == ActionState::kRunning);
  CHECK_FALSE(m.status(unit).start_job.empty());

  Bench after(m.clock, m.directory.file("state.db"), &m.systemd);
  REQUIRE(after.executor->recover());
  after.executor->start();
  SECTION("it is under way when the agent is back, and is followed") {
    CHECK(after.executor->in_flight(unit.name()));
    gate.open();
    const auto ended = after.wait(1).front();
    INFO(ended.outcome.result);
    CHECK(ended.id == action.id);
    CHECK(ended.state == ActionState::kSucceeded);
    CHECK(ended.outcome.verified == true);
    CHECK_THAT(ended.outcome.result, Catch::Contains("followed to its end"));
    CHECK(ended.detection_to_start_seconds);
    CHECK(m.status(unit).active_state == "active");
    CHECK(m.status(unit).invocation_id != first.invocation_id);
  }
  SECTION("the agent is stopped a second time, and the job goes on") {
    after.executor->stop(0ms);
    CHECK(after.finished.empty());
    CHECK(after.journaled(action.id) == ActionState::kRunning);
    gate.open();
    m.await(unit, "active");
    CHECK(m.status(unit).invocation_id != first.invocation_id);
  }
  SECTION("cancelled by a person it is not followed further") {
    REQUIRE(after.executor->cancel(action.id, "alice"));
    const auto ended = after.wait(1).front();
    CHECK(ended.state == ActionState::kCancelled);
    CHECK_THAT(ended.outcome.result, Catch::Contains("cancelled by alice"));
    gate.open();
  }
}

TEST_CASE("a restart that is given up while it stops the service starts it again", "[.systemd]") {
  Machine m;
  const Gate gate;
  const TestUnit unit("nexus-test-slow.service", slow_stop(gate));
  m.start(unit);
  const auto first = m.status(unit);
  m.bench.executor->start();
  auto action = m.action("restart_service", unit);
  SECTION("by its time limit") {
    action.timeout = 5s;  // long enough for a busy systemd to have begun
    REQUIRE(m.bench.executor->submit(action));
    const auto ended = m.bench.wait(1).front();
    CHECK(ended.state == ActionState::kFailed);
    CHECK_THAT(ended.outcome.result, Catch::Contains("the time limit was reached"));
  }
  SECTION("by a person") {
    REQUIRE(m.bench.executor->submit(action));
    m.await(unit, "deactivating");
    REQUIRE(m.bench.executor->cancel(action.id, "alice"));
    const auto ended = m.bench.wait(1).front();
    CHECK(ended.state == ActionState::kCancelled);
    CHECK_THAT(ended.outcome.result, Catch::StartsWith("cancelled by alice"));
  }
  const auto result = m.bench.finished.front().outcome.result;
  CHECK_THAT(result, Catch::Contains("is deactivating") &&
                         Catch::Contains("had stopped it, a job to start it again is queued"));
  gate.open();
  m.await(unit, "active");
  CHECK(m.status(unit).invocation_id != first.invocation_id);
}

TEST_CASE("a start or a stop that is given up says what state it left", "[.systemd]") {
  Machine m;
  const Gate gate;
  m.bench.executor->start();
  SECTION("start") {
    const TestUnit unit("nexus-test-slow.service", slow_start(gate));
    auto action = m.action("start_service", unit);
    action.timeout = 5s;  // long enough for a busy systemd to have begun
    const auto ended = m.bench.run(action);
    CHECK(ended.state == ActionState::kFailed);
    CHECK_THAT(ended.outcome.result,
               Catch::Contains("the time limit was reached") &&
                   Catch::EndsWith("nexus-test-slow.service is activating (start-pre)"));
  }
  SECTION("stop") {
    const TestUnit unit("nexus-test-slow.service", slow_stop(gate));
    m.start(unit);
    auto action = m.action("stop_service", unit);
    action.timeout = 5s;  // long enough for a busy systemd to have begun
    const auto ended = m.bench.run(action);
    CHECK(ended.state == ActionState::kFailed);
    CHECK_THAT(ended.outcome.result,
               Catch::EndsWith("nexus-test-slow.service is deactivating (stop)"));
    gate.open();
    m.await(unit, "inactive");
  }
}

TEST_CASE("an alias hides no protected unit, and is resolved to its unit", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-aliased.service",
                      "[Service]\nExecStart=/usr/bin/sleep infinity\n");
  const auto alias = std::string("/run/systemd/system/nexus-test-alias.service");
  std::filesystem::create_symlink("nexus-test-aliased.service", alias);
  drivers::testing::systemctl({"daemon-reload"});
  m.bench.config.guardrails.protected_units = {"nexus-test-alias"};
  m.bench.configure();
  m.bench.executor->start();
  CHECK(m.bench.executor->resolve("restart_service", "nexus-test-alias.service") ==
        "nexus-test-alias.service");
  CHECK_FALSE(m.bench.executor->name_known("restart_service", "nexus-test-alias.service"));
  m.bench.executor->tick();
  CHECK(m.bench.executor->name_known("restart_service", "nexus-test-alias.service"));
  CHECK(m.bench.executor->resolve("restart_service", "nexus-test-alias.service") == unit.name());
  CHECK(m.bench.executor->resolve("restart_service", unit.name()) == unit.name());
  const auto ended = m.bench.run(m.action("restart_service", unit));
  std::filesystem::remove(alias);
  CHECK(ended.state == ActionState::kFailed);
  CHECK_THAT(ended.outcome.result, Catch::Contains("is protected"));
}

TEST_CASE("a service's limits are set at run time, read back, and undone when in vain",
          "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-limits.service",
                      "[Service]\nExecStart=/usr/bin/sleep infinity\nTasksMax=100\n");
  m.start(unit);
  m.bench.executor->start();
  const auto number = [&](const char* property) {
    const std::array<drivers::UnitProperty, 1> asked{{{unit.name(), "Service", property}}};
    return m.systemd.unit_numbers(asked).value().front();
  };
  auto memory = m.action("adjust_memory", unit);
  memory.parameters = {{"memory_max", std::string("256MiB")},
                       {"memory_high", std::string("128MiB")}};
  auto dry = memory;
  dry.id = base::make_id(m.clock.wall());
  dry.dry_run = true;
  const auto would = m.bench.run(dry).outcome.would_do;
  CHECK_THAT(would, Catch::Contains("MemoryMax from infinity to 256.0 MiB"));
  CHECK(number("MemoryMax") == std::numeric_limits<std::uint64_t>::max());
  const auto set = m.bench.run(memory);
  INFO(set.outcome.result);
  CHECK(set.state == ActionState::kSucceeded);
  CHECK(set.outcome.verified == true);
  CHECK(number("MemoryMax") == 256ULL << 20);
  CHECK(number("MemoryHigh") == 128ULL << 20);

  auto more = m.action("adjust_memory", unit);
  more.parameters = {{"memory_max", std::string("+50%")}};
  more.verify = config::VerifyConfig{.expr = {"pressure < 1", {}}, .within = 1ms};
  const auto undone = m.bench.run(more);
  CHECK(undone.state == ActionState::kUnverified);
  CHECK(undone.outcome.undone == "undone: MemoryMax is 256.0 MiB again");
  CHECK(number("MemoryMax") == 256ULL << 20);

  auto tune = m.action("performance_tuning", unit);
  tune.parameters = {{"cpu_weight", std::int64_t{50}},
                     {"cpu_quota", std::int64_t{150}},
                     {"tasks_max", std::int64_t{200}}};
  const auto tuned = m.bench.run(tune);
  INFO(tuned.outcome.result);
  CHECK(tuned.state == ActionState::kSucceeded);
  CHECK(number("CPUWeight") == 50);
  CHECK(number("CPUQuotaPerSecUSec") == 1'500'000);
  CHECK(number("TasksMax") == 200);

  const auto changed = [&] {
    std::vector<std::string> out;
    const auto kept = m.bench.executor->kept().value();
    for (const auto& one : kept) {
      for (const auto& value : one.values) {
        if (!value.as_set)
          out.push_back(fmt::format("{}: {}, not {}", value.name, value.found, value.wanted));
      }
    }
    return out;
  };
  CHECK(m.bench.executor->kept()->size() == 2);
  CHECK(changed().empty());
  drivers::testing::systemctl(
      {"set-property", "--runtime", unit.name(), "MemoryMax=300M", "CPUQuota=75%"});
  CHECK(changed() == std::vector<std::string>{"CPUQuotaPerSecUSec: 75%, not 150%",
                                              "MemoryMax: 300.0 MiB, not 256.0 MiB"});

  auto ssh = m.action("adjust_memory", unit);
  ssh.target = "ssh.service";
  ssh.parameters = memory.parameters;
  CHECK_THAT(m.bench.executor->validate(ssh).error().message(), Catch::Contains("is protected"));
}

TEST_CASE("a limit is not taken back below what the service takes meanwhile", "[.systemd]") {
  Machine m;
  const Gate gate;
  const TestUnit unit(
      "nexus-test-grows.service",
      "[Service]\nMemoryMax=64M\nTasksMax=20\nExecStart=/bin/sh -c 'while test -e " + gate.path() +
          "; do sleep 0.02; done; "
          "dd if=/dev/zero of=/dev/shm/nexus-test-grows bs=1M count=80; "
          "exec sleep infinity'\nExecStopPost=/bin/rm -f /dev/shm/nexus-test-grows\n");
  m.start(unit);
  const auto number = [&](const char* property) {
    const std::array<drivers::UnitProperty, 1> asked{{{unit.name(), "Service", property}}};
    return m.systemd.unit_numbers(asked).value().front().value_or(0);
  };
  if (number("MemoryCurrent") == std::numeric_limits<std::uint64_t>::max()) {
    WARN("the kernel does not count the memory of services here: table_test has the rule alone");
    return;
  }
  m.bench.samples.when_asked = [&] {  // it grows into its new limit while it is verified
    gate.open();
    for (const auto end = m.clock.steady() + kLong;
         number("MemoryCurrent") < 80ULL << 20 && m.clock.steady() < end;)
      std::this_thread::yield();
  };
  m.bench.executor->start();
  auto more = m.action("adjust_memory", unit);
  more.parameters = {{"memory_max", std::string("+100%")}};
  more.verify = config::VerifyConfig{.expr = {"pressure < 1", {}}, .within = 1ms};
  const auto done = m.bench.run(more);
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kUnverified);
  CHECK_THAT(done.outcome.undone, Catch::Contains("not undone: left as it was set") &&
                                      Catch::Contains("MemoryMax is never set below 110 %"));
  CHECK(number("MemoryMax") == 128ULL << 20);
  CHECK(m.status(unit).active_state == "active");

  const auto refused = [&](const char* parameter, const char* value) {
    auto less = m.action("adjust_memory", unit);
    less.parameters = {{parameter, std::string(value)}};
    const auto ended = m.bench.run(less);
    CHECK(ended.state == ActionState::kFailed);
    return ended.outcome.result;
  };
  CHECK_THAT(refused("memory_max", "81MiB"), Catch::Contains("never set below 110 %"));
  CHECK_THAT(refused("memory_high", "1MiB"), Catch::Contains("never set below 50 %"));
}

TEST_CASE("a remedy does not restart a service that somebody has started anew meanwhile",
          "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-anew.service", "[Service]\nExecStart=/usr/bin/sleep infinity\n");
  m.start(unit);
  const auto failed = m.status(unit);
  m.bench.executor->learn_run(unit.name(), failed.invocation_id);
  auto remedied = m.action("restart_service", unit);
  remedied.remedy = "r";
  REQUIRE(m.bench.executor->submit(remedied));  // decided on about this run
  drivers::testing::systemctl({"restart", unit.name()});
  const auto anew = m.status(unit);
  REQUIRE(anew.invocation_id != failed.invocation_id);
  m.bench.executor->start();
  const auto ended = m.bench.wait(1).front();
  CHECK(ended.state == ActionState::kCancelled);
  CHECK(ended.outcome.reason_code == "identity");
  CHECK_FALSE(ended.started);
  CHECK(m.status(unit).invocation_id == anew.invocation_id);
  // Of the run that it is about, it is restarted.
  m.bench.executor->learn_run(unit.name(), anew.invocation_id);
  remedied.id = m.bench.action("x").id;
  CHECK(m.bench.run(remedied).state == ActionState::kSucceeded);
  CHECK(m.status(unit).invocation_id != anew.invocation_id);
}

TEST_CASE("a ladder restarts a service that a reload did not help", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-ladder.service",
                      "[Service]\nExecStart=/usr/bin/sleep infinity\nExecReload=/bin/false\n");
  m.start(unit);
  const auto first = m.status(unit);
  m.bench.executor->start();
  auto ladder = m.action("composite", unit);
  for (const auto* type : {"reload_service", "restart_service"}) {
    ladder.rungs.push_back({.type = type,
                            .target = unit.name(),
                            .parameters = {},
                            .verify = std::nullopt,
                            .timeout = kLong,
                            .action_id = {}});
  }
  const auto ended = m.bench.run(ladder);
  INFO(ended.outcome.result);
  CHECK(ended.state == ActionState::kSucceeded);
  const auto rungs = m.bench.journal->rungs_of(ended.id).value();
  REQUIRE(rungs.size() == 2);
  CHECK(rungs[0].state == ActionState::kFailed);
  CHECK(rungs[1].state == ActionState::kSucceeded);
  CHECK(m.status(unit).invocation_id != first.invocation_id);
}

TEST_CASE("what a unit requires is what systemd says", "[.systemd]") {
  const TestUnit needed("nexus-test-needed.service",
                        "[Service]\nExecStart=/usr/bin/sleep infinity\n");
  const TestUnit unit(
      "nexus-test-needs.service",
      "[Unit]\nRequires=nexus-test-needed.service\nWants=nexus-test-wanted.service\n"
      "[Service]\nExecStart=/usr/bin/sleep infinity\n");
  const auto found = drivers::unit_requirements("nexus-test-needs");
  REQUIRE(found);
  CHECK(std::ranges::find(*found, needed.name()) != found->end());
  CHECK(std::ranges::find(*found, "nexus-test-wanted.service") == found->end());
  CHECK(std::ranges::none_of(*found, [](const auto& name) { return name.ends_with(".slice"); }));
}
