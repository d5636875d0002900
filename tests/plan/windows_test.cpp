// Maintenance windows: cron expressions, and time zones whose clocks change.
#include "plan/windows.hpp"

#include <catch2/catch.hpp>

#include "nexus/base/text.hpp"

using namespace nexus;
using namespace nexus::plan;
using namespace std::chrono_literals;

namespace {

config::MaintenanceConfig window(std::string schedule, Millis duration,
                                 std::string timezone = "UTC") {
  config::MaintenanceConfig out;
  out.name = "w";
  out.schedule = std::move(schedule);
  out.duration = duration;
  out.timezone = std::move(timezone);
  return out;
}

/// When the window ends that is open at a time; empty: none is.
std::string until(const config::MaintenanceConfig& config, std::string_view now) {
  const auto compiled = Window::compile(config);
  REQUIRE(compiled);
  const auto end = compiled->open_until(base::parse_time(now).value());
  return end ? base::to_rfc3339(*end).substr(0, 16) : "";
}

std::string complaint(std::string_view schedule) {
  const auto parsed = Schedule::parse(schedule);
  return parsed ? "" : parsed.error().message();
}

}  // namespace

TEST_CASE("a window is open from its begin until its end, and not at it") {
  const auto nightly = window("30 2 * * *", 1h);
  CHECK(until(nightly, "2026-03-10T02:29:59Z").empty());
  CHECK(until(nightly, "2026-03-10T02:30:00Z") == "2026-03-10T03:30");
  CHECK(until(nightly, "2026-03-10T03:29:59Z") == "2026-03-10T03:30");
  CHECK(until(nightly, "2026-03-10T03:30:00Z").empty());
}

TEST_CASE("numbers, names, ranges, lists and steps") {
  CHECK(until(window("*/20 8-10 * * mon-fri", 5min), "2026-03-10T09:41:00Z") == "2026-03-10T09:45");
  CHECK(until(window("*/20 8-10 * * mon-fri", 5min), "2026-03-10T09:46:00Z").empty());
  CHECK(until(window("*/20 8-10 * * mon-fri", 5min), "2026-03-08T09:41:00Z").empty());  // Sunday
  CHECK(until(window("0 0 1 jan,JUL *", 2h), "2026-07-01T01:00:00Z") == "2026-07-01T02:00");
  CHECK(until(window("0 0 * * 7", 2h), "2026-03-08T01:00:00Z") == "2026-03-08T02:00");
  CHECK(until(window("0 0 * * 0", 2h), "2026-03-08T01:00:00Z") == "2026-03-08T02:00");
  CHECK(until(window("10/20 * * * *", 1min), "2026-03-08T01:50:00Z") == "2026-03-08T01:51");
  // Both days restricted: either will do (cron(5)).
  const auto either = window("0 0 13 * fri", 1h);
  CHECK_FALSE(until(either, "2026-04-13T00:10:00Z").empty());  // a Monday
  CHECK_FALSE(until(either, "2026-04-17T00:10:00Z").empty());  // a Friday
  CHECK(until(either, "2026-04-14T00:10:00Z").empty());
}

TEST_CASE("a long window that began days ago is open") {
  const auto freeze = window("0 0 20 12 *", 14 * 24h);
  CHECK(until(freeze, "2027-01-02T12:00:00Z") == "2027-01-03T00:00");
  CHECK(until(freeze, "2027-01-03T00:00:00Z").empty());
  CHECK(until(freeze, "2026-12-19T23:59:00Z").empty());
}

TEST_CASE("in a time zone, also when its clocks change") {
  const auto berlin = window("30 2 * * *", 1h, "Europe/Berlin");
  CHECK(until(berlin, "2026-01-10T01:45:00Z") == "2026-01-10T02:30");  // UTC+1
  CHECK(until(berlin, "2026-07-10T00:45:00Z") == "2026-07-10T01:30");  // UTC+2
  // 2026-03-29: 02:00 becomes 03:00, and 02:30 is left out: it begins with the change.
  CHECK(until(berlin, "2026-03-29T00:59:00Z").empty());
  CHECK(until(berlin, "2026-03-29T01:00:00Z") == "2026-03-29T02:00");
  // 2026-10-25: 02:30 comes twice, and it begins the first time.
  CHECK(until(berlin, "2026-10-25T00:45:00Z") == "2026-10-25T01:30");
  CHECK(until(berlin, "2026-10-25T01:35:00Z").empty());
}

TEST_CASE("mistakes in a schedule are named") {
  CHECK_THAT(complaint("30 2 * *"),
             Catch::Contains("expected five fields") && Catch::EndsWith("got 4"));
  CHECK_THAT(complaint("60 2 * * *"), Catch::Contains("minute \"60\": expected 0 to 59"));
  CHECK_THAT(complaint("0 2 0 * *"), Catch::Contains("day of month \"0\""));
  CHECK_THAT(complaint("0 2 * sep-jan *"), Catch::Contains("month \"sep-jan\""));
  CHECK_THAT(complaint("0 2 * * someday"), Catch::Contains("a name such as sun"));
  CHECK_THAT(complaint("*/0 2 * * *"), Catch::Contains("minute \"*/0\""));
  CHECK_THAT(complaint("1, 2 * * *"), Catch::Contains("minute \"\""));
  CHECK(complaint("*/5 0-23/2 1,15 jan-mar 1-5").empty());
  CHECK(is_timezone("UTC"));
  CHECK(is_timezone("America/New_York"));
  CHECK_FALSE(is_timezone("Middle/Earth"));
}
