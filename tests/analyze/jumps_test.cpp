#include "analyze/forecast/jumps.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <numbers>
#include <vector>

using namespace nexus::analyze;

namespace {

/// Hourly means, the newest first, of `level` at so many hours ago.
std::vector<double> hours(std::size_t count, const std::function<double(double)>& level) {
  std::vector<double> out;
  for (std::size_t ago = 0; ago < count; ++ago) out.push_back(level(static_cast<double>(ago)));
  return out;
}

double wave(double ago) {
  return 3 * std::sin(2 * std::numbers::pi * ago / 24);
}

}  // namespace

TEST_CASE("jumps: one stands out of growth and of a daily cycle, with its size and its place") {
  for (const double cycle : {0.0, 1.0}) {
    const auto found = find_level_changes(
        hours(140,
              [=](double ago) { return -0.1 * ago + cycle * wave(ago) + (ago <= 50 ? 8 : 0); }),
        true);
    REQUIRE(found.jumps.size() == 1);
    CHECK(found.jumps[0].after == 50);
    CHECK(found.jumps[0].before == 51);
    CHECK(found.jumps[0].size == Approx(8).epsilon(0.01));
    CHECK_FALSE(found.jumps[0].undone);
    CHECK(found.usual == Approx(0.1).epsilon(0.01));
    CHECK(found.leans == 0);
  }
  // Three days are the least.
  CHECK(find_level_changes(hours(70, [](double ago) { return ago < 20 ? 8.0 : 0.0; }), true)
            .jumps.empty());
}

TEST_CASE("jumps: a ramp of two hours is one, of twelve when it is over, of a day never") {
  const auto found = [](double rows, double since) {
    return find_level_changes(hours(160,
                                    [=](double ago) {
                                      return -0.1 * ago +
                                             20 * std::clamp((since + rows - ago) / rows, 0.0, 1.0);
                                    }),
                              false)
        .jumps;
  };
  REQUIRE(found(2, 0).size() == 1);
  CHECK(found(2, 0)[0].size == Approx(20).epsilon(0.02));
  CHECK(found(12, 0).empty());
  REQUIRE(found(12, 4).size() == 1);
  CHECK(found(12, 4)[0].size == Approx(20).epsilon(0.02));
  CHECK(found(24, 30).empty());
}

TEST_CASE("jumps: what comes every day or three times in three days is growth") {
  // Daily at the same hour, and two hours earlier or later by turns.
  for (const double shift : {0.0, 2.0}) {
    const auto daily = hours(168, [=](double ago) {
      double level = -0.05 * ago;
      for (int day = 0; day < 7; ++day)
        if (ago <= 24 * day + 10 + (day % 2 == 0 ? shift : -shift)) level += 2;
      return level;
    });
    CHECK(find_level_changes(daily, false).jumps.empty());
  }
  const auto three = [](double last) {
    return hours(168, [=](double ago) {
      return -0.05 * ago + (ago <= 20 ? 5 : 0) + (ago <= 55 ? 6 : 0) + (ago <= last ? 4 : 0);
    });
  };
  CHECK(find_level_changes(three(90), false).jumps.empty());
  CHECK(find_level_changes(three(130), false).jumps.size() == 3);
  CHECK(find_level_changes(three(500), false).jumps.size() == 2);
}

TEST_CASE("jumps: what is cleaned up again is undone; where nothing grew, nothing fell") {
  const auto pulse = find_level_changes(
      hours(150, [](double ago) { return -0.1 * ago + (ago <= 60 && ago > 30 ? 9 : 0); }), true);
  REQUIRE(pulse.jumps.size() == 2);
  CHECK(pulse.jumps[0].size == Approx(-9).epsilon(0.01));
  CHECK(pulse.jumps[0].undone);
  CHECK(pulse.jumps[1].undone);
  // Of three files that came and went, in a week, neither the rises nor the falls are growth.
  const auto thrice = find_level_changes(
      hours(160,
            [](double ago) {
              const auto within = [=](double from, double to) { return ago <= from && ago > to; };
              return -0.1 * ago + (within(140, 120) || within(85, 60) || within(25, -1) ? 9 : 0);
            }),
      true);
  CHECK(thrice.jumps.size() == 5);
  // It grows by one in an hour of each day, but for one day.
  const auto stall = find_level_changes(hours(168,
                                              [](double ago) {
                                                double level = 0;
                                                for (int day = 0; day < 7; ++day)
                                                  if (day != 3 && ago <= 24 * day + 5) level += 6;
                                                return level;
                                              }),
                                        false);
  CHECK(stall.jumps.empty());
}

TEST_CASE("jumps: another rate is seen within hours, and is none") {
  const auto found = [](double rate) {
    return find_level_changes(hours(160,
                                    [=](double ago) {
                                      const double old = std::max(ago, 10.0);
                                      return -0.1 * old - rate * std::min(ago, 10.0) +
                                             0.002 * std::sin(ago * ago);
                                    }),
                              true);
  };
  CHECK(found(0.1).leans == 0);
  const auto stops = found(0);
  CHECK(stops.jumps.empty());
  CHECK(stops.leans >= 5);
  CHECK(stops.lean == Approx(-0.1).epsilon(0.1));
  const auto faster = found(0.5);
  CHECK(faster.jumps.empty());
  CHECK(faster.lean == Approx(0.4).epsilon(0.1));
}

TEST_CASE("jumps: constant, huge and hostile levels") {
  CHECK(find_level_changes(hours(168, [](double) { return 7.0; }), true).jumps.empty());
  const auto huge =
      find_level_changes(hours(168, [](double ago) { return ago < 40 ? 1e30 : -1e30; }), true);
  for (const auto& jump : huge.jumps) CHECK(std::isfinite(jump.size));
  CHECK(std::isfinite(huge.usual));
  CHECK(find_level_changes({}, true).jumps.empty());
}
