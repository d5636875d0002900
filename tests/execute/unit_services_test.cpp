// Units of systemd behind the face that all services have: instances of templates, unit files, what
// has failed. tests/testbed/room_systemd.py boots a machine and runs these in it.
#include <catch2/catch.hpp>
#include <fstream>

#include "nexus/drivers/unit_files.hpp"
#include "nexus/execute/service_manager.hpp"
#include "nexus/plan/planner.hpp"
#include "unit_machine.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

constexpr const char* kSleeper = "[Service]\nExecStart=/usr/bin/sleep infinity\n";

struct Services : Machine {
  Services() { bench.executor->start(); }
  Action ask(const std::string& type, const std::string& target,
             config::Parameters parameters = {}) {
    auto out = bench.action(target);
    out.type = type;
    out.parameters = std::move(parameters);
    return out;
  }
  Action run(const std::string& type, const std::string& target,
             config::Parameters parameters = {}) {
    return bench.run(ask(type, target, std::move(parameters)));
  }
  Action scale(const std::string& target, std::int64_t replicas) {
    return run("scale_service", target, {{"replicas", replicas}});
  }
  std::string would(const std::string& type, const std::string& target,
                    config::Parameters parameters = {}) {
    auto dry = ask(type, target, std::move(parameters));
    dry.dry_run = true;
    const auto ended = bench.run(dry);
    return ended.state == ActionState::kSucceeded ? ended.outcome.would_do : ended.outcome.result;
  }
  std::string refused(const std::string& type, const std::string& target,
                      config::Parameters parameters = {}) {
    const auto valid = bench.executor->validate(ask(type, target, std::move(parameters)));
    return valid ? "" : valid.error().message();
  }
  drivers::UnitStatus of(const std::string& name) { return systemd.status(name).value(); }
};

/// A template whose instances end with it.
class Template {
 public:
  Template(std::string stem, const std::string& text)
      : stem_(std::move(stem)), unit_(stem_ + ".service", text) {}
  ~Template() {
    std::ignore = drivers::testing::try_systemctl({"stop", stem_ + "*.service"});
    std::ignore = drivers::testing::try_systemctl({"reset-failed", stem_ + "*.service"});
  }
  [[nodiscard]] std::string instance(std::string_view name) const {
    return fmt::format("{}{}.service", stem_, name);
  }

 private:
  const std::string stem_;
  TestUnit unit_;
};

/// A file below /etc/systemd/system, where units are enabled for good.
class UnitFile {
 public:
  UnitFile(std::string name, const std::string& text)
      : name_(std::move(name)), path_("/etc/systemd/system/" + name_) {
    std::ofstream(path_) << text;
    drivers::testing::systemctl({"daemon-reload"});
  }
  ~UnitFile() {
    std::ignore = drivers::testing::try_systemctl({"disable", name_});
    std::filesystem::remove(path_);
    std::ignore = drivers::testing::try_systemctl({"daemon-reload"});
  }

 private:
  const std::string name_;
  const std::string path_;
};

}  // namespace

TEST_CASE("instances of a template are scaled as name@1 to name@n, and back", "[.systemd]") {
  Services s;
  const Template many("nexus-test-many@", kSleeper);
  drivers::testing::systemctl({"start", many.instance("blue")});
  // There is nothing to learn about the name of a template.
  CHECK(s.bench.executor->name_known("scale_service", "nexus-test-many@.service"));
  CHECK(s.would("scale_service", "nexus-test-many@", {{"replicas", std::int64_t{3}}}) ==
        "would start nexus-test-many@N for N in 1, 2, 3; would stop N in none");
  auto done = s.scale("nexus-test-many@", 3);
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(done.outcome.verified == true);
  CHECK(done.outcome.result == "3 instances of nexus-test-many@: started 1, 2, 3, stopped none");
  for (const auto* number : {"1", "2", "3"})
    CHECK(s.of(many.instance(number)).active_state == "active");

  auto context = s.bench.executor->step_context();
  const auto state = service_manager("systemd")->status("nexus-test-many@", Look::kAtHand, context,
                                                        s.clock.steady() + kLong);
  REQUIRE(state);
  CHECK(state->replicas == 3U);
  CHECK(state->ready == 3U);

  // Fewer, in vain: there are as many again.
  auto fewer = s.ask("scale_service", "nexus-test-many@.service", {{"replicas", std::int64_t{1}}});
  fewer.verify = config::VerifyConfig{.expr = {"pressure < 1", {}}, .within = 1ms};
  done = s.bench.run(fewer);
  CHECK(done.state == ActionState::kUnverified);
  CHECK_THAT(done.outcome.undone, Contains("undone: 3 instances"));
  CHECK(s.of(many.instance("3")).active_state == "active");

  const auto first = s.of(many.instance("1")).invocation_id;
  done = s.run("rolling_update", "nexus-test-many@");
  CHECK(done.outcome.result == "restarted 3 instances of nexus-test-many@, one after the other");
  CHECK(s.of(many.instance("1")).invocation_id != first);

  CHECK(s.scale("nexus-test-many@", 0).state == ActionState::kSucceeded);
  CHECK(s.of(many.instance("1")).active_state == "inactive");
  CHECK(s.of(many.instance("blue")).active_state == "active");
  CHECK_THAT(s.refused("scale_service", "nexus-test-many", {{"replicas", std::int64_t{1}}}),
             Contains("expected \"web@\""));
  CHECK_THAT(s.scale("user@", 1).outcome.result, Contains("user@1.service is protected"));
  CHECK_THAT(s.refused("rollback_deployment", "nexus-test-many@"),
             Contains("systemd keeps no earlier version of a service"));
  CHECK_THAT(s.refused("rolling_update", "nexus-test-many@", {{"image", "web:2"}}),
             Contains("units of systemd have none"));
}

