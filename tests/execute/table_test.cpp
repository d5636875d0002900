#include <catch2/catch.hpp>

#include "execute/property_step.hpp"
#include "execute/service_job.hpp"
#include "nexus/config/load.hpp"
#include "nexus/execute/service_manager.hpp"
#include "nexus/execute/step.hpp"
#include "nexus/plan/planner.hpp"

using namespace nexus;
using namespace nexus::execute;
using drivers::UnitStatus;
using host::UnitJob;

namespace {

constexpr std::array<ParameterDescriptor, 4> kParameters{{
    {.name = "flag",
     .type = ParameterType::kBool,
     .required = false,
     .default_value = "false",
     .help = ""},
    {.name = "size",
     .type = ParameterType::kInteger,
     .required = true,
     .default_value = "",
     .help = ""},
    {.name = "wait",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "1s",
     .help = ""},
    {.name = "names",
     .type = ParameterType::kStrings,
     .required = false,
     .default_value = "",
     .help = ""},
}};
const ActionDescriptor kDescriptor{.name = "x", .parameters = kParameters};

std::string complaint(const config::Parameters& parameters) {
  const auto ok = check_parameters(kDescriptor, parameters);
  return ok ? "" : ok.error().message();
}

UnitStatus unit(std::string active, std::string invocation = "b") {
  UnitStatus out;
  out.name = "web.service";
  out.load_state = "loaded";
  out.active_state = std::move(active);
  out.type = "simple";
  out.result = "success";
  out.invocation_id = std::move(invocation);
  return out;
}

constexpr std::string_view kBefore = R"({"active_state":"failed","invocation_id":"a"})";

Recovered became(UnitJob job, const UnitStatus& now, std::string_view before = kBefore) {
  std::string what;
  return what_became(job, before, now, what);
}

}  // namespace

TEST_CASE("every action describes itself and is found by its name") {
  CHECK(actions().size() == 33);
  // What the planner knows of services is what the descriptors say.
  for (const auto* action : actions())
    CHECK(action->targets_units == plan::is_unit_action(action->name));
  for (const auto* action : actions()) {
    CHECK(find_action(action->name) == action);
    CHECK_FALSE(action->help.empty());
    CHECK_FALSE(action->target_help.empty());
    CHECK(action->make() != nullptr);
  }
  CHECK(find_action("restart") == nullptr);
}

TEST_CASE("what there is one of only is not scaled, whatever asks") {
  const config::Config config;
  const auto refusal = [&](std::string_view kind, const std::string& name) {
    const auto ok = service_manager(kind)->check(ServiceVerb::kScale, name, config);
    return ok ? std::string("fine") : ok.error().message();
  };
  CHECK(refusal("docker", "shop/web") == "fine");
  CHECK(refusal("docker", "web") ==
        "only services of Compose can be more or fewer: expected \"docker:PROJECT/SERVICE\", got "
        "\"docker:web\"");
  CHECK(refusal("systemd", "web@") == "fine");
  CHECK(refusal("systemd", "web.service") ==
        "only the instances of a template can be more or fewer: expected \"web@\", got "
        "\"web.service\"");
}

TEST_CASE("parameters are checked for names, types and presence") {
  CHECK(complaint({{"size", std::int64_t{1}}, {"flag", true}, {"wait", std::string("1m30s")}})
            .empty());
  CHECK(complaint({{"size", std::int64_t{1}},
                   {"wait", std::int64_t{5}},
                   {"names", std::vector<std::string>{"a"}}})
            .empty());
  CHECK(complaint({}) == "x: parameter \"size\" is missing: expected an integer");
  CHECK(complaint({{"size", 1.5}}) == "x: parameter \"size\": expected an integer");
  CHECK(complaint({{"size", std::int64_t{1}}, {"flag", std::string("yes")}}) ==
        "x: parameter \"flag\": expected true or false");
  CHECK_THAT(complaint({{"size", std::int64_t{1}}, {"wait", std::string("soon")}}),
             Catch::Contains("a duration"));
  CHECK_THAT(complaint({{"size", std::int64_t{1}}, {"wait", std::int64_t{-1}}}),
             Catch::Contains("a duration"));
  CHECK_THAT(complaint({{"sise", std::int64_t{1}}}),
             Catch::Contains("it takes flag, size, wait, names"));
  CHECK(complaint({{"size", std::string("${size}")}}).empty());  // filled in later
}

TEST_CASE("a configuration's remedies are checked against the table, with their place") {
  const auto loaded = config::load_text(R"(
[[command]]
name = "tidy"
argv = ["/bin/true"]
[[remedy]]
name = "a"
on = "x"
action = "restart"
[[remedy]]
name = "b"
on = "x"
action = "run_command"
target = "tidi"
[[remedy]]
name = "c"
on = "x"
action = "restart_service"
target = "ssh"
[[remedy]]
name = "d"
on = "x"
action = "restart_service"
target = "web"
parameters = { force = true }
[[remedy]]
name = "fine"
on = "x"
action = "run_command"
target = "${mountpoint}"
parameters = { command = "tidy" }
)",
                                        "t.toml");
  REQUIRE(loaded.problems.empty());
  const auto problems = check_remedies(loaded.config);
  REQUIRE(problems.size() == 4);
  CHECK_THAT(to_string(problems[0]),
             Catch::Contains("t.toml:8") && Catch::Contains("there is no action \"restart\""));
  CHECK_THAT(problems[1].message, Catch::Contains("\"tidi\" is not listed"));
  CHECK_THAT(problems[2].message, Catch::Contains("ssh.service is protected"));
  CHECK_THAT(
      problems[3].message,
      Catch::Contains("restart_service has no parameter \"force\": it takes only_if_running, "));
}

