// The watcher against a real systemd: tests/testbed/room_systemd.py boots one and runs these in
// it.
#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <iostream>

#include "drivers/machine.hpp"

using namespace nexus;
using namespace nexus::drivers;
using namespace nexus::drivers::testing;
using host::UnitJob;
using namespace std::chrono_literals;

namespace {

const std::string kSleeper = "[Service]\nExecStart=/usr/bin/sleep infinity\n";

struct Watch {
  base::SystemClock clock;
  Systemd systemd{clock};
  UnitPrivileged privileged{clock};
  EventLog log{clock};
  std::size_t at = 0;  // events before it have been looked at

  void job(UnitJob what, const TestUnit& unit) {
    const auto done = privileged.unit_job(what, unit.name(), {.deadline = clock.steady() + kLong});
    INFO((done ? "" : done.error().message()));
    REQUIRE(done);
  }
  UnitEvent wait(const std::string& state) {
    return log.wait(
        at, [&](const UnitStatus& s) { return s.active_state + "/" + s.sub_state == state; });
  }
  void kill_main(const TestUnit& unit) {
    const auto pid = static_cast<pid_t>(systemd.status(unit.name()).value().main_pid);
    REQUIRE(pid > 1);
    REQUIRE(::kill(pid, SIGKILL) == 0);
  }
};

}  // namespace

TEST_CASE("each watched unit is reported once at the start, also one that does not exist",
          "[.systemd]") {
  Watch w;
  const TestUnit running("nexus-test-web.service", kSleeper);
  const TestUnit idle("nexus-test-idle.service", kSleeper);
  w.job(UnitJob::kStart, running);
  const UnitWatcher watcher(
      w.clock, {"nexus-test-web", "nexus-test-web.service", "nexus-test-idle", "nexus-no-such"},
      w.log.callback());
  std::vector<UnitStatus> seen;
  while (seen.size() < 3)
    seen.push_back(w.log.wait(w.at, [](const UnitStatus&) { return true; }).status);
  std::ranges::sort(seen, {}, &UnitStatus::name);
  CHECK(seen[0].name == "nexus-no-such.service");
  CHECK(seen[0].load_state == "not-found");
  CHECK(seen[1].name == "nexus-test-idle.service");
  CHECK(seen[1].active_state == "inactive");
  CHECK(seen[2].active_state == "active");
  CHECK(seen[2].main_pid > 1);
  CHECK(seen[2].invocation_id.size() == 32);
  // Signals that follow show that nothing else was reported in between.
  w.kill_main(running);
  CHECK(w.wait("failed/failed").status.name == running.name());
  CHECK(w.at == 4);
  CHECK(watcher.connected());
  CHECK(watcher.reconnects() == 0);
}

TEST_CASE("a main process killed with SIGKILL is reported with its result", "[.systemd]") {
  Watch w;
  const TestUnit unit("nexus-test-web.service", kSleeper);
  const UnitWatcher watcher(w.clock, {unit.name()}, w.log.callback());
  std::vector<Nanos> latencies;
  for (int round = 0; round < 20; ++round) {
    REQUIRE(w.privileged.reset_unit(unit.name()));
    w.job(UnitJob::kStart, unit);
    const auto active = w.wait("active/running");
    CHECK(active.status.result == "success");
    const SteadyTime killed = w.clock.steady();
    REQUIRE(::kill(static_cast<pid_t>(active.status.main_pid), SIGKILL) == 0);
    const auto failed = w.wait("failed/failed");
    latencies.push_back(failed.received - killed);
    CHECK(failed.status.result == "signal");
    CHECK(failed.status.main_pid == 0);
    CHECK(failed.status.invocation_id == active.status.invocation_id);
    CHECK(failed.status.state_change >= active.status.state_change);
  }
  std::ranges::sort(latencies);
  const auto millis = [](Nanos t) { return std::chrono::duration<double, std::milli>(t).count(); };
  std::cout << fmt::format(
      "SIGKILL to callback, 20 times: median {:.2f} ms, worst {:.2f} "
      "ms\n",
      millis(latencies[10]), millis(latencies.back()));
}

TEST_CASE("every transition is reported in order, also of a unit that restarts at once",
          "[.systemd]") {
  Watch w;
  const TestUnit unit("nexus-test-again.service",
                      kSleeper + "Restart=always\nRestartSec=1ms\nStartLimitBurst=100\n");
  w.job(UnitJob::kStart, unit);
  const UnitWatcher watcher(w.clock, {unit.name()}, w.log.callback());
  const auto before = w.wait("active/running");
  const std::size_t from = w.at;
  w.kill_main(unit);
  const auto after = w.wait("active/running");
  const auto states = w.log.states(from);
  CHECK(std::ranges::find(states, "activating/auto-restart") != states.end());
  CHECK(after.status.restarts == before.status.restarts + 1);
  CHECK(after.status.main_pid != before.status.main_pid);
  CHECK(after.status.invocation_id != before.status.invocation_id);
}

