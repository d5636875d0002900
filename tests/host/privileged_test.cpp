// What the narrow interface refuses by itself, whoever asks. Files, processes and kernel parameters
// are tested with the actions that need them (tests/execute), units on a booted machine.
#include "nexus/host/privileged.hpp"

#include <catch2/catch.hpp>

using namespace nexus;
using namespace std::chrono_literals;

namespace {

struct Local {
  base::SystemClock clock;
  host::LocalPrivileged privileged{clock};
  const host::ListedCommand show{"show",
                                 {"/bin/sh", "-c", "echo token=$NEXUS_FENCING_TOKEN $HOME"}};

  [[nodiscard]] host::SpawnWait soon() const { return {.deadline = clock.steady() + 60s}; }
};

}  // namespace

TEST_CASE("a command runs only as it is listed, with nothing of the caller's but a token") {
  Local local;
  const auto none = local.privileged.run_listed(local.show, {}, local.soon());
  REQUIRE_FALSE(none);
  CHECK(none.error().code() == Errc::kPermissionDenied);
  CHECK(none.error().message() == "\"show\" is not listed as a [[command]]");

  local.privileged.list_commands({local.show});
  int started = 0;
  auto wait = local.soon();
  wait.started = [&] { ++started; };
  const auto plain = local.privileged.run_listed(local.show, {}, wait);
  REQUIRE(plain);
  CHECK(plain->output == "token=\n");
  CHECK(started == 1);
  CHECK(local.privileged.run_listed(local.show, 17, local.soon())->output == "token=17\n");

  auto changed = local.show;
  changed.argv.back() = "echo somebody else";
  const auto other = local.privileged.run_listed(changed, {}, local.soon());
  REQUIRE_FALSE(other);
  CHECK(other.error().code() == Errc::kConflict);
  CHECK_THAT(other.error().message(), Catch::Contains("\"show\"") && Catch::Contains("otherwise"));

  local.privileged.list_commands({});
  CHECK_FALSE(local.privileged.run_listed(local.show, {}, local.soon()));
}

TEST_CASE("without systemd nothing of units is done, and the unit and the wish are named") {
  Local local;
  const auto check = [](const Error& error, const std::string& what) {
    CHECK(error.code() == Errc::kUnavailable);
    CHECK_THAT(error.message(), Catch::StartsWith(what) && Catch::EndsWith("no systemd here"));
  };
  check(local.privileged.unit_job(host::UnitJob::kRestart, "web.service", {}).error(),
        "restart web.service");
  check(local.privileged.reset_unit("web.service").error(), "reset web.service");
  check(local.privileged.set_unit_properties("web.service", {}).error(),
        "set properties of web.service");
  check(local.privileged.set_unit_enabled("web.service", true).error(), "enable web.service");
}
