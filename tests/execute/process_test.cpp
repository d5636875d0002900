// kill_process and renice_process on real processes.
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "bench.hpp"
#include "execute/process_guard.hpp"
#include "nexus/execute/fleet.hpp"
#include "nexus/execute/service_manager.hpp"
#include "nexus/execute/undone.hpp"
#include "nexus/host/privileged.hpp"
#include "support/server.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

namespace {

/// A shell command, killed and reaped with the object.
class Child {
 public:
  explicit Child(std::string script) {
    std::array<char*, 4> argv{const_cast<char*>("sh"), const_cast<char*>("-c"), script.data(),
                              nullptr};
    REQUIRE(::posix_spawn(&pid_, "/bin/sh", nullptr, nullptr, argv.data(), environ) == 0);
    id_ = host::process_facts({.pid = pid_}).value().id;
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] host::ProcessId id() const { return id_; }
  [[nodiscard]] std::string target() const { return host::to_string(id_); }
  [[nodiscard]] bool runs() const {
    const auto facts = host::process_facts(id_);
    return facts && facts->state != 'Z';
  }

 private:
  pid_t pid_ = 0;
  host::ProcessId id_;
};

struct Room {
  Room() { bench.executor->start(); }
  Action action(std::string type, const std::string& target, config::Parameters parameters = {}) {
    auto out = bench.action(target);
    out.type = std::move(type);
    out.parameters = std::move(parameters);
    return out;
  }
  std::string invalid(const std::string& target) {
    const auto ok = bench.executor->validate(action("kill_process", target));
    return ok ? "" : ok.error().message();
  }
  base::SystemClock clock;
  Bench bench{clock};
};

/// A file that a script makes when it is ready.
class Ready {
 public:
  [[nodiscard]] std::string path() const { return directory_.file("ready"); }
  void await() const {
    REQUIRE(nexus::test::eventually([&] { return std::filesystem::exists(path()); }));
  }

 private:
  TemporaryDirectory directory_;
};

}  // namespace

TEST_CASE("a process is ended by SIGTERM, and the dry run says which") {
  Room room;
  const Child child("exec sleep 1000");
  auto dry = room.action("kill_process", child.target());
  dry.dry_run = true;
  const auto would = room.bench.run(dry).outcome.would_do;
  CHECK_THAT(would, Catch::StartsWith("would send SIGTERM to process " + child.target()));
  CHECK_THAT(would, Catch::Contains("SIGKILL when it has not ended within 10s"));
  CHECK(child.runs());
  const auto done = room.bench.run(room.action("kill_process", child.target()));
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(done.outcome.verified == true);
  CHECK_THAT(done.outcome.result, Catch::Contains("ended after SIGTERM"));
  CHECK_FALSE(child.runs());
  CHECK_THAT(done.outcome.before, Catch::Contains(child.target()));
}

TEST_CASE("a signal that is not meant to end a process is sent, and nothing more is expected") {
  Room room;
  const Ready ready;
  const Ready heard;
  const Child child("trap ': > " + heard.path() + "' HUP; : > " + ready.path() +
                    "; while :; do sleep 0.05; done");
  ready.await();
  const auto done =
      room.bench.run(room.action("kill_process", child.target(), {{"signal", std::string("HUP")}}));
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_FALSE(done.outcome.verified);
  heard.await();
  CHECK(child.runs());
  const auto wrong = room.action("kill_process", child.target(), {{"signal", std::string("STOP")}});
  CHECK_THAT(room.bench.executor->validate(wrong).error().message(),
             Catch::Contains("expected one of TERM, KILL"));
}

TEST_CASE("SIGKILL follows when the time to end has passed") {
  Room room;
  const Ready ready;
  const Child child("trap '' TERM; : > " + ready.path() + "; while :; do sleep 0.05; done");
  ready.await();
  const auto done = room.bench.run(
      room.action("kill_process", child.target(), {{"kill_after", std::string("200ms")}}));
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_THAT(done.outcome.result, Catch::Contains("and was killed"));
  CHECK_FALSE(child.runs());
}

