// Against a real systemd: tests/testbed/room_systemd.py boots one and runs these in it.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "drivers/machine.hpp"

using namespace nexus;
using namespace nexus::drivers;
using namespace nexus::drivers::testing;
using host::UnitJob;
using namespace std::chrono_literals;

namespace {

const std::string kSleeper =
    "[Unit]\nDescription=A sleeper\n[Service]\nExecStart=/usr/bin/sleep infinity\n";
const std::string kFalse = "[Service]\nType=oneshot\nExecStart=/usr/bin/false\n";
const std::string kSlow =
    "[Service]\nType=oneshot\nExecStart=/usr/bin/sleep infinity\nTimeoutStartSec=infinity\n";

struct Machine {
  base::SystemClock clock;
  Systemd systemd{clock};
  UnitPrivileged privileged{clock};

  UnitStatus status(const std::string& unit) { return systemd.status(unit).value(); }
  Result<host::JobOutcome> job(UnitJob what, const std::string& unit) {
    return privileged.unit_job(what, unit, {.deadline = clock.steady() + kLong});
  }
};

void check_error(const Error& error, Errc code, const std::string& contains) {
  INFO(error.message());
  CHECK(base::to_string(error.code()) == base::to_string(code));
  CHECK_THAT(error.message(), Catch::Contains(contains));
}

}  // namespace

TEST_CASE("a service is started, restarted, reloaded and stopped", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-web.service", kSleeper + "ExecReload=/bin/true\nRestart=no\n");
  CHECK(m.systemd.status("nexus-test-web").value().active_state == "inactive");
  CHECK(m.systemd.status("nexus-test-web").value().invocation_id.empty());
  int queued = 0;
  const auto started =
      m.privileged.unit_job(UnitJob::kStart, "nexus-test-web",
                            {.deadline = m.clock.steady() + kLong, .queued = [&] { ++queued; }});
  REQUIRE(started);
  CHECK(started->result == "done");
  CHECK(queued == 1);

  const auto first = m.systemd.status("nexus-test-web").value();
  CHECK(first.name == "nexus-test-web.service");
  CHECK(first.description == "A sleeper");
  CHECK(first.load_state == "loaded");
  CHECK(first.active_state == "active");
  CHECK(first.sub_state == "running");
  CHECK(first.result == "success");
  CHECK(first.type == "simple");
  CHECK(first.restart == "no");
  CHECK(first.main_pid > 1);
  CHECK(first.invocation_id.size() == 32);
  CHECK(first.start_job.empty());
  CHECK(first.active_enter > m.clock.wall() - kLong);
  CHECK(first.active_enter <= m.clock.wall());

  REQUIRE(m.job(UnitJob::kReload, "nexus-test-web"));
  CHECK(m.systemd.status("nexus-test-web").value().main_pid == first.main_pid);
  REQUIRE(m.job(UnitJob::kRestart, "nexus-test-web"));
  const auto second = m.systemd.status("nexus-test-web").value();
  CHECK(second.main_pid != first.main_pid);
  CHECK(second.invocation_id != first.invocation_id);
  REQUIRE(m.job(UnitJob::kStop, "nexus-test-web"));
  CHECK(m.systemd.status("nexus-test-web").value().active_state == "inactive");
}

TEST_CASE("a job that fails is a conflict that quotes its result and the unit's", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-false.service", kFalse);
  const auto failed = m.job(UnitJob::kStart, unit.name());
  REQUIRE_FALSE(failed);
  check_error(failed.error(), Errc::kConflict, "start nexus-test-false.service");
  check_error(failed.error(), Errc::kConflict, "result exit-code");
  CHECK(m.systemd.status(unit.name()).value().active_state == "failed");
  CHECK(m.systemd.status(unit.name()).value().result == "exit-code");
  REQUIRE(m.privileged.reset_unit(unit.name()));
  CHECK(m.systemd.status(unit.name()).value().active_state == "inactive");
}

