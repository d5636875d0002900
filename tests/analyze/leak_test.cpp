#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <random>

#include "nexus/analyze/forecast.hpp"
#include "nexus/analyze/leak.hpp"
#include "world.hpp"

using namespace nexus;
using namespace nexus::analyze;

namespace {

constexpr std::int64_t kHour = 3'600'000;
constexpr std::int64_t kBegin = 1'577'836'800'000;
constexpr double kMiB = 1 << 20;

using Value = std::function<double(double hour)>;

/// Every five minutes for so many hours; `started` gives the start of the group by hour.
std::optional<Leak> fit(
    double hours, const Value& value, const Value& started = [](double) { return 1.0; },
    double least = 4 * kMiB) {
  LeakTrend trend;
  for (int i = 0; i < static_cast<int>(hours * 12); ++i) {
    const double hour = i / 12.0;
    trend.add(kBegin + i * kHour / 12, value(hour), started(hour));
  }
  return trend.fit(least);
}

double daily(double hour) {
  return std::sin(2 * std::numbers::pi * hour / 24);
}

}  // namespace

TEST_CASE("leak: growth is told from the group's daily pattern") {
  std::mt19937 random(3);
  std::normal_distribution<double> noise(0, 2 * kMiB);
  const auto leaking = fit(5 * 24, [&](double h) {
    return 500 * kMiB + 100 * kMiB * daily(h) + 20 * kMiB * h / 24 + noise(random);
  });
  REQUIRE(leaking);
  CHECK(leaking->certain);
  CHECK(leaking->per_day == Approx(20 * kMiB).epsilon(0.1));
  CHECK(leaking->per_day_error < 4 * kMiB);
  CHECK(leaking->p_value < 1e-6);
  CHECK(leaking->restarts == 0);
  CHECK(base::to_unix_millis(leaking->from) == kBegin);
  const auto healthy =
      fit(5 * 24, [&](double h) { return 500 * kMiB + 100 * kMiB * daily(h) + noise(random); });
  REQUIRE(healthy);
  CHECK_FALSE(healthy->certain);
  // The flank of a day alone: a rise of six hours is no leak, however straight.
  CHECK_FALSE(fit(30, [&](double h) { return 500 * kMiB + 100 * kMiB * daily(h); }));
}

TEST_CASE("leak: restarts take growth back and hide nothing") {
  std::mt19937 random(4);
  std::normal_distribution<double> noise(0, kMiB);
  const auto began = [](double h) { return h < 31 ? 0.0 : (h < 70 ? 31.0 : 70.0); };
  const auto leaking = fit(
      5 * 24,
      [&](double h) {
        return 300 * kMiB + 40 * kMiB * daily(h) + 2 * kMiB * (h - began(h)) + noise(random);
      },
      [&](double h) { return 1000 + 3600 * began(h); });
  REQUIRE(leaking);
  CHECK(leaking->certain);
  CHECK(leaking->per_day == Approx(48 * kMiB).epsilon(0.1));
  CHECK(leaking->restarts == 2);
}