TEST_CASE("another process under the same pid is never touched") {
  Room room;
  const Child child("exec sleep 1000");
  const host::ProcessId other{.pid = child.id().pid, .start = child.id().start + 1};
  CHECK_THAT(room.invalid(host::to_string(other)),
             Catch::Contains("has ended: its pid belongs to"));
  auto& privileged = room.bench.privileged;
  CHECK(privileged.signal(other, SIGKILL, 0ms).error().code() == Errc::kNotFound);
  CHECK(privileged.set_nice(other, 5).error().code() == Errc::kNotFound);
  CHECK(child.runs());
  // Neither a pid alone nor a name is enough, and the answer says what is.
  CHECK_THAT(room.invalid(std::to_string(child.id().pid)),
             Catch::Contains(" is " + child.target() + " now"));
  CHECK_THAT(room.invalid("sleep"), Catch::Contains("expected a process as PID:START"));
  CHECK_THAT(room.invalid("0:1"), Catch::Contains("expected a process as PID:START"));
  auto named = room.action("kill_process", child.target(), {{"name", std::string("nginx")}});
  CHECK_THAT(room.bench.executor->validate(named).error().message(), Catch::Contains("not nginx"));
}

TEST_CASE("the init process, kernel threads, the agent and protected units are never touched") {
  Room room;
  const auto target_of = [](pid_t pid) {
    return host::to_string(host::process_facts({.pid = pid}).value().id);
  };
  CHECK_THAT(*process_protected(host::process_facts({.pid = 1}).value(), room.bench.config),
             Catch::Contains("is protected: it is the init process"));
  CHECK_THAT(room.invalid(target_of(::getpid())), Catch::Contains("it is this agent"));
  if (::getppid() > 1)
    CHECK_THAT(room.invalid(target_of(::getppid())), Catch::Contains("is protected"));
  const config::Config& config = room.bench.config;
  host::ProcessFacts facts;
  facts.id = {.pid = 999'999'999, .start = 7};  // beyond what a kernel gives
  facts.name = "web";
  CHECK_FALSE(process_protected(facts, config));
  facts.is_kernel_thread = true;
  CHECK_THAT(*process_protected(facts, config), Catch::Contains("a thread of the kernel"));
  facts.is_kernel_thread = false;
  facts.units = {"system.slice", "ssh.service"};
  CHECK_THAT(*process_protected(facts, config), Catch::Contains("it belongs to ssh.service"));
  // A container's unit, within the unit that runs the container.
  facts.units = {"machine.slice", "systemd-nspawn@db.service", "system.slice", "nginx.service"};
  CHECK_THAT(*process_protected(facts, config),
             Catch::Contains("it belongs to systemd-nspawn@db.service"));
  facts.units = {"user.slice", "user-0.slice", "session-3.scope"};  // tmux, nohup, an editor
  CHECK_THAT(*process_protected(facts, config), Catch::Contains("session-3.scope"));
  facts.units = {"system.slice", "docker-0123.scope"};
  CHECK_FALSE(process_protected(facts, config));
  facts.units = {"system.slice", "web.service"};
  CHECK_FALSE(process_protected(facts, config));
  facts.name = "sshd-session";
  CHECK(process_protected(facts, config));  // which program it is cannot be read
  facts.program = "/usr/sbin/sshd";
  CHECK(process_protected(facts, config));
  facts.program = "/tmp/miner";  // it only calls itself so
  CHECK_FALSE(process_protected(facts, config));
  facts.name = "bash";
  facts.has_terminal = true;
  facts.session = facts.id.pid;
  CHECK_THAT(*process_protected(facts, config), Catch::Contains("somebody is logged in"));
  base::SystemClock clock;
  host::LocalPrivileged privileged(clock);
  CHECK(privileged.signal({.pid = 1, .start = 1}, SIGTERM, 0ms).error().code() ==
        Errc::kPermissionDenied);
}

