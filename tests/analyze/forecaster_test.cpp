#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <thread>

#include "analyze/anomaly/random.hpp"
#include "analyze/world.hpp"
#include "nexus/analyze/forecast.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace nexus::analyze::test;
using knowledge::Labels;

namespace {

/// One vital with one series whose value is a function of the second, without the rules between.
struct ForecastWorld : World {
  ForecastWorld() {
    vital.name = "disk_usage_percent";
    vital.unit = "percent";
    vital.warning = 80;
    vital.critical = 95;
    vital.minimum = 0;
    vital.maximum = 100;
    forecaster.configure(section);
  }

  /// Runs the seconds (from, to] and ticks the forecaster after each.
  void run(int from, int to, const std::function<double(int)>& value_at) {
    for (int second = from + 1; second <= to; ++second) {
      clock.advance(1s);
      const double value = value_at(second);
      sample(labels, value);
      ingest();
      tick(value);
    }
  }
  void tick(double value) {
    VitalsSnapshot snapshot;
    snapshot.definitions = std::make_shared<std::vector<config::VitalConfig>>(1, vital);
    snapshot.time = clock.wall();
    snapshot.values = {
        {registry.intern(labels).value(), labels, value, clock.wall(), 0, std::nullopt}};
    forecaster.tick(snapshot);
    book->tick();
  }
  [[nodiscard]] Prediction only() {
    const auto all = forecaster.predictions();
    REQUIRE(all->size() == 1);
    return all->front();
  }

  config::VitalConfig vital;
  config::ForecastSection section;
  Labels labels{"disk_usage_percent", {{"mountpoint", "/var"}}};
  Forecaster forecaster{clock, history, *book, self};
};

double noise(int second) {  // deterministic, about -1 to 1
  return 2 * Random(static_cast<std::uint64_t>(second)).uniform() - 1;
}

}  // namespace

TEST_CASE("warming up until there are enough samples, forecasts are made at their interval") {
  ForecastWorld world;
  world.run(0, 1, [](int) { return 50; });
  CHECK_FALSE(world.only().ready);
  CHECK(world.only().model == "warming up: 1 of 60 samples");
  CHECK(world.only().predicted_value == 50);
  world.run(1, 15, [](int) { return 51; });
  CHECK(world.only().model == "warming up: 1 of 60 samples");  // the interval is 15 s
  world.run(15, 16, [](int) { return 51; });
  CHECK(world.only().model == "warming up: 16 of 60 samples");
  world.run(16, 80, [](int) { return 51; });
  CHECK(world.only().ready);
  CHECK(world.only().model == "linear_regression");
  CHECK(metric(world.self, "nexus_forecast_series", "ready") == 1);
}

TEST_CASE("a steady rise: values, interval, times to thresholds, finding") {
  ForecastWorld world;
  // 0.4 percent a minute from 50: 80 at minute 75, 95 at minute 112.5.
  world.run(0, 3616, [](int s) { return 50 + s / 150.0 + 0.1 * noise(s); });
  const Prediction p = world.only();
  REQUIRE(p.ready);
  const double now = 3616 / 60.0;
  CHECK(p.metric_name == "disk_usage_percent");
  CHECK(p.labels == Labels("", {{"mountpoint", "/var"}}));
  CHECK(p.unit == "percent");
  CHECK(p.predicted_value == Approx(50 + (now + 60) * 0.4).margin(0.2));
  CHECK(p.lower < p.predicted_value);
  CHECK(p.upper > p.predicted_value);
  CHECK(p.upper - p.lower < 1);
  CHECK(p.r_squared.value() > 0.99);
  CHECK(p.confidence == p.r_squared);
  CHECK(p.trend == "rising");
  CHECK(p.seconds_to_warning.value() == Approx((75 - now) * 60).margin(60));
  CHECK(p.seconds_to_critical.value() == Approx((112.5 - now) * 60).margin(60));
  CHECK(p.risk_level == "high");
  const Finding* finding = world.find("disk_usage_percent_forecast");
  REQUIRE(finding != nullptr);
  CHECK(finding->kind == FindingKind::kForecast);
  CHECK(finding->state == FindingState::kFiring);
  CHECK(finding->subject == "/var");

  const auto near = world.forecaster.predictions(10min);
  REQUIRE(near.size() == 1);
  CHECK(near[0].horizon == 10min);
  CHECK(near[0].predicted_value == Approx(50 + (now + 10) * 0.4).margin(0.2));
  CHECK(near[0].risk_level == "none");
}