TEST_CASE("an undone scaling stops what it started, and what ran before runs on", "[.systemd]") {
  Services s;
  const Template many("nexus-test-gap@", kSleeper);
  drivers::testing::systemctl({"start", many.instance("1"), many.instance("3")});
  const auto third = s.of(many.instance("3")).invocation_id;
  auto vain = s.ask("scale_service", "nexus-test-gap@", {{"replicas", std::int64_t{3}}});
  vain.verify = config::VerifyConfig{.expr = {"pressure < 1", {}}, .within = 1ms};
  const auto done = s.bench.run(vain);
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kUnverified);
  CHECK_THAT(done.outcome.undone, Contains("started none, stopped 2"));
  CHECK(s.of(many.instance("1")).active_state == "active");
  CHECK(s.of(many.instance("2")).active_state == "inactive");
  CHECK(s.of(many.instance("3")).invocation_id == third);
  CHECK(s.of(many.instance("3")).active_state == "active");

  // Called after ports, and not counted.
  drivers::testing::systemctl({"start", many.instance("6379")});
  CHECK_THAT(s.scale("nexus-test-gap@", 2).outcome.result,
             Contains("nexus-test-gap@6379 is up: what its instances are called after"));
  CHECK(s.of(many.instance("6379")).active_state == "active");
}

TEST_CASE("the kill switch lets one instance come to its end, and begins no other", "[.systemd]") {
  Services s;
  const Template many("nexus-test-halt@", kSleeper);
  CHECK(s.scale("nexus-test-halt@", 3).state == ActionState::kSucceeded);
  const auto run_of = [&](std::string_view number) {
    return s.of(many.instance(number)).invocation_id;
  };
  const std::array<std::string, 3> first{run_of("1"), run_of("2"), run_of("3")};
  s.bench.executor->set_halted([&] { return run_of("1") != first[0]; });
  auto done = s.run("rolling_update", "nexus-test-halt@");
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kCancelled);
  CHECK_THAT(done.outcome.result, Contains("1 of 3 instances were restarted"));
  CHECK(s.of(many.instance("1")).active_state == "active");
  CHECK(run_of("2") == first[1]);
  s.bench.executor->set_halted([&] { return s.of(many.instance("4")).active_state == "active"; });
  done = s.scale("nexus-test-halt@", 6);
  CHECK(done.state == ActionState::kCancelled);
  CHECK_THAT(done.outcome.result, Contains("ended before start of nexus-test-halt@5.service"));
  s.bench.executor->set_halted([] { return false; });
}

TEST_CASE("an instance that does not come up ends the scaling, and is named", "[.systemd]") {
  Services s;
  const Template bad("nexus-test-bad@", "[Service]\nExecStart=/bin/false\n");
  const auto done = s.scale("nexus-test-bad@", 2);
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("nexus-test-bad@1.service is failed (exit-code)"));
}