TEST_CASE("a nice value is set for all threads, and taken back when it did not help") {
  Room room;
  const Child child("exec sleep 1000");
  const auto nice = [&] { return ::getpriority(PRIO_PROCESS, static_cast<id_t>(child.id().pid)); };
  const int before = nice();
  const int step = before > 9 ? -3 : 3;  // the tests themselves may run at any value
  const auto done = room.bench.run(
      room.action("renice_process", child.target(), {{"nice", std::int64_t{before + step}}}));
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(done.outcome.verified == true);
  CHECK(nice() == before + step);
  CHECK(done.outcome.undone.empty());

  auto vain =
      room.action("renice_process", child.target(), {{"nice", std::int64_t{before + 2 * step}}});
  vain.verify = config::VerifyConfig{.expr = {"load < 1", {}}, .within = 1ms};
  const auto undone = room.bench.run(vain);
  CHECK(undone.state == ActionState::kUnverified);
  CHECK(undone.outcome.undone == fmt::format("undone: the nice value is {} again", before + step));
  CHECK(nice() == before + step);
  CHECK(room.bench.journal->get(undone.id)->outcome.undone == undone.outcome.undone);

  // What somebody else has set since stays.
  const auto theirs = before + 3 * step;
  REQUIRE(::setpriority(PRIO_PROCESS, static_cast<id_t>(child.id().pid), theirs) == 0);
  auto rolled = room.action("undo_action", child.target(), {{"action", done.id}});
  const auto left = room.bench.run(rolled);
  CHECK(left.outcome.result ==
        fmt::format("left at {}: somebody else has set the nice value since", theirs));
  CHECK(nice() == theirs);
}

namespace {

/// A process whose nice value an action is to change in vain.
struct Vain {
  explicit Vain(Room& room)
      : action(room.action("renice_process", child.target(), {{"nice", std::int64_t{wanted}}})) {
    action.verify = config::VerifyConfig{.expr = {"load < 1", {}}, .within = 1ms};
  }
  [[nodiscard]] int nice() const {
    return ::getpriority(PRIO_PROCESS, static_cast<id_t>(child.id().pid));
  }

  const Child child{"exec sleep 1000"};
  const int before = nice();
  const int wanted = before > 9 ? before - 3 : before + 3;
  Action action;
};

/// Grants one place at a time, and counts.
class OnePlace final : public FleetLock {
 public:
  Result<std::unique_ptr<FleetPlace>> acquire(const std::string&, Millis) override {
    if (taken.exchange(true)) {
      ++refused;
      return fail(Errc::kConflict, "the one place is taken");
    }
    ++granted;
    return std::make_unique<Place>(*this);
  }
  std::atomic<bool> taken{false};
  std::atomic<int> granted{0};
  std::atomic<int> refused{0};

 private:
  struct Place final : FleetPlace {
    explicit Place(OnePlace& its_lock) : lock(its_lock) {}
    ~Place() override { lock.taken = false; }
    std::string describe() const override { return "the one place"; }
    std::int64_t token() const override { return 1; }
    OnePlace& lock;
  };
};

}  // namespace