TEST_CASE("minutes of a rise are not led an hour ahead") {
  ForecastWorld world;
  // 0.1 percent a second from 50: an hour of it would be far beyond everything.
  const auto rise = [](int s) { return 50 + 0.1 * s; };
  world.run(0, 121, rise);
  const Prediction p = world.only();
  REQUIRE(p.ready);
  CHECK(p.model == "linear_regression");
  CHECK(p.predicted_value == Approx(rise(3 * 120)).margin(3));  // twice as far as was seen
  CHECK(p.upper == 100);                                        // what is not known is in the band
  CHECK(p.seconds_to_warning.value() == Approx(300 - 121).margin(2));
  CHECK(p.risk_level == "low");  // critical comes later than the line leads
  ForecastWorld slow;
  slow.run(0, 121, [](int s) { return 50 + 0.05 * s; });
  REQUIRE(slow.only().ready);
  CHECK(slow.only().predicted_value < 70);
  CHECK(slow.only().seconds_to_warning.value() > 400);
  CHECK(slow.only().risk_level == "none");
}

TEST_CASE("the severity of a forecast says which threshold; it fires after two intervals") {
  ForecastWorld world;
  world.section.window = 10min;
  world.section.horizon = 10min;
  world.forecaster.configure(world.section);
  // 1 percent a minute from 65: warning at minute 15, critical at minute 30.
  const auto rise = [](int s) { return 65 + s / 60.0; };
  int fired = 0;
  for (int second = 0; second < 900; ++second) {
    world.run(second, second + 1, rise);
    const Finding* finding = world.find("disk_usage_percent_forecast");
    if (finding == nullptr) continue;
    CHECK(finding->severity == Severity::kInfo);
    if (finding->state == FindingState::kFiring && fired == 0) fired = second;
  }
  CHECK(fired >= 300 + 30);  // half the window, then two intervals
  CHECK(fired <= 300 + 60);
  world.run(900, 1300, rise);
  CHECK(world.find("disk_usage_percent_forecast")->severity == Severity::kWarning);
  CHECK(world.find("disk_usage_percent_forecast")->evidence.threshold == 95);
  world.run(1300, 2000, [&](int) { return 86.0; });  // it stops
  CHECK(world.find("disk_usage_percent_forecast")->state == FindingState::kResolved);
}

TEST_CASE("no findings from boots, bursts, steps, noise, saw teeth and constants") {
  const auto nothing_from = [](const char* name, const std::function<double(int)>& value) {
    INFO(name);
    ForecastWorld world;
    world.run(0, 5400, value);
    CHECK(world.heard.empty());
  };
  nothing_from("constant", [](int) { return 60; });
  nothing_from("noise", [](int s) { return 60 + 15 * noise(s); });
  nothing_from("boot: fast in the first two minutes, then flat",
               [](int s) { return s < 120 ? 20 + s / 4.0 : 50.0; });
  nothing_from("a package installation", [](int s) {
    return s < 3000 ? 40.0 : s < 3060 ? 40 + (s - 3000) / 2.0 : 70.0;
  });
  nothing_from("cron every ten minutes", [](int s) { return s % 600 < 60 ? 75.0 : 40.0; });
  nothing_from("log rotation, half an hour", [](int s) { return 30 + (s % 1800) / 60.0; });
  nothing_from("slow rise that ends far beyond the horizon", [](int s) { return 40 + s / 1200.0; });
  nothing_from("falling", [](int s) { return 90 - s / 120.0; });
  nothing_from("random walk", [sum = 50.0](int s) mutable { return sum += 0.02 * noise(s); });
}