TEST_CASE("the start limit refuses a start until it is reset", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-limit.service",
                      "[Unit]\nStartLimitBurst=1\nStartLimitIntervalSec=1h\n" + kSleeper);
  // A target that wants it keeps systemd from forgetting the unit, and its count with it.
  const TestUnit pin("nexus-test-pin.target", "[Unit]\nWants=nexus-test-limit.service\n");
  REQUIRE(m.job(UnitJob::kStart, pin.name()));
  REQUIRE(m.job(UnitJob::kStop, unit.name()));
  const auto refused = m.job(UnitJob::kStart, unit.name());
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::kConflict, "start-limit-hit");
  CHECK(m.systemd.status(unit.name()).value().result == "start-limit-hit");
  REQUIRE(m.privileged.reset_unit(unit.name()));
  CHECK(m.job(UnitJob::kStart, unit.name()));
}

TEST_CASE("a unit that does not exist is not found by any verb", "[.systemd]") {
  Machine m;
  check_error(m.systemd.status("nexus-no-such").error(), Errc::kNotFound, "nexus-no-such.service");
  for (const UnitJob verb :
       {UnitJob::kStart, UnitJob::kStop, UnitJob::kRestart, UnitJob::kReload}) {
    check_error(m.job(verb, "nexus-no-such").error(), Errc::kNotFound,
                std::string(to_string(verb)) + " nexus-no-such.service");
  }
  check_error(m.privileged.reset_unit("nexus-no-such").error(), Errc::kNotFound,
              "nexus-no-such.service");
}

TEST_CASE("a masked unit, and one that cannot be reloaded, are conflicts", "[.systemd]") {
  Machine m;
  const TestUnit masked("nexus-test-masked.service",
                        "");  // an empty unit file masks, as a link to /dev/null does
  CHECK(m.systemd.status(masked.name()).value().load_state == "masked");
  check_error(m.job(UnitJob::kStart, masked.name()).error(), Errc::kConflict, "masked");
  const TestUnit plain("nexus-test-plain.service", kSleeper);
  REQUIRE(m.job(UnitJob::kStart, plain.name()));
  check_error(m.job(UnitJob::kReload, plain.name()).error(), Errc::kConflict,
              "reload nexus-test-plain.service");
}

TEST_CASE("a unit whose file is broken is a conflict", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-broken.service", "[Service]\nType=notify\n");
  CHECK(m.systemd.status(unit.name()).value().load_state == "bad-setting");
  check_error(m.job(UnitJob::kStart, unit.name()).error(), Errc::kConflict,
              "nexus-test-broken.service");
}

TEST_CASE("at the time limit the job is cancelled", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-slow.service", kSlow);
  base::ManualClock clock;
  UnitPrivileged privileged(clock);
  const auto late = privileged.unit_job(
      UnitJob::kStart, unit.name(),
      {.deadline = clock.steady() + 5min, .queued = [&] { clock.advance(5min); }});
  REQUIRE_FALSE(late);
  check_error(late.error(), Errc::kTimeout, "start nexus-test-slow.service");
  CHECK(m.systemd.status(unit.name()).value().start_job.empty());
  const auto none = privileged.unit_job(UnitJob::kStart, unit.name(), {.deadline = clock.steady()});
  check_error(none.error(), Errc::kTimeout, "time limit");
}

TEST_CASE("left alone, a job goes on without the one who queued it", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-slow.service", kSlow);
  std::atomic<bool> accepted{false};
  const auto left = m.privileged.unit_job(UnitJob::kStart, unit.name(),
                                          {.deadline = base::kForever,
                                           .cancelled = {},
                                           .queued = [&] { accepted = true; },
                                           .leaving = [&] { return accepted.load(); }});
  REQUIRE(left);
  CHECK(left->result == "left");
  CHECK_FALSE(m.status(unit.name()).start_job.empty());
}