TEST_CASE("a started service has to stay up for a moment, a stopped one to be down") {
  const WallTime now{Millis(1'000'000)};
  auto up = unit("active");
  up.active_enter = now - Millis(999);
  CHECK_FALSE(is_achieved(UnitJob::kRestart, up, now));
  up.active_enter = now - Millis(1000);
  CHECK(is_achieved(UnitJob::kRestart, up, now));
  CHECK(is_achieved(UnitJob::kStart, up, now));
  auto waiting = up;  // a restart that has not begun
  waiting.start_job = "/org/freedesktop/systemd1/job/7";
  CHECK_FALSE(is_achieved(UnitJob::kRestart, waiting, now));
  CHECK(is_achieved(UnitJob::kReload, up, now));
  CHECK_FALSE(is_achieved(UnitJob::kStop, up, now));
  for (const auto* state : {"activating", "failed", "inactive", "deactivating"}) {
    CHECK_FALSE(is_achieved(UnitJob::kRestart, unit(state), now));
  }
  CHECK(is_achieved(UnitJob::kStop, unit("inactive"), now));
  CHECK(is_achieved(UnitJob::kStop, unit("failed"), now));
  CHECK_FALSE(is_achieved(UnitJob::kStop, unit("deactivating"), now));
  auto once = unit("inactive");
  once.type = "oneshot";
  CHECK(is_achieved(UnitJob::kStart, once, now));
  once.result = "exit-code";
  CHECK_FALSE(is_achieved(UnitJob::kStart, once, now));
}

TEST_CASE("what became of a job is told from the invocation before and now") {
  CHECK(became(UnitJob::kRestart, unit("active", "b")) == Recovered::kDone);
  CHECK(became(UnitJob::kRestart, unit("failed", "b")) ==
        Recovered::kDone);  // it ran anew and failed: verified below
  CHECK(became(UnitJob::kRestart, unit("failed", "a")) == Recovered::kNotDone);
  CHECK(became(UnitJob::kRestart, unit("active", "a")) == Recovered::kNotDone);
  CHECK(became(UnitJob::kRestart, unit("activating", "a")) == Recovered::kUnderWay);
  CHECK(became(UnitJob::kRestart, unit("deactivating", "a")) == Recovered::kUnderWay);
  CHECK(became(UnitJob::kRestart, unit("inactive", "")) == Recovered::kNotDone);
  CHECK(became(UnitJob::kRestart, unit("active", "b"), "") == Recovered::kUnknown);
  auto queued = unit("failed", "a");
  queued.start_job = "/org/freedesktop/systemd1/job/7";
  CHECK(became(UnitJob::kRestart, queued) == Recovered::kUnderWay);
  CHECK(became(UnitJob::kStart, unit("active", "a")) == Recovered::kDone);
  CHECK(became(UnitJob::kStart, unit("inactive", "a")) == Recovered::kNotDone);
  CHECK(became(UnitJob::kStop, unit("inactive", "a")) == Recovered::kDone);
  CHECK(became(UnitJob::kStop, unit("active", "a")) == Recovered::kNotDone);
  CHECK(became(UnitJob::kReload, unit("active", "a")) == Recovered::kUnknown);
}

TEST_CASE("a restart has left a unit stopped when it was up before and nothing brings it back") {
  CHECK(left_stopped(unit("active"), unit("deactivating")));
  CHECK(left_stopped(unit("activating"), unit("inactive")));
  CHECK(left_stopped(unit("reloading"), unit("failed")));
  CHECK_FALSE(left_stopped(unit("failed"), unit("failed")));
  CHECK_FALSE(left_stopped(unit("inactive"), unit("inactive")));
  CHECK_FALSE(left_stopped(unit("active"), unit("activating")));
  CHECK_FALSE(left_stopped(unit("active"), unit("active")));
  auto queued = unit("deactivating");
  queued.start_job = "/org/freedesktop/systemd1/job/7";
  CHECK_FALSE(left_stopped(unit("active"), queued));
}

TEST_CASE("a limit is never set below what is in use, on the way there and back") {
  constexpr SettableProperty kMax{"memory_max", "MemoryMax", PropertyKind::kBytes, "MemoryCurrent",
                                  110};
  constexpr std::uint64_t kMiB = 1U << 20;
  const auto refused = check_limit("web.service", kMax, 100 * kMiB, 100 * kMiB);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Errc::kConflict);
  CHECK(refused.error().message() ==
        "web.service takes 100.0 MiB now: MemoryMax is never set below 110 % of that, and not to "
        "100.0 MiB");
  CHECK(check_limit("web.service", kMax, 110 * kMiB, 100 * kMiB));
  CHECK(check_limit("web.service", kMax, std::numeric_limits<std::uint64_t>::max(), 100 * kMiB));
  CHECK(check_limit("web.service", kMax, kMiB, std::nullopt));
  CHECK(check_limit("web.service", kMax, kMiB, std::numeric_limits<std::uint64_t>::max()));
}
