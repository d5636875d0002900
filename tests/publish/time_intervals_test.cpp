#include "publish/time_intervals.hpp"

#include <catch2/catch.hpp>

#include "nexus/base/text.hpp"

using namespace nexus;
using namespace nexus::publish;

namespace {

TimeInterval made(const config::TimeIntervalConfig& written) {
  std::vector<config::Problem> problems;
  auto out = TimeInterval::compile(written, problems);
  for (const auto& problem : problems) FAIL(config::to_string(problem));
  return out;
}

bool holds(const TimeInterval& interval, std::string_view time) {
  return interval.contains(base::parse_time(time).value());
}

}  // namespace

TEST_CASE("a time interval holds where all its parts do, and is any time without parts") {
  CHECK(holds(made({.name = "any"}), "2026-11-26T02:00:00Z"));
  const auto office = made({.name = "office",
                            .times = {"08:00-12:00", "13:30-18:00"},
                            .weekdays = {"monday:thursday", "Friday"}});
  CHECK(holds(office, "2026-11-26T08:00:00Z"));  // a Thursday
  CHECK_FALSE(holds(office, "2026-11-26T07:59:59.999Z"));
  CHECK(holds(office, "2026-11-26T11:59:59.999Z"));
  CHECK_FALSE(holds(office, "2026-11-26T12:00:00Z"));
  CHECK(holds(office, "2026-11-27T13:30:00Z"));
  CHECK_FALSE(holds(office, "2026-11-28T13:30:00Z"));
  CHECK(holds(made({.name = "late", .times = {"22:00-24:00"}}), "2026-11-26T23:59:59Z"));
}

TEST_CASE("negative days count from the end of the month, whatever its length") {
  const auto last = made({.name = "last", .days_of_month = {"-3:-1"}});
  CHECK(holds(last, "2026-02-26T12:00:00Z"));
  CHECK(holds(last, "2026-02-28T12:00:00Z"));
  CHECK_FALSE(holds(last, "2026-02-25T12:00:00Z"));
  CHECK_FALSE(holds(last, "2028-02-26T12:00:00Z"));  // of 29
  CHECK(holds(last, "2028-02-29T12:00:00Z"));
  const auto late = made({.name = "late", .days_of_month = {"29:31"}});
  CHECK_FALSE(holds(late, "2026-02-28T12:00:00Z"));
  CHECK(holds(late, "2026-04-30T12:00:00Z"));
  CHECK(holds(made({.name = "all", .days_of_month = {"1:-1"}}), "2026-02-28T12:00:00Z"));
}

TEST_CASE("months and years, by name and number") {
  const auto some = made({.name = "some", .months = {"june:august", "12"}, .years = {"2026:2027"}});
  CHECK(holds(some, "2026-07-01T00:00:00Z"));
  CHECK(holds(some, "2027-12-31T23:59:59Z"));
  CHECK_FALSE(holds(some, "2026-09-01T00:00:00Z"));
  CHECK_FALSE(holds(some, "2028-07-01T00:00:00Z"));
}

TEST_CASE("time zones, through the changes of the clocks") {
  const auto berlin =
      made({.name = "berlin", .times = {"08:00-09:00"}, .location = "Europe/Berlin"});
  CHECK(holds(berlin, "2026-01-15T07:30:00Z"));
  CHECK_FALSE(holds(berlin, "2026-01-15T06:30:00Z"));
  CHECK(holds(berlin, "2026-07-15T06:30:00Z"));
  CHECK_FALSE(holds(berlin, "2026-07-15T07:30:00Z"));
  CHECK(holds(berlin, "2026-03-29T06:00:00Z"));  // the morning after the change
  CHECK(holds(berlin, "2026-10-25T07:00:00Z"));
  // The day is that of the place.
  const auto sunday = made({.name = "tokyo", .weekdays = {"sunday"}, .location = "Asia/Tokyo"});
  CHECK(holds(sunday, "2026-11-28T15:00:00Z"));
  CHECK_FALSE(holds(sunday, "2026-11-29T15:00:00Z"));
  const auto kathmandu =
      made({.name = "nepal", .times = {"05:45-06:00"}, .location = "Asia/Kathmandu"});
  CHECK(holds(kathmandu, "2026-11-26T00:00:00Z"));
}

TEST_CASE("what is wrong with a time interval is told at its place") {
  config::TimeIntervalConfig bad{.name = "bad",
                                 .times = {"8:00-9:00", "10:00-09:00", "10:00", "24:30-25:00"},
                                 .weekdays = {"funday", "friday:monday"},
                                 .days_of_month = {"0", "32", "-1:5", "5:1"},
                                 .months = {"13", "smarch"},
                                 .years = {"soon", "2027:2026"},
                                 .location = "Europe/Atlantis"};
  bad.places["weekdays"] = {"agent.toml", 7, 12};
  std::vector<config::Problem> problems;
  (void)TimeInterval::compile(bad, problems);
  CHECK(problems.size() == 4 + 2 + 4 + 2 + 2 + 1);
  CHECK(config::to_string(problems.at(4)) ==
        "agent.toml:7:12: time_interval \"bad\": weekdays: expected a day or a range such as "
        "\"monday:friday\", got \"funday\"");
}