TEST_CASE("what did not help is not taken back while operations are stopped") {
  Room room;
  Vain vain(room);
  std::atomic<bool> stopped{false};
  std::atomic<int> asked{0};
  std::atomic<int> looked{0};
  room.bench.executor->set_halted([&] {
    ++looked;
    return stopped.load();
  });
  // The second time is the verification: by then it is done.
  room.bench.samples.when_asked = [&] {
    if (++asked == 2) stopped = true;
  };
  REQUIRE(room.bench.executor->submit(vain.action));
  REQUIRE(nexus::test::eventually(
      [&] { return is_being_undone(room.bench.journal->get(vain.action.id).value().outcome); }));
  CHECK(vain.nice() == vain.wanted);
  SECTION("it is when they are released") {
    stopped = false;
    const auto ended = room.bench.wait(1).front();
    CHECK(ended.state == ActionState::kUnverified);
    CHECK(is_undone(ended.outcome));
    CHECK(vain.nice() == vain.before);
  }
  SECTION("also when somebody has cancelled it meanwhile") {
    REQUIRE(room.bench.executor->cancel(vain.action.id, "alice"));
    const int before = looked;
    REQUIRE(nexus::test::eventually([&] { return looked > before + 1; }));
    CHECK(vain.nice() == vain.wanted);
    CHECK(room.bench.journaled(vain.action.id) == ActionState::kVerifying);
    stopped = false;
    CHECK(is_undone(room.bench.wait(1).front().outcome));
    CHECK(vain.nice() == vain.before);
  }
  SECTION("or by the next start, when the agent ends before") {
    room.bench.executor->stop(0ms);
    CHECK(room.bench.finished.empty());
    CHECK(room.bench.journaled(vain.action.id) == ActionState::kVerifying);
    CHECK(vain.nice() == vain.wanted);
    Bench next(room.clock);
    REQUIRE(next.journal->write(room.bench.journal->get(vain.action.id).value()));
    REQUIRE(next.executor->recover());
    next.executor->start();
    CHECK(is_undone(next.wait(1).front().outcome));
    CHECK(vain.nice() == vain.before);
  }
}

TEST_CASE("of steps that all have to help the earlier ones are taken back under the fleet's lock") {
  Room room;
  Vain vain(room);
  const auto fleet = std::make_shared<OnePlace>();
  room.bench.executor->set_fleet(fleet);
  auto ladder = room.bench.action(vain.child.target());
  ladder.type = "composite";
  ladder.all_rungs = true;
  ladder.rungs = {{.type = "renice_process",
                   .target = vain.child.target(),
                   .parameters = vain.action.parameters,
                   .verify = std::nullopt,
                   .timeout = 60s,
                   .action_id = {}},
                  {.type = "run_command",
                   .target = "false",
                   .parameters = {},
                   .verify = std::nullopt,
                   .timeout = 60s,
                   .action_id = {}}};
  SECTION("at once") {
    const auto ended = room.bench.run(ladder);
    CHECK(ended.state == ActionState::kFailed);
    CHECK_THAT(ended.outcome.undone, Catch::Contains("undone: the nice value is"));
    CHECK(fleet->granted == 3);  // two steps, and the undo
    CHECK(fleet->refused == 0);  // each gives back what it has before the next one asks
  }
  SECTION("after a restart of the agent, as soon as there is a place") {
    const auto done = room.bench.run(ladder);
    // As it was before anything was taken back.
    auto climbing = room.bench.journal->get(done.id).value();
    climbing.state = ActionState::kRunning;
    climbing.finished.reset();
    climbing.outcome.undone.clear();
    auto first = room.bench.journal->get(climbing.rungs[0].action_id).value();
    const auto second = room.bench.journal->get(climbing.rungs[1].action_id).value();
    first.outcome.undone.clear();
    REQUIRE(::setpriority(PRIO_PROCESS, static_cast<id_t>(vain.child.id().pid), vain.wanted) == 0);
    Bench next(room.clock);
    next.executor->set_fleet(fleet);
    for (const auto& one : {climbing, first, second}) REQUIRE(next.journal->write(one));
    auto other = fleet->acquire("", 0ms);
    REQUIRE(other);
    REQUIRE(next.executor->recover());
    next.executor->start();
    REQUIRE(nexus::test::eventually([&] { return fleet->refused > 0; }));
    CHECK(vain.nice() == vain.wanted);
    other->reset();
    const auto ended = next.wait(1).front();
    CHECK(ended.state == ActionState::kFailed);
    CHECK(is_undone(next.journal->get(first.id).value().outcome));
  }
  CHECK(vain.nice() == vain.before);
  CHECK_FALSE(fleet->taken);
}

