#include "agent/commands/moment.hpp"

#include <catch2/catch.hpp>

using namespace nexus;
using namespace nexus::agent;

TEST_CASE("a point in time is absolute, or a distance from now") {
  constexpr std::int64_t kNow = 1'700'000'000'000;
  const auto at = [](std::string_view text) {
    const auto time = moment("--start", text, kNow);
    REQUIRE(time.has_value());
    return *time;
  };
  CHECK(at("now") == kNow);
  CHECK(at("now-1h30m") == kNow - 5'400'000);
  CHECK(at("-2d") == kNow - 172'800'000);
  CHECK(at("now+250ms") == kNow + 250);
  CHECK(at("now-90") == kNow - 90'000);  // seconds, as durations without a unit are
  CHECK(at("1600000000.5") == 1'600'000'000'500);
  CHECK(at("-90") == -90'000);  // but Unix seconds where there is nothing but a number
  CHECK(at("2023-11-14T22:13:20Z") == kNow);
  for (const char* bad :
       {"", "soon", "now1h", "now-", "-", "+1h", "now-1h-1m", "now--1h", "nowhere"}) {
    const auto time = moment("--start", bad, kNow);
    REQUIRE_FALSE(time.has_value());
    CHECK(time.error().code() == Errc::kInvalidArgument);
    CHECK(time.error().message().find("--start: \"" + std::string(bad) + "\" is not a time") == 0);
  }
}