namespace {

/// systemd waits for its generators, and does nothing else meanwhile; longer than kCallLimit.
class BusySystemd {
 public:
  BusySystemd() {
    const std::filesystem::path folder = "/run/systemd/system-generators";
    const auto generator = folder / "nexus-test-slow";
    std::filesystem::create_directories(folder);
    std::ofstream(generator) << "#!/bin/sh\ntouch " << begun_.string() << "\nexec sleep 7\n";
    std::filesystem::permissions(generator, std::filesystem::perms::owner_all);
    reload_ = std::thread([this] { reloaded_ = try_systemctl({"daemon-reload"}); });
    while (!std::filesystem::exists(begun_)) std::this_thread::yield();
    std::filesystem::remove(generator);
  }
  ~BusySystemd() {
    reload_.join();
    std::filesystem::remove(begun_);
    CHECK(reloaded_);
  }
  BusySystemd(const BusySystemd&) = delete;

 private:
  const std::filesystem::path begun_ = "/run/nexus-test-reload";
  Status reloaded_;
  std::thread reload_;
};

}  // namespace

TEST_CASE("a systemd that takes longer than a call may is waited for", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-web.service", kSleeper);
  const BusySystemd busy;
  const auto job = m.job(UnitJob::kRestart, unit.name());
  INFO((job ? "" : job.error().message()));
  REQUIRE(job);
  CHECK(job->took > 5s);
  CHECK(m.status(unit.name()).active_state == "active");
}

TEST_CASE("left before systemd has acknowledged it, a job was asked for and no more",
          "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-web.service", kSleeper);
  const BusySystemd busy;
  const auto left = m.privileged.unit_job(
      UnitJob::kRestart, unit.name(),
      {.deadline = base::kForever, .cancelled = {}, .queued = {}, .leaving = [] { return true; }});
  INFO((left ? "" : left.error().message()));
  REQUIRE(left);
  CHECK(left->result == "asked");
}

TEST_CASE("a cancelled call cancels its job", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-slow.service", kSlow);
  std::atomic<bool> accepted{false};
  const auto cancelled = m.privileged.unit_job(UnitJob::kStart, unit.name(),
                                               {.deadline = base::kForever,
                                                .cancelled = [&] { return accepted.load(); },
                                                .queued = [&] { accepted = true; }});
  REQUIRE_FALSE(cancelled);
  check_error(cancelled.error(), Errc::kCancelled, "start nexus-test-slow.service");
  CHECK(m.systemd.status(unit.name()).value().start_job.empty());
}

TEST_CASE("a job that somebody else replaces or a dependency stops is a conflict", "[.systemd]") {
  Machine m;
  const TestUnit slow("nexus-test-slow.service", kSlow);
  std::thread other;
  const auto replaced = m.privileged.unit_job(
      UnitJob::kStart, slow.name(),
      {.deadline = m.clock.steady() + kLong,
       .queued = [&] { other = std::thread([&] { CHECK(m.job(UnitJob::kStop, slow.name())); }); }});
  other.join();
  REQUIRE_FALSE(replaced);
  check_error(replaced.error(), Errc::kConflict, "\"canceled\"");

  const TestUnit needed("nexus-test-false.service", kFalse);
  const TestUnit needs(
      "nexus-test-needs.service",
      "[Unit]\nRequires=nexus-test-false.service\nAfter=nexus-test-false.service\n" + kSleeper);
  check_error(m.job(UnitJob::kStart, needs.name()).error(), Errc::kConflict, "\"dependency\"");
}

TEST_CASE("a job's own time limit is a time-out", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-slow.service", "[Unit]\nJobRunningTimeoutSec=100ms\n" + kSlow);
  check_error(m.job(UnitJob::kStart, unit.name()).error(), Errc::kTimeout, "\"timeout\"");
}