TEST_CASE(
    "a place among the hosts is given back while operations are stopped, and asked for anew") {
  Room room;
  Vain vain(room);
  const auto fleet = std::make_shared<OnePlace>();
  room.bench.executor->set_fleet(fleet);
  std::atomic<bool> stopped{false};
  std::atomic<int> asked{0};
  room.bench.executor->set_halted([&] { return stopped.load(); });
  room.bench.samples.when_asked = [&] {
    if (++asked == 2) stopped = true;  // the verification
  };
  REQUIRE(room.bench.executor->submit(vain.action));
  REQUIRE(nexus::test::eventually([&] { return asked >= 2 && !fleet->taken; }));
  CHECK(fleet->granted == 1);
  CHECK(vain.nice() == vain.wanted);
  stopped = false;
  CHECK(is_undone(room.bench.wait(1).front().outcome));
  CHECK(fleet->granted == 2);
  CHECK(vain.nice() == vain.before);
  REQUIRE(nexus::test::eventually([&] { return !fleet->taken; }));
}

namespace {

/// Grants so many places; then its server is away.
class AwayLock final : public FleetLock {
 public:
  explicit AwayLock(int grants) : grants_(grants) {}
  Result<std::unique_ptr<FleetPlace>> acquire(const std::string&, Millis) override {
    if (grants_-- > 0) return std::make_unique<Place>();
    ++asked;
    return fail(Errc::kUnavailable, "its server is away");
  }
  std::atomic<int> asked{0};  // in vain

 private:
  struct Place final : FleetPlace {
    std::string describe() const override { return "a place"; }
    std::int64_t token() const override { return 1; }
  };
  std::atomic<int> grants_;
};

}  // namespace

TEST_CASE("an undo does not hold its worker for the whole time limit because a server is away") {
  base::ManualClock clock;
  Bench bench(clock);
  bench.executor->start();
  const Child one("exec sleep 1000");
  const Child two("exec sleep 1000");
  const auto fleet = std::make_shared<AwayLock>(3);
  bench.executor->set_fleet(fleet);
  auto ladder = bench.action(one.target());
  ladder.type = "composite";
  ladder.all_rungs = true;
  const int nice = ::getpriority(PRIO_PROCESS, 0) > 9 ? 8 : 11;
  for (const auto* child : {&one, &two})
    ladder.rungs.push_back({.type = "renice_process",
                            .target = child->target(),
                            .parameters = {{"nice", std::int64_t{nice}}},
                            .verify = std::nullopt,
                            .timeout = 1h,
                            .action_id = {}});
  ladder.rungs.push_back({.type = "run_command",
                          .target = "false",
                          .parameters = {},
                          .verify = std::nullopt,
                          .timeout = 1h,
                          .action_id = {}});
  REQUIRE(bench.executor->submit(ladder));
  REQUIRE(nexus::test::eventually([&] {
    // Little by little: between two questions is a second of this clock at least.
    for (int i = 0; i < 100 && !plan::is_final(bench.journaled(ladder.id)); ++i)
      clock.advance(10ms);
    return plan::is_final(bench.journaled(ladder.id));
  }));
  const auto ended = bench.wait(1).front();
  INFO(ended.outcome.undone);
  CHECK(ended.state == ActionState::kFailed);
  CHECK_THAT(ended.outcome.undone, Catch::Contains("step 2 of 3") &&
                                       Catch::Contains("step 1 of 3") &&
                                       Catch::Contains("not undone: its server is away"));
  // Half a minute for the first, and once for the second.
  CHECK(fleet->asked >= 3);
  CHECK(fleet->asked <= 32);
}

TEST_CASE("what could not be undone by itself may be asked for again") {
  Room room;
  std::optional<Child> child(std::in_place, "exec sleep 1000");
  const int before = ::getpriority(PRIO_PROCESS, static_cast<id_t>(child->id().pid));
  auto vain = room.action("renice_process", child->target(),
                          {{"nice", std::int64_t{before > 9 ? before - 3 : before + 3}}});
  vain.verify = config::VerifyConfig{.expr = {"load < 1", {}}, .within = 1ms};
  const auto target = vain.target;
  std::atomic<int> asked{0};
  // The second time is the verification: by then it is done, and its process ends.
  room.bench.samples.when_asked = [&] {
    if (++asked == 2) child.reset();
  };
  const auto ended = room.bench.run(vain);
  CHECK(ended.state == ActionState::kUnverified);
  CHECK_THAT(ended.outcome.undone, Catch::StartsWith("not undone: "));
  const auto again = room.action("undo_action", target, {{"action", ended.id}});
  CHECK(room.bench.executor->validate(again));
  CHECK(room.bench.run(again).state == ActionState::kFailed);  // it is gone still
}

