#include "nexus/analyze/knee.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "nexus/analyze/forecast.hpp"
#include "world.hpp"

using namespace nexus;
using namespace nexus::analyze;

namespace {

/// A day of minutes with loads from 10 to 190.
template <typename Response>
KneeTrend day(Response&& response) {
  KneeTrend trend;
  std::mt19937 random(2);
  std::normal_distribution<double> noise(0, 1);
  for (int i = 0; i < 1440; ++i) {
    const double load = 100 + 85 * std::sin(2 * std::numbers::pi * i / 1440) + 5 * noise(random);
    trend.add(load, response(load, noise(random)));
  }
  return trend;
}

}  // namespace

TEST_CASE("knee: where the response begins to rise, and how fast") {
  const auto knee = day([](double load, double noise) {
                      return 0.02 + 0.004 * std::max(0.0, load - 140) + 0.003 * noise;
                    }).fit();
  REQUIRE(knee);
  CHECK(knee->load == Approx(140).margin(10));
  CHECK(knee->flat == Approx(0.02).epsilon(0.1));
  CHECK(knee->slope == Approx(0.004).epsilon(0.25));
  CHECK(knee->p_value < 1e-6);
  CHECK(knee->highest > 180);
  CHECK(knee->minutes == 1440);
}

TEST_CASE("knee: none where the load makes no difference, or all the difference") {
  CHECK_FALSE(day([](double, double noise) { return 0.02 + 0.003 * noise; }).fit());
  CHECK_FALSE(day([](double load, double noise) { return 0.001 * load + 0.003 * noise; }).fit());
  // Single slow minutes at any load are no knee.
  int at = 0;
  CHECK_FALSE(day([&](double, double) { return ++at % 50 == 0 ? 5.0 : 0.02; }).fit());
  // It gets better.
  CHECK_FALSE(day([](double load, double) { return std::max(0.1, 1 - load / 100); }).fit());
}

TEST_CASE("knee: too little, one load, hostile values, and no more than a week") {
  KneeTrend trend;
  CHECK_FALSE(trend.fit());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (int i = 0; i < 1000; ++i) {
    trend.add(nan, 1);
    trend.add(1, nan);
    trend.add(-1, 1);
    trend.add(std::numeric_limits<double>::infinity(), 1);
    trend.add(1e300, 1e300);
  }
  CHECK(trend.minutes() == 0);
  for (std::size_t i = 0; i < KneeTrend::kMost + 500; ++i) trend.add(7, 0.1);
  CHECK(trend.minutes() == KneeTrend::kMost);
  CHECK_FALSE(trend.fit());
}

TEST_CASE("knee: vitals are paired by name, and a load beyond the knee is a finding") {
  nexus::analyze::test::World world;
  Forecaster forecaster(world.clock, world.history, *world.book, world.self);
  forecaster.configure({});
  auto definitions = std::make_shared<std::vector<config::VitalConfig>>(3);
  (*definitions)[0].name = "shop_requests_per_second";
  (*definitions)[0].unit = "per_second";
  (*definitions)[1].name = "shop_response_seconds";
  (*definitions)[1].unit = "seconds";
  (*definitions)[2].name = "other_response_seconds";
  (*definitions)[2].unit = "seconds";
  VitalsSnapshot vitals;
  vitals.definitions = definitions;
  std::mt19937 random(9);
  std::normal_distribution<double> noise(0, 1);
  for (int i = 0; i < 600; ++i) {
    const double load = i < 590 ? 100 + 90 * std::sin(i / 40.0) : 180;
    const double response = 0.05 + 0.01 * std::max(0.0, load - 150) + 0.002 * noise(random);
    vitals.values.clear();
    for (std::size_t v = 0; v < 3; ++v) {
      const knowledge::Labels labels((*definitions)[v].name, {{"app", "a"}});
      const double value = v == 0 ? load : response;
      world.sample(labels, value);
      VitalValue one;
      one.vital = static_cast<std::uint32_t>(v);
      one.labels = labels;
      one.series = world.registry.intern(labels).value();
      one.value = value;
      one.time = world.clock.wall();
      vitals.values.push_back(one);
    }
    world.ingest();
    vitals.time = world.clock.wall();
    forecaster.tick(vitals);
    world.book->tick();
    world.clock.advance(std::chrono::minutes(1));
  }
  const auto all = forecaster.performance();
  REQUIRE(all->size() == 1);
  const Performance& p = all->front();
  CHECK(p.metric_name == "shop_response_seconds");
  CHECK(p.load_name == "shop_requests_per_second");
  CHECK(p.labels.get("app") == "a");
  REQUIRE(p.knee);
  CHECK(p.knee->load == Approx(150).margin(15));
  REQUIRE(p.seconds);
  CHECK(*p.seconds == 0);
  const Finding* finding = world.find("shop_response_seconds_knee");
  REQUIRE(finding != nullptr);
  CHECK(finding->state == FindingState::kFiring);
  CHECK(finding->evidence.text.find("beyond it") != std::string::npos);
}