TEST_CASE("leak: a restart at the same time every day leaves nothing to tell") {
  const auto nightly = fit(
      6 * 24, [](double h) { return 300 * kMiB + 2 * kMiB * std::fmod(h, 24.0); },
      [](double h) { return 1000 + 86'400 * std::floor(h / 24); });
  CHECK_FALSE(nightly);
}

TEST_CASE("leak: a step, a cache that fills up and little amounts are none") {
  std::mt19937 random(5);
  std::normal_distribution<double> noise(0, kMiB);
  const auto step =
      fit(5 * 24, [&](double h) { return (h < 60 ? 300 : 500) * kMiB + noise(random); });
  CHECK_FALSE((step && step->certain));
  const auto cache = fit(7 * 24, [&](double h) {
    return 300 * kMiB + 400 * kMiB * (1 - std::exp(-h / 20)) + noise(random);
  });
  CHECK_FALSE((cache && cache->certain));
  const auto little = fit(7 * 24, [&](double h) { return 900 * kMiB + 0.2 * kMiB * h; });
  REQUIRE(little);
  CHECK(little->per_day == Approx(4.8 * kMiB).epsilon(0.01));
  CHECK_FALSE(little->certain);  // half a percent a day
}

TEST_CASE("leak: what fills up more and more slowly, or has stopped, is none at any time") {
  std::mt19937 random(6);
  std::normal_distribution<double> noise(0, kMiB);
  const auto claimed = [&](double hours, const Value& value) {
    const auto leak = fit(hours, [&](double h) { return value(h) + noise(random); });
    return leak && leak->certain;
  };
  // A history that keeps ever coarser rows, from its start on or seen from its sixth hour on.
  const auto slower = [](double h) { return (60 + 20 * std::log1p(h)) * kMiB; };
  const auto later = [](double h) { return (60 + 20 * std::log(h + 6)) * kMiB; };
  // A ring that was full after a day and a half.
  const auto ring = [](double h) { return (60 + std::min(h, 36.0)) * kMiB; };
  for (const double hours : {60.0, 72.0, 96.0, 160.0, 300.0}) {
    INFO(hours);
    CHECK_FALSE(claimed(hours, slower));
    CHECK_FALSE(claimed(hours, later));
    CHECK_FALSE(claimed(hours, ring));
    CHECK(claimed(hours, [](double h) { return (60 + h) * kMiB; }));
  }
}

TEST_CASE("leak: the first hours of a life are no evidence") {
  std::mt19937 random(7);
  std::normal_distribution<double> noise(0, kMiB);
  // Restarted every day and a half; each time the pools fill within five hours.
  const auto began = [](double h) { return 36 * std::floor(h / 36); };
  const auto start = [&](double h) { return kBegin / 1000.0 + 3600 * began(h); };
  const auto pools = [&](double h) { return 40 * kMiB * std::min(h - began(h), 5.0); };
  const auto calm = fit(5 * 24, [&](double h) { return pools(h) + noise(random); }, start);
  REQUIRE(calm);
  CHECK_FALSE(calm->certain);
  CHECK(std::abs(calm->per_day) < 2 * kMiB);
  const auto leaking = fit(
      5 * 24, [&](double h) { return pools(h) + kMiB * (h - began(h)) + noise(random); }, start);
  REQUIRE(leaking);
  CHECK(leaking->certain);
  CHECK(leaking->per_day == Approx(24 * kMiB).epsilon(0.1));
  CHECK(leaking->hours < 5 * 24 - 3 * LeakTrend::kFillingHours);
  // A group that never lives longer says nothing.
  const auto brief = [](double h) { return kBegin / 1000.0 + 3600 * 5 * std::floor(h / 5); };
  CHECK_FALSE(fit(5 * 24, [](double h) { return kMiB * std::fmod(h, 5); }, brief));
}

TEST_CASE("leak: what wanders is hardly ever called a leak") {
  int claims = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> step(0, 3 * kMiB);
    double level = 500 * kMiB;
    const auto walk = fit(6 * 24, [&](double) { return level += step(random) / 3; });
    claims += walk && walk->certain ? 1 : 0;
  }
  CHECK(claims <= 2);
}

TEST_CASE("leak: hostile values") {
  LeakTrend trend;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (int i = 0; i < 60 * 12; ++i) {
    trend.add(kBegin + i * kHour / 12, i % 7 == 0 ? nan : 1e300 * (i % 2), nan);
    trend.add(kBegin, 5, 1);  // the past again
  }
  const auto odd = trend.fit(1);
  CHECK((!odd || !odd->certain));
  CHECK(trend.hours() <= LeakTrend::kMostHours);
  const auto constant = fit(48, [](double) { return 7.0; }, [](double) { return 1.0; }, 1);
  REQUIRE(constant);
  CHECK(constant->per_day == 0);
  CHECK(constant->p_value == 1);
  CHECK_FALSE(constant->certain);
}

TEST_CASE("leak: a group that leaks descriptors is a finding and in the list, a calm one is not") {
  nexus::analyze::test::World world;
  Forecaster forecaster(world.clock, world.history, *world.book, world.self);
  config::ForecastSection section;
  forecaster.configure(section);
  const auto series = [](std::string_view metric, std::string_view group) {
    return knowledge::Labels(metric, {{"groupname", group}});
  };
  VitalsSnapshot vitals;
  vitals.definitions = std::make_shared<const std::vector<config::VitalConfig>>();
  for (int i = 0; i < 3 * 24 * 12; ++i) {
    for (const std::string_view group : {"leaky", "calm"}) {
      const double grown = group == "leaky" ? i / 12 : 0;
      world.sample(series("namedprocess_namegroup_open_filedesc", group),
                   200 + std::round(10 * daily(i / 12.0)) + grown + i % 3);
      world.sample(series("namedprocess_namegroup_oldest_start_time_seconds", group), 77);
    }
    world.ingest();
    world.clock.advance(std::chrono::minutes(5));
    if (i % 6 != 5) continue;
    vitals.time = world.clock.wall();
    forecaster.tick(vitals);
    world.book->tick();
  }
  const auto leaks = forecaster.leaks();
  REQUIRE_FALSE(leaks->empty());
  CHECK(leaks->front().group == "leaky");
  CHECK(leaks->front().resource == "open_files");
  CHECK(leaks->front().certain);
  CHECK(leaks->front().per_day == Approx(24).epsilon(0.1));
  const Finding* finding = world.find("leak", "leaky");
  REQUIRE(finding != nullptr);
  CHECK(finding->kind == FindingKind::kForecast);
  CHECK(finding->state == FindingState::kFiring);
  CHECK(finding->labels.at("resource") == "open_files");
  CHECK(finding->evidence.text.find("a day") != std::string::npos);
  CHECK(world.find("leak", "calm") == nullptr);
}