TEST_CASE("a reload of systemd reports nothing by itself, and what it changed", "[.systemd]") {
  Watch w;
  const TestUnit unit("nexus-test-web.service", kSleeper);
  w.job(UnitJob::kStart, unit);
  const UnitWatcher watcher(w.clock, {unit.name(), "nexus-test-later.service"}, w.log.callback());
  w.log.wait(w.at, [](const UnitStatus&) { return true; });
  w.log.wait(w.at, [](const UnitStatus&) { return true; });
  const std::size_t from = w.log.size();
  for (int i = 0; i < 3; ++i) systemctl({"daemon-reload"});
  const TestUnit later("nexus-test-later.service", kSleeper);
  const auto appeared =
      w.log.wait(w.at, [&](const UnitStatus& s) { return s.name == later.name(); });
  CHECK(appeared.status.load_state == "loaded");
  CHECK(w.at == from + 1);
  w.job(UnitJob::kStart, later);
  CHECK(w.wait("active/running").status.name == later.name());
  w.kill_main(unit);
  CHECK(w.wait("failed/failed").status.name == unit.name());
}

TEST_CASE("a unit that systemd had forgotten is followed when it starts, and when it vanishes",
          "[.systemd]") {
  Watch w;
  const UnitWatcher watcher(w.clock, {"nexus-test-transient"}, w.log.callback());
  CHECK(w.log.wait(w.at, [](const UnitStatus&) { return true; }).status.load_state == "not-found");
  {
    const TestUnit unit("nexus-test-transient.service", kSleeper);
    w.job(UnitJob::kStart, unit);
    CHECK(w.wait("active/running").status.main_pid > 1);
    w.job(UnitJob::kStop, unit);
    CHECK(w.wait("inactive/dead").status.main_pid == 0);
    w.job(UnitJob::kStart, unit);
    w.wait("active/running");
  }
  w.wait("inactive/dead");
  w.log.wait(w.at, [](const UnitStatus& s) { return s.load_state == "not-found"; });
}

TEST_CASE("a unit is followed by an alias too", "[.systemd]") {
  Watch w;
  const TestUnit unit("nexus-test-real.service",
                      kSleeper + "[Install]\nAlias=nexus-test-alias.service\n");
  systemctl({"enable", "--runtime", unit.name()});
  w.job(UnitJob::kStart, unit);
  {
    const UnitWatcher watcher(w.clock, {"nexus-test-alias"}, w.log.callback());
    const auto event = w.wait("active/running");
    CHECK(event.watched == "nexus-test-alias.service");
    CHECK(event.status.name == unit.name());  // what the executor learns its names from
    w.kill_main(unit);
    CHECK(w.wait("failed/failed").watched == "nexus-test-alias.service");
  }
  systemctl({"disable", "--runtime", unit.name()});
}

TEST_CASE("after the bus was restarted the watcher comes back and reports again", "[.systemd]") {
  Watch w;
  const TestUnit unit("nexus-test-web.service", kSleeper);
  w.job(UnitJob::kStart, unit);
  const UnitWatcher watcher(w.clock, {unit.name()}, w.log.callback());
  for (std::uint64_t round = 1; round <= 2; ++round) {
    w.wait("active/running");
    systemctl({"restart", "dbus.service"});
    w.wait("active/running");  // the present state, once it is back
    for (const auto end = w.clock.steady() + kLong;
         !watcher.connected() && w.clock.steady() < end;) {
    }
    CHECK(watcher.reconnects() == round);
    systemctl({"kill", "--signal=KILL", unit.name()});
    CHECK(w.wait("failed/failed").status.result == "signal");
    systemctl({"start", unit.name()});
  }
}

TEST_CASE("after systemd was executed anew the watcher still reports", "[.systemd]") {
  Watch w;
  const TestUnit unit("nexus-test-web.service", kSleeper);
  w.job(UnitJob::kStart, unit);
  const UnitWatcher watcher(w.clock, {unit.name()}, w.log.callback());
  w.wait("active/running");
  systemctl({"daemon-reexec"});
  systemctl({"kill", "--signal=KILL", unit.name()});
  w.wait("failed/failed");
  systemctl({"start", unit.name()});
  w.wait("active/running");
}

TEST_CASE("more units than the bus allows match rules are watched", "[.systemd]") {
  Watch w;
  std::vector<std::string> names;
  for (int i = 0; i < 700; ++i) names.push_back(fmt::format("nexus-test-many-{}.service", i));
  const TestUnit unit(names[650], kSleeper);
  const UnitWatcher watcher(w.clock, names, w.log.callback());
  for (int i = 0; i < 700; ++i) w.log.wait(w.at, [](const UnitStatus&) { return true; });
  w.job(UnitJob::kStart, unit);
  CHECK(w.wait("active/running").status.name == unit.name());
  w.kill_main(unit);
  CHECK(w.wait("failed/failed").status.name == unit.name());
  CHECK(watcher.reconnects() == 0);
}

TEST_CASE("systemd's private socket is watched as well", "[.systemd]") {
  Watch w;
  const TestUnit unit("nexus-test-web.service", kSleeper);
  w.job(UnitJob::kStart, unit);
  const UnitWatcher watcher(w.clock, {unit.name()}, w.log.callback(),
                            "unix:path=/run/systemd/private");
  w.wait("active/running");
  w.kill_main(unit);
  w.wait("failed/failed");
}