TEST_CASE("thresholds below, natural bounds, and thresholds that are passed already") {
  ForecastWorld world;
  world.vital.direction = config::Direction::kBelow;
  world.vital.warning = 20;
  world.vital.critical = 5;
  world.run(0, 3620, [](int s) { return 60 - s / 100.0; });
  Prediction p = world.only();
  CHECK(p.trend == "falling");
  CHECK(p.predicted_value == 0);  // the line would be below the natural minimum
  CHECK(p.lower == 0);
  CHECK(p.seconds_to_warning.value() > 0);
  CHECK(p.risk_level == "high");
  world.vital.critical = -5;  // cannot be reached
  world.run(3620, 3640, [](int s) { return 60 - s / 100.0; });
  p = world.only();
  CHECK_FALSE(p.seconds_to_critical);
  world.vital.warning = 50;
  world.run(3640, 3660, [](int s) { return 60 - s / 100.0; });
  p = world.only();
  CHECK(p.seconds_to_warning == 0);
  CHECK(p.risk_level == "medium");
}

TEST_CASE("no date without a significant slope toward the threshold") {
  ForecastWorld world;
  world.run(0, 400, [](int s) { return 60 + 5 * noise(s); });
  CHECK_FALSE(world.only().seconds_to_critical);
  CHECK(world.only().trend == "stable");
  CHECK(world.only().r_squared.value() < 0.1);
}

TEST_CASE("a constant series is forecast, without R squared and without confidence") {
  ForecastWorld world;
  world.run(0, 400, [](int) { return 60; });
  const Prediction p = world.only();
  REQUIRE(p.ready);
  CHECK(p.predicted_value == 60);
  CHECK_FALSE(p.r_squared);
  CHECK(p.confidence == 0);
  CHECK(p.trend == "stable");
}

TEST_CASE("hostile series: never a number that is not finite, never a finding") {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto& value : std::initializer_list<std::function<double(int)>>{
           [&](int s) { return s % 2 == 0 ? nan : inf; },
           [](int s) { return s % 2 == 0 ? 1e300 : -1e300; },
           [](int s) { return s % 2 == 0 ? 1.7e308 : -1.7e308; },
           [](int s) { return s * 1e-320; },
           [&](int s) { return s > 200 ? inf : 50.0; },
       }) {
    ForecastWorld world;
    world.vital.minimum.reset();
    world.vital.maximum.reset();
    world.run(0, 300, value);
    const Prediction p = world.only();
    if (p.ready) {
      CHECK(std::isfinite(p.predicted_value));
      CHECK(std::isfinite(p.lower));
      CHECK(std::isfinite(p.upper));
      CHECK(std::isfinite(p.r_squared.value_or(0)));
      CHECK(std::isfinite(p.confidence));
    }
    CHECK(world.heard.empty());
  }
}

TEST_CASE("gaps, ends of series and a wall clock that steps back") {
  ForecastWorld world;
  world.run(0, 600, [](int) { return 90; });
  world.sample(world.labels, knowledge::stale_marker());
  world.clock.advance(1s);
  world.ingest();
  world.clock.advance(10min);
  world.run(1201, 1290, [](int) { return 10; });  // mounted anew: what was before does not count
  CHECK(world.only().ready);
  CHECK(world.only().predicted_value == Approx(10));
  world.clock.step_wall(-1h);
  world.run(1290, 1330, [](int) { return 10; });
  CHECK(world.forecaster.predictions()->size() == 1);  // no samples of that time: warming up
  CHECK_FALSE(world.only().ready);
}