TEST_CASE("while a job takes its time, queries and other jobs go on", "[.systemd]") {
  Machine m;
  const TestUnit slow("nexus-test-slow.service", kSlow);
  const TestUnit quick("nexus-test-quick.service", kSleeper);
  std::atomic<bool> enough{false};
  std::atomic<bool> accepted{false};
  std::thread waiting([&] {
    const auto job = m.privileged.unit_job(UnitJob::kStart, slow.name(),
                                           {.deadline = base::kForever,
                                            .cancelled = [&] { return enough.load(); },
                                            .queued =
                                                [&] {
                                                  accepted = true;
                                                  accepted.notify_all();
                                                }});
    CHECK(job.error().code() == Errc::kCancelled);
  });
  accepted.wait(false);
  // Accepted is not begun: systemd runs the job when it comes round to it.
  while (m.systemd.status(slow.name()).value().active_state != "activating") {
  }
  CHECK_FALSE(m.systemd.status(slow.name()).value().start_job.empty());
  CHECK(m.job(UnitJob::kRestart, quick.name()));
  std::vector<std::thread> askers;
  std::atomic<int> right{0};
  for (int i = 0; i < 8; ++i) {
    askers.emplace_back([&] {
      for (int n = 0; n < 20; ++n)
        right += m.systemd.status(quick.name()).value().sub_state == "running" ? 1 : 0;
    });
  }
  for (std::thread& asker : askers) asker.join();
  CHECK(right == 160);
  enough = true;
  waiting.join();
}

TEST_CASE("without rights a job is refused, and reading is allowed", "[.systemd]") {
  const TestUnit unit("nexus-test-web.service", kSleeper);
  const pid_t child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(10);
    Machine m;
    if (!m.systemd.status(unit.name())) _exit(11);
    const auto refused = m.job(UnitJob::kStart, unit.name());
    _exit(refused ? 12 : static_cast<int>(refused.error().code()));
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == static_cast<int>(Errc::kPermissionDenied));
}

TEST_CASE("the list of units has states and service types, also after a change", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-list.service", kSleeper);
  REQUIRE(m.job(UnitJob::kStart, unit.name()));
  const auto find = [&] {
    const auto units = m.systemd.list_units().value();
    const auto found = std::ranges::find(units, unit.name(), &UnitSummary::name);
    REQUIRE(found != units.end());
    return *found;
  };
  CHECK(find().active_state == "active");
  CHECK(find().sub_state == "running");
  CHECK(find().load_state == "loaded");
  CHECK(find().type == "simple");
  unit.rewrite("[Service]\nType=exec\nExecStart=/usr/bin/sleep infinity\n");
  CHECK(find().type == "exec");
}

TEST_CASE("numbers of many units come in one batch", "[.systemd]") {
  Machine m;
  const TestUnit socket("nexus-test-numbers.socket",
                        "[Socket]\nListenStream=/run/nexus-test-numbers.sock\nAccept=yes\n");
  const TestUnit instance("nexus-test-numbers@.service",
                          "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n");
  const TestUnit service("nexus-test-numbers-web.service", kSleeper);
  REQUIRE(m.job(UnitJob::kStart, socket.name()));
  REQUIRE(m.job(UnitJob::kStart, service.name()));
  std::vector<UnitProperty> wanted = {{socket.name(), "Socket", "NAccepted"},
                                      {socket.name(), "Socket", "NConnections"},
                                      {socket.name(), "Socket", "NRefused"},
                                      {service.name(), "Service", "NRestarts"},
                                      {service.name(), "Service", "TasksCurrent"},
                                      {service.name(), "Unit", "ActiveEnterTimestamp"},
                                      {service.name(), "Service", "NoSuchThing"},
                                      {service.name(), "Service", "Type"},
                                      {"nexus-test-none.socket", "Socket", "NAccepted"}};
  for (int i = 0; i < 500; ++i) wanted.push_back({service.name(), "Service", "NRestarts"});
  const auto numbers = m.systemd.unit_numbers(wanted);
  REQUIRE(numbers);
  REQUIRE(numbers->size() == wanted.size());
  CHECK((*numbers)[0] == 0U);
  CHECK((*numbers)[1] == 0U);
  CHECK((*numbers)[2] == 0U);
  CHECK((*numbers)[3] == 0U);
  const std::uint64_t tasks = (*numbers)[4].value();
  CHECK((tasks == 1 || tasks == ~0ULL));  // systemd's word for: no pids controller here
  const auto entered = m.status(service.name()).active_enter.time_since_epoch();
  CHECK((*numbers)[5].value() / 1000 == static_cast<std::uint64_t>(entered.count()));
  CHECK_FALSE((*numbers)[6].has_value());
  CHECK_FALSE((*numbers)[7].has_value());  // a word
  for (std::size_t i = 9; i < wanted.size(); ++i) CHECK((*numbers)[i] == 0U);
  CHECK(m.systemd.unit_numbers({})->empty());
  CHECK(m.systemd.virtualization().has_value());
}