TEST_CASE("a unit is enabled and disabled for good, and as it was when that is in vain",
          "[.systemd]") {
  Services s;
  const std::string name = "nexus-test-boots.service";
  const UnitFile file(name, std::string(kSleeper) + "[Install]\nWantedBy=multi-user.target\n");
  const UnitFile without("nexus-test-static.service", kSleeper);
  const std::string link = "/etc/systemd/system/multi-user.target.wants/" + name;
  const auto state = [&] { return drivers::unit_file_state(name).value(); };
  REQUIRE(state() == "disabled");
  CHECK_THAT(s.would("enable_service", "nexus-test-boots"),
             Contains("would enable nexus-test-boots.service, which is disabled"));
  auto done = s.run("enable_service", name);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(done.outcome.verified == true);
  CHECK(done.outcome.result == name + " was disabled, and is enabled");
  CHECK(state() == "enabled");
  CHECK(std::filesystem::is_symlink(link));

  auto vain = s.ask("disable_service", name);
  vain.verify = config::VerifyConfig{.expr = {"pressure < 1", {}}, .within = 1ms};
  done = s.bench.run(vain);
  CHECK(done.state == ActionState::kUnverified);
  CHECK_THAT(done.outcome.undone, Contains("is enabled again"));
  CHECK(state() == "enabled");

  done = s.run("disable_service", name);
  CHECK(done.outcome.result == name + " was enabled, and is disabled");
  CHECK_FALSE(std::filesystem::is_symlink(link));

  done = s.run("enable_service", "nexus-test-static.service");
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("has no [Install] section"));
  CHECK_THAT(s.run("disable_service", "dbus.service").outcome.result, Contains("is protected"));
  // It takes nothing from anybody.
  CHECK_FALSE(plan::protected_reason("enable_service", "dbus.service", {}));
}

TEST_CASE("that a unit failed is forgotten, its start limit too", "[.systemd]") {
  Services s;
  const TestUnit unit("nexus-test-fails.service",
                      "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=1\n"
                      "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n");
  // Of one that has failed before systemd keeps telling that instead, and one that has ended it
  // forgets.
  std::ignore = drivers::testing::try_systemctl({"start", unit.name()});
  std::ignore = drivers::testing::try_systemctl({"restart", unit.name()});
  s.await(unit, "failed");
  REQUIRE(s.status(unit).result == "start-limit-hit");
  CHECK_THAT(s.would("reset_service", unit.name()), Contains("would have systemd forget"));
  const auto done = s.run("reset_service", unit.name());
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(done.outcome.result == unit.name() + " was failed (start-limit-hit), which is forgotten");
  CHECK(s.status(unit).active_state == "inactive");
}

TEST_CASE("a stop that did not help is taken back, where it ran before", "[.systemd]") {
  Services s;
  const TestUnit unit("nexus-test-stopped.service", kSleeper);
  s.start(unit);
  auto vain = s.ask("stop_service", unit.name());
  vain.verify = config::VerifyConfig{.expr = {"pressure < 1", {}}, .within = 1ms};
  auto done = s.bench.run(vain);
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kUnverified);
  CHECK(done.outcome.undone == "undone: " + unit.name() + " was started again");
  CHECK(s.status(unit).active_state == "active");
  CHECK(s.run("stop_service", unit.name()).state == ActionState::kSucceeded);
  auto again = s.ask("stop_service", unit.name());
  again.verify = vain.verify;
  done = s.bench.run(again);
  CHECK_THAT(done.outcome.undone, Contains("it did not run before"));
  CHECK(s.status(unit).active_state == "inactive");
}

TEST_CASE("a restart of what runs only leaves alone what does not", "[.systemd]") {
  Services s;
  const TestUnit unit("nexus-test-perhaps.service", kSleeper);
  const config::Parameters only{{"only_if_running", true}};
  CHECK_THAT(s.would("restart_service", unit.name(), only), Contains("would try-restart"));
  auto done = s.run("restart_service", unit.name(), only);
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(s.status(unit).active_state == "inactive");
  s.start(unit);
  const auto first = s.status(unit).invocation_id;
  done = s.run("restart_service", unit.name(), only);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(done.outcome.verified == true);
  CHECK(s.status(unit).invocation_id != first);
}

TEST_CASE("the face lists units and tells how one is", "[.systemd]") {
  Services s;
  const TestUnit unit("nexus-test-seen.service", kSleeper);
  s.start(unit);
  auto context = s.bench.executor->step_context();
  auto* manager = service_manager("systemd");
  const auto list = manager->list(context, 1000, s.clock.steady() + kLong);
  REQUIRE(list);
  const auto seen = std::ranges::find(*list, unit.name(), &ServiceState::name);
  REQUIRE(seen != list->end());
  CHECK(seen->condition == ServiceCondition::kUp);
  const auto state = manager->status(unit.name(), Look::kAtHand, context, s.clock.steady() + kLong);
  REQUIRE(state);
  CHECK(state->instance == s.status(unit).invocation_id);
  CHECK(state->main_pid == s.status(unit).main_pid);
  CHECK(state->more.at("sub_state") == "running");
  CHECK(manager
            ->status("nexus-test-nowhere.service", Look::kAtHand, context, s.clock.steady() + kLong)
            .error()
            .code() == Errc::kNotFound);
}