TEST_CASE("switched off: no predictions, findings resolve") {
  ForecastWorld world;
  world.run(0, 3700, [](int s) { return 40 + s / 120.0; });
  REQUIRE(world.find("disk_usage_percent_forecast")->state == FindingState::kFiring);
  world.section.enabled = false;
  world.forecaster.configure(world.section);
  world.run(3700, 3800, [](int s) { return 40 + s / 120.0; });
  CHECK(world.forecaster.predictions()->empty());
  CHECK(world.find("disk_usage_percent_forecast")->state == FindingState::kResolved);
  world.section.enabled = true;
  world.vital.forecast = false;
  world.forecaster.configure(world.section);
  world.run(3800, 3820, [](int s) { return 40 + s / 120.0; });
  CHECK(world.forecaster.predictions()->empty());
}

TEST_CASE("long windows are thinned evenly; the fit stays the same") {
  ForecastWorld world;
  world.section.window = 3h;
  world.section.interval = 3h;
  world.forecaster.configure(world.section);
  const auto rise = [](int s) { return 10 + s / 360.0; };
  for (int s = 1; s <= 9000; ++s) {
    world.clock.advance(1s);
    world.sample(world.labels, rise(s));
    world.ingest();
  }
  world.tick(rise(9000));
  CHECK(world.only().fit.n <= Forecaster::kMaxPoints);
  CHECK(world.only().fit.n > Forecaster::kMaxPoints / 2);
  CHECK(world.only().fit.slope == Approx(1 / 360.0));
  CHECK(world.only().fit.intercept == Approx(rise(9000)));
}

TEST_CASE("predictions may be read while the forecaster ticks and is configured") {
  ForecastWorld world;
  std::thread reader([&] {
    for (int i = 0; i < 300; ++i) {
      (void)world.forecaster.predictions()->size();
      (void)world.forecaster.predictions(5min).size();
      world.forecaster.configure(world.section);
    }
  });
  world.run(0, 300, [](int s) { return 40 + s / 120.0; });
  reader.join();
  CHECK(world.only().ready);
}

namespace {

/// A value of five minutes at a time, as long as it takes.
void run_days(ForecastWorld& world, int from, int to, const std::function<double(int)>& value_at) {
  world.section.minimum_samples = 6;
  world.forecaster.configure(world.section);
  for (int row = from; row < to; ++row) {
    world.clock.advance(5min);
    const double value = value_at(row);
    world.sample(world.labels, value);
    world.ingest();
    world.tick(value);
  }
}

double two_days(int row) {
  return 40 + 3.0 * row / 288 + 5 * std::sin(2 * 3.14159265358979 * row / 288);
}

}  // namespace

TEST_CASE("live: the combination takes over once it is verified, and says how good it was") {
  ForecastWorld world;
  run_days(world, 0, 12, two_days);
  CHECK(world.only().model != "combination");
  // Before anything was verified there is no share that was covered, not even none of it.
  world.self.visit([](const knowledge::SelfMetrics::Reading& reading) {
    CHECK(reading.name != "nexus_forecast_coverage_ratio");
    CHECK(reading.name != "nexus_forecast_relative_error");
  });
  run_days(world, 12, 3 * 288, two_days);
  const Prediction p = world.only();
  CHECK(p.model.starts_with("combination: "));
  CHECK(p.ready);
  CHECK(p.predicted_value == Approx(two_days(3 * 288 + 11)).margin(0.5));
  REQUIRE(p.lower80);
  REQUIRE(p.upper80);
  CHECK(p.lower <= *p.lower80);
  CHECK(*p.upper80 <= p.upper);
  CHECK(p.confidence > 0.9);  // within 5 % of the range
  CHECK(p.tolerance == Approx(5));
  CHECK(p.past_error.value() < 1);
  CHECK(p.r_squared.has_value());
  const auto days = world.forecaster.predictions(std::chrono::hours(24));
  REQUIRE(days.size() == 1);
  CHECK(days[0].model.starts_with("combination: "));
  CHECK(days[0].predicted_value == Approx(two_days(4 * 288)).margin(2));
  CHECK(world.forecaster.predictions(std::chrono::hours(24 * 30))[0].model == "linear_regression");
  CHECK(metric(world.self, "nexus_forecast_coverage_ratio", "0.95") > 0.8);
  CHECK(metric(world.self, "nexus_forecast_abs_error", "disk_usage_percent") < 1);
}