TEST_CASE("a unit whose file has changed since it was loaded is told with its files",
          "[.systemd]") {
  Machine m;
  const TestUnit edited("nexus-test-edited.service", kSleeper);
  const TestUnit other("nexus-test-loaded.service", kSleeper);
  const std::vector<std::string> asked = {"nexus-test-edited", other.name(),
                                          "nexus-test-none.service"};
  REQUIRE(m.job(UnitJob::kStart, edited.name()));
  REQUIRE(m.job(UnitJob::kStart, other.name()));
  CHECK(m.systemd.stale_units(asked)->empty());
  const std::string drop_in = "/run/systemd/system/" + edited.name() + ".d";
  std::filesystem::create_directories(drop_in);
  std::ofstream(drop_in + "/nice.conf") << "[Service]\nNice=1\n";
  systemctl({"daemon-reload"});
  CHECK(m.systemd.stale_units(asked)->empty());
  std::ofstream(drop_in + "/nice.conf") << "[Service]\nNice=2\n";
  // Not by chance of the same time as before.
  std::filesystem::last_write_time(drop_in + "/nice.conf",
                                   std::filesystem::file_time_type::clock::now() + 10s);
  const auto stale = m.systemd.stale_units(asked);
  REQUIRE(stale);
  REQUIRE(stale->size() == 1);
  CHECK(stale->front().name == "nexus-test-edited");
  CHECK(stale->front().files ==
        std::vector<std::string>{"/run/systemd/system/" + edited.name(), drop_in + "/nice.conf"});
  systemctl({"daemon-reload"});
  CHECK(m.systemd.stale_units(asked)->empty());
  std::filesystem::remove_all(drop_in);
}

TEST_CASE("the manager tells its version and state", "[.systemd]") {
  Machine m;
  CHECK_THAT(m.systemd.version().value(), Catch::Matches("[0-9]+.*"));
  CHECK_THAT(m.systemd.system_state().value(), Catch::Matches("running|degraded"));
}

TEST_CASE("after the bus was restarted calls work again", "[.systemd]") {
  Machine m;
  const TestUnit unit("nexus-test-web.service", kSleeper);
  REQUIRE(m.systemd.status(unit.name()));
  systemctl({"restart", "dbus.service"});
  auto status = m.systemd.status(unit.name());
  // systemd takes a moment to come back to the new bus.
  for (const auto end = m.clock.steady() + kLong; !status && m.clock.steady() < end;) {
    CHECK(status.error().code() == Errc::kUnavailable);
    status = m.systemd.status(unit.name());
  }
  CHECK(status);
  CHECK(m.job(UnitJob::kStart, unit.name()));
}

TEST_CASE("systemd's private socket serves when there is no bus", "[.systemd]") {
  base::SystemClock clock;
  const TestUnit unit("nexus-test-web.service", kSleeper);
  const auto use = [&](const std::string& address) {
    Systemd systemd(clock, address);
    UnitPrivileged privileged(clock, address);
    CHECK(
        privileged.unit_job(UnitJob::kRestart, unit.name(), {.deadline = clock.steady() + kLong}));
    CHECK(systemd.status(unit.name()).value().active_state == "active");
    CHECK(systemd.list_units().value().size() > 10);
    const auto none =
        privileged.unit_job(UnitJob::kStart, "nexus-no-such", {.deadline = clock.steady() + kLong});
    check_error(none.error(), Errc::kNotFound, "no-such");
  };
  use("unix:path=/run/systemd/private");
  REQUIRE(setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/nowhere", 1) == 0);
  use("");
  unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
}