TEST_CASE("which unit a process belongs to is read from its control group") {
  TemporaryDirectory proc;
  const auto stat = "7 (a) b) S 1 7 7 0 -1 4194560 0 0 0 0 1 2 0 0 20 5 1 0 4711 0 100 0";
  proc.write("7/stat", stat);
  proc.write("7/cgroup", "0::/system.slice/system-web.slice/web@1.service/worker\n");
  const auto facts = host::process_facts({.pid = 7}, proc.path());
  REQUIRE(facts);
  CHECK(facts->id.start == 4711);
  CHECK(facts->name == "a) b");
  CHECK(facts->unit == "web@1.service");
  CHECK(facts->units ==
        std::vector<std::string>{"system.slice", "system-web.slice", "web@1.service"});
  CHECK(facts->nice == 5);
  CHECK_FALSE(facts->is_kernel_thread);
  proc.write("8/stat", "8 (kworker) I 2 0 0 0 -1 2129984 0 0 0 0 1 2 0 0 20 0 1 0 5 0 0 0");
  CHECK(host::process_facts({.pid = 8}, proc.path())->is_kernel_thread);
  proc.write("9/stat", "9 nothing");
  CHECK(host::process_facts({.pid = 9}, proc.path()).error().code() == Errc::kCorrupt);
  CHECK(host::process_facts({.pid = 10}, proc.path()).error().code() == Errc::kNotFound);
  const host::ProcessId id{.pid = 11, .start = 5};
  // Its first thread has left, two others run.
  proc.write("11/stat", "11 (java) Z 2 0 0 0 -1 0 0 0 0 0 1 2 0 0 20 0 3 0 5 0 0 0");
  CHECK_FALSE(host::has_ended(id, proc.path()));
  proc.write("11/stat", "11 (java) Z 2 0 0 0 -1 0 0 0 0 0 1 2 0 0 20 0 1 0 5 0 0 0");
  CHECK(host::has_ended(id, proc.path()));
  CHECK(host::has_ended({.pid = 11, .start = 6}, proc.path()));
  CHECK(host::has_ended({.pid = 12, .start = 6}, proc.path()));
}

TEST_CASE("a process that nobody manages is a service by its pid and start time") {
  Room room;
  const Ready ready;
  const Ready heard;
  const Child child("trap ': > " + heard.path() + "' HUP; : > " + ready.path() +
                    "; while :; do sleep 0.05; done");
  ready.await();
  const auto name = "process:" + child.target();
  auto* manager = service_manager("process");
  REQUIRE(manager != nullptr);
  auto context = room.bench.executor->step_context();
  const auto state =
      manager->status(child.target(), Look::kAny, context, room.clock.steady() + 10s);
  REQUIRE(state);
  CHECK(state->name == name);
  CHECK(state->condition == ServiceCondition::kUp);
  CHECK(state->main_pid == static_cast<std::uint32_t>(child.id().pid));

  CHECK(room.bench.run(room.action("reload_service", name)).state == ActionState::kSucceeded);
  heard.await();
  CHECK(child.runs());
  const auto restart = room.action("restart_service", name);
  CHECK_THAT(room.bench.executor->validate(restart).error().message(),
             Catch::Contains("nobody manages the process"));
  const auto pid_alone = room.action("stop_service", fmt::format("process:{}", child.id().pid));
  CHECK_THAT(room.bench.executor->validate(pid_alone).error().message(),
             Catch::Contains("a pid alone may be another process's by then"));
  // What it is counted on is its unit or its name: it comes back under another pid.
  CHECK_FALSE(room.bench.executor->account(room.action("stop_service", name)).empty());
  const auto done = room.bench.run(room.action("stop_service", name));
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_FALSE(child.runs());
}