TEST_CASE("live: what fills is dated by its days, and is a finding when it is soon and sure") {
  ForecastWorld world;
  const auto filling = [](int row) { return 30 + 9.0 * row / 288; };
  run_days(world, 0, 2 * 288, filling);
  const auto capacity = world.forecaster.capacity();
  REQUIRE(capacity.size() == 1);
  CHECK(capacity[0].per_day == Approx(9).epsilon(0.02));
  CHECK(capacity[0].certain);
  CHECK(capacity[0].warning.seconds.value() == Approx((80.0 - 48) / 9 * 86'400).epsilon(0.05));
  CHECK(capacity[0].exhaustion.seconds.value() == Approx((100.0 - 48) / 9 * 86'400).epsilon(0.05));
  CHECK(capacity[0].planned[0] == Approx(48 + 270).epsilon(0.05));
  CHECK(capacity[0].needed[0].value() == Approx((48 + 270) / 80.0).epsilon(0.05));
  CHECK(world.only().seconds_to_critical.value() == Approx((95.0 - 48) / 9 * 86'400).epsilon(0.05));
  const Finding* finding = world.find("disk_usage_percent_fills");
  REQUIRE(finding != nullptr);
  CHECK(finding->state == FindingState::kFiring);
  CHECK(finding->severity == Severity::kInfo);
}

TEST_CASE("live: a size without an end is planned for, without dates") {
  ForecastWorld world;
  world.vital.warning.reset();
  world.vital.critical.reset();
  world.vital.maximum.reset();
  const auto growing = [](int row) { return 1e9 + 1e8 * row / 288; };
  run_days(world, 0, 2 * 288, growing);
  CHECK(world.forecaster.capacity().empty());  // what is no size
  ForecastWorld sized;
  sized.vital = world.vital;
  sized.vital.name = "postgres_database_size_bytes";
  run_days(sized, 0, 2 * 288, growing);
  const auto capacity = sized.forecaster.capacity();
  REQUIRE(capacity.size() == 1);
  CHECK(capacity[0].certain);
  CHECK(capacity[0].per_day == Approx(1e8).epsilon(0.02));
  CHECK_FALSE(capacity[0].warning.seconds);
  CHECK_FALSE(capacity[0].exhaustion.seconds);
  CHECK(capacity[0].planned[2] == Approx(1.2e9 + 180 * 1e8).epsilon(0.05));
  CHECK_FALSE(capacity[0].needed[2]);
}

TEST_CASE("live: what was learnt is kept in the state database and loaded") {
  ForecastWorld world;
  REQUIRE(world.forecaster.keep(*world.db));
  run_days(world, 0, 2 * 288, two_days);
  const Prediction before = world.only();
  REQUIRE(before.model.starts_with("combination: "));
  REQUIRE(world.forecaster.save());
  // A history that begins now: all the new forecaster knows is from the database.
  knowledge::SeriesRegistry registry{100};
  knowledge::History history{registry, {}};
  Forecaster next(world.clock, history, *world.book, world.self);
  REQUIRE(next.keep(*world.db));
  next.configure(world.section);
  VitalsSnapshot snapshot;
  snapshot.definitions = std::make_shared<std::vector<config::VitalConfig>>(1, world.vital);
  snapshot.time = world.clock.wall();
  snapshot.values = {{registry.intern(world.labels).value(), world.labels, 46, world.clock.wall(),
                      0, std::nullopt}};
  next.tick(snapshot);
  const auto after = next.predictions();
  REQUIRE(after->size() == 1);
  CHECK(after->front().model == before.model);
  CHECK(after->front().predicted_value == Approx(before.predicted_value).epsilon(0.01));
}
