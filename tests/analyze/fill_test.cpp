#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <random>

#include "nexus/analyze/backtest.hpp"
#include "nexus/analyze/fill.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t kBegin = 1'577'836'800 / 300;
constexpr std::int64_t kDay = 288;
constexpr double kDaySeconds = 86'400;

struct Filled {
  Fill fill;
  void run(std::int64_t from, std::int64_t to, const std::function<double(std::int64_t)>& value) {
    for (std::int64_t i = from; i < to; ++i) fill.add(kBegin + i, value(i));
  }
};

double cycle(std::int64_t i) {
  return std::sin(2 * std::numbers::pi * static_cast<double>(i % kDay) / kDay);
}

}  // namespace

TEST_CASE("fill: a line is dated, with an interval around the truth") {
  Filled f;
  std::mt19937 random(1);
  std::normal_distribution<double> noise(0, 0.3);
  f.run(0, 3 * kDay,
        [&](std::int64_t i) { return 40 + 5.0 * static_cast<double>(i) / kDay + noise(random); });
  const auto outlook = f.fill.outlook();
  CHECK(outlook.per_day == Approx(5).epsilon(0.03));
  CHECK(outlook.certain);
  CHECK(outlook.pattern == "line");
  CHECK(outlook.days_seen == Approx(3));
  const auto time = f.fill.until(100, true);
  REQUIRE(time.seconds);
  CHECK(*time.seconds == Approx(9 * kDaySeconds).epsilon(0.03));
  REQUIRE(time.earliest);
  REQUIRE(time.latest);
  CHECK(*time.earliest <= *time.seconds);
  CHECK(*time.seconds <= *time.latest);
  CHECK_FALSE(f.fill.until(0, false).seconds);
  CHECK(*f.fill.until(30, true).seconds == 0);
  CHECK(f.fill.at(2 * kDaySeconds) == Approx(65).epsilon(0.02));
}

TEST_CASE("fill: on the rows that a combination keeps it says what it says on its own") {
  Combination::Shape shape;
  shape.step = 5min;
  shape.leads = Combination::leads_up_to(12);
  Combination rows(shape);
  Fill shared(5min, &rows);
  Fill own(5min);
  std::mt19937 random(5);
  std::normal_distribution<double> noise(0, 0.3);
  const auto add = [&](std::int64_t i) {
    const double value = 1e9 + 30 + 4.0 * static_cast<double>(i) / kDay + 6 * cycle(i);
    const double seen = value + noise(random);
    CHECK(rows.add(kBegin + i, seen));
    CHECK(shared.add(kBegin + i, seen));
    own.add(kBegin + i, seen);
  };
  const auto same = [&] {
    const auto a = shared.outlook();
    const auto b = own.outlook();
    CHECK(a.level == Approx(b.level).margin(0.05));
    CHECK(a.per_day == Approx(b.per_day).epsilon(0.05));
    CHECK(a.certain == b.certain);
    CHECK(a.pattern == b.pattern);
    CHECK(a.days_seen == b.days_seen);
    const auto when = shared.until(1e9 + 100, true);
    const auto then = own.until(1e9 + 100, true);
    REQUIRE(when.seconds.has_value() == then.seconds.has_value());
    if (when.seconds) CHECK(*when.seconds == Approx(*then.seconds).epsilon(0.05));
  };
  for (std::int64_t i = 0; i < 9 * kDay; ++i) add(i);
  same();
  CHECK(own.outlook().certain);
  // A gap that is filled: by forecasts in one, by a line in the other.
  for (std::int64_t i = 9 * kDay + 100; i < 11 * kDay; ++i) add(i);
  same();
  // One that is not.
  for (std::int64_t i = 14 * kDay; i < 15 * kDay; ++i) add(i);
  same();
  CHECK(shared.outlook().days_seen == Approx(1));
  // Of a week and more nothing is left in either.
  for (std::int64_t i = 40 * kDay; i < 42 * kDay; ++i) add(i);
  same();
  // Both are saved, and both loaded are the same again; a state of the other kind is refused.
  Combination loaded_rows(shape);
  Fill loaded(5min, &loaded_rows);
  REQUIRE(loaded_rows.load(rows.save()));
  REQUIRE(loaded.load(shared.save()));
  CHECK(loaded.outlook().per_day == shared.outlook().per_day);
  CHECK_FALSE(loaded.load(own.save()));
  CHECK_FALSE(own.load(shared.save()));
  // A row that the combination does not have is not taken.
  CHECK_FALSE(shared.add(kBegin + 43 * kDay, 7));
}

TEST_CASE("fill: a daily cycle is carried forward, not mistaken for growth") {
  Filled grows;
  grows.run(0, 5 * kDay,
            [](std::int64_t i) { return 30 + 4.0 * static_cast<double>(i) / kDay + 6 * cycle(i); });
  CHECK(grows.fill.outlook().pattern == "day");
  CHECK(grows.fill.outlook().per_day == Approx(4).epsilon(0.01));
  std::int64_t truth = 5 * kDay;
  while (30 + 4.0 * static_cast<double>(truth) / kDay + 6 * cycle(truth) < 90) ++truth;
  const auto time = grows.fill.until(90, true);
  REQUIRE(time.seconds);
  CHECK(*time.seconds == Approx(static_cast<double>(truth - 5 * kDay) * 300).epsilon(0.01));

  Filled stays;
  std::mt19937 random(2);
  std::normal_distribution<double> noise(0, 0.1);
  for (std::int64_t end = kDay; end <= 5 * kDay; end += 30) {
    stays.run(end == kDay ? 0 : end - 30, end,
              [&](std::int64_t i) { return 70 + 10 * cycle(i) + noise(random); });
    const auto never = stays.fill.until(100, true);
    CHECK((!never.seconds || *never.seconds > kDaySeconds));
  }
}

TEST_CASE("fill: saw teeth fill by their peaks; those that do not grow never fill") {
  Filled grows;
  grows.run(0, 4 * kDay, [](std::int64_t i) {
    return 40 + 3.0 * static_cast<double>(i) / kDay + 5.0 * static_cast<double>(i % 100) / 100;
  });
  CHECK(grows.fill.outlook().pattern.starts_with("every"));
  CHECK(grows.fill.outlook().per_day == Approx(3).epsilon(0.03));
  const auto time = grows.fill.until(80, true);
  REQUIRE(time.seconds);
  CHECK(*time.seconds == Approx((80 - 40 - 12 - 5) / 3.0 * kDaySeconds).epsilon(0.1));

  Filled stays;
  stays.run(0, 4 * kDay,
            [](std::int64_t i) { return 60 + 25.0 * static_cast<double>(i % 200) / 200; });
  CHECK_FALSE(stays.fill.until(100, true).seconds);
}

TEST_CASE("fill: the rate after a change counts within a day") {
  Filled f;
  f.run(0, 4 * kDay, [](std::int64_t i) {
    const double slow = 1.0 * static_cast<double>(std::min<std::int64_t>(i, 3 * kDay)) / kDay;
    return 20 + slow + 12.0 * static_cast<double>(std::max<std::int64_t>(i - 3 * kDay, 0)) / kDay;
  });
  const auto time = f.fill.until(100, true);
  REQUIRE(time.seconds);
  CHECK(*time.seconds == Approx(65.0 / 12 * kDaySeconds).epsilon(0.1));
}

TEST_CASE("fill: boots, package runs and nightly jobs give no date within a week") {
  // As FIELD.md D9: what made disk forecasts of others fire.
  const auto quiet = [](const char* what, const std::function<double(std::int64_t)>& value,
                        std::int64_t days) {
    Filled f;
    for (std::int64_t i = 0; i < days * kDay; ++i) {
      f.fill.add(kBegin + i, value(i));
      if (i < kDay) continue;  // no finding before a day was seen
      const auto time = f.fill.until(100, true);
      INFO(what << " at row " << i << ": " << time.seconds.value_or(-1) << " s, latest "
                << time.latest.value_or(-1));
      REQUIRE((!time.latest || *time.latest > 7 * kDaySeconds));
    }
  };
  std::mt19937 random(3);
  std::normal_distribution<double> noise(0, 0.02);
  quiet(
      "boot",
      [&](std::int64_t i) {
        return 55 + 4 * (1 - std::exp(-static_cast<double>(i) / 6)) + noise(random);
      },
      4);
  quiet(
      "apt",
      [&](std::int64_t i) {
        const double run = i < 2 * kDay ? 0 : std::min(3.0, static_cast<double>(i - 2 * kDay));
        const double cleaned = i < 2 * kDay + 40 ? 0 : 1.0;
        return 60 + run - cleaned + noise(random);
      },
      4);
  quiet(
      "cron",
      [&](std::int64_t i) {
        const auto at = static_cast<double>(i % kDay);
        return 65 + (at > 24 && at < 36 ? (at - 24) * 1.5 : 0) + noise(random);
      },
      5);
  quiet(
      "one large file", [&](std::int64_t i) { return (i < 700 ? 40.0 : 62.0) + noise(random); }, 5);
}

TEST_CASE("fill: what comes down to zero, such as the days of a certificate") {
  Filled f;
  f.run(0, 2 * kDay, [](std::int64_t i) { return 20 - static_cast<double>(i) / kDay; });
  const auto time = f.fill.until(0, false);
  REQUIRE(time.seconds);
  CHECK(*time.seconds == Approx(18 * kDaySeconds).epsilon(0.01));
  CHECK(*f.fill.until(14, false).seconds == Approx(4 * kDaySeconds).epsilon(0.02));
}

TEST_CASE("fill: a jump in the first hours is one jump for as long as it is kept") {
  // Beside the wave and gaps, which make errors of how often a jump comes.
  Filled f;
  std::int64_t slot = kBegin;
  for (std::int64_t i = 0; i < 9 * kDay; ++i, ++slot) {
    if (i % 400 == 399) slot += 30;
    const auto day = static_cast<double>(slot - kBegin) / kDay;
    f.fill.add(slot, 10 + 2 * day + cycle(slot - kBegin) + (i >= 60 ? 15 : 0));
    if (i < 4 * kDay || i % 12 != 0) continue;
    const auto outlook = f.fill.outlook();
    INFO("row " << i);
    REQUIRE(std::isfinite(outlook.per_day_error));
    REQUIRE(outlook.per_day == Approx(2).epsilon(0.25));
  }
  CHECK(f.fill.outlook().per_day == Approx(2).epsilon(0.05));
}

TEST_CASE("fill: a new slope is noticed once, a daily cycle is none") {
  std::mt19937 random(6);
  std::normal_distribution<double> noise(0, 0.05);
  Filled bends;
  bends.run(0, 6 * kDay, [&](std::int64_t i) {
    const auto x = static_cast<double>(i) / kDay;
    return 20 + 2 * std::min(x, 3.0) + 12 * std::max(x - 3, 0.0) + noise(random);
  });
  CHECK(bends.fill.outlook().rate_changes == 1);
  REQUIRE(bends.fill.outlook().rate_changed_days_ago);
  CHECK(*bends.fill.outlook().rate_changed_days_ago > 2);
  CHECK(*bends.fill.outlook().rate_changed_days_ago < 3);
  CHECK(bends.fill.outlook().per_day == Approx(12).epsilon(0.05));
  Filled cycles;
  cycles.run(0, 6 * kDay, [&](std::int64_t i) { return 50 + 10 * cycle(i) + noise(random); });
  CHECK(cycles.fill.outlook().rate_changes == 0);
  Fill loaded;
  REQUIRE(loaded.load(bends.fill.save()));
  CHECK(loaded.outlook().rate_changes == 1);
}

TEST_CASE("fill: hostile values, gaps, saved and damaged states") {
  Fill f;
  CHECK_FALSE(f.ready());
  CHECK_FALSE(f.until(100, true).seconds);
  std::mt19937 random(5);
  std::int64_t slot = kBegin;
  for (int i = 0; i < 5000; ++i) {
    double value = static_cast<double>(random() % 100);
    if (i % 97 == 0) value = std::numeric_limits<double>::quiet_NaN();
    if (i % 211 == 0) value = 1e300;
    if (i % 501 == 0) slot += 400;
    f.add(++slot, value);
    const auto time = f.until(1000, true);
    REQUIRE((!time.seconds || std::isfinite(*time.seconds)));
    REQUIRE(std::isfinite(f.outlook().per_day));
    REQUIRE(std::isfinite(f.outlook().per_day_error));
    REQUIRE(std::isfinite(f.at(86'400)));
  }
  CHECK_FALSE(f.add(slot, 1));
  const std::string saved = f.save();
  CHECK(saved.size() < 16 * 1024);
  Fill loaded;
  REQUIRE(loaded.load(saved));
  CHECK(loaded.outlook().per_day == f.outlook().per_day);
  Fill hourly(1h);
  CHECK_FALSE(hourly.load(saved));
  std::string bad = saved;
  bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] + 1);
  CHECK_FALSE(loaded.load(bad));
  CHECK_FALSE(loaded.load(std::string_view(saved).substr(0, 100)));
}

TEST_CASE("backtest: errors against both naive forecasts, coverage, crossings") {
  std::vector<std::int64_t> times;
  std::vector<double> values;
  std::mt19937 random(7);
  std::normal_distribution<double> noise(0, 1);
  for (std::int64_t i = 0; i < 10 * kDay; ++i) {
    times.push_back((kBegin + i) * 300'000);
    values.push_back(50 + 20 * cycle(i) + noise(random));
  }
  BacktestPlan plan;
  plan.threshold = 65;
  const auto result = backtest(times, values, plan);
  CHECK(result.forecasts > 10'000);
  CHECK(result.error < 0.5 * result.last_value_error);
  REQUIRE(result.seasonal_error);
  CHECK(result.error < *result.seasonal_error);
  CHECK(result.coverage80 == Approx(0.8).margin(0.04));
  CHECK(result.coverage95 == Approx(0.95).margin(0.02));
  CHECK(result.crossings >= 5);
  CHECK(result.foretold == result.crossings);
  CHECK(result.warned_seconds > 600);
  CHECK(result.each.size() == result.crossings);
  for (const auto& crossing : result.each) {
    CHECK(crossing.time % 300'000 == 0);
    CHECK(crossing.foretold_seconds.value_or(0) > 0);
  }
  CHECK(backtest({}, {}, plan).forecasts == 0);
}

TEST_CASE("backtest: alarms, which of them were false, and how early") {
  std::vector<std::int64_t> times;
  std::vector<double> values;
  std::mt19937 random(8);
  std::normal_distribution<double> noise(0, 1);
  constexpr int kRows = 8 * 1440;
  for (int i = 0; i < kRows; ++i) {
    times.push_back((kBegin * 5 + i) * 60'000);
    double value = 30 + noise(random);
    // Half an hour of trouble that ends beyond the threshold, and a day later one that does not.
    if (i >= 6 * 1440 && i < 6 * 1440 + 30) value += 10 + 2.0 * (i - 6 * 1440);
    if (i >= 7 * 1440 && i < 7 * 1440 + 10) value -= 40;
    values.push_back(value);
  }
  BacktestPlan plan;
  plan.step = 1min;
  plan.threshold = 80;
  auto result = backtest(times, values, plan);
  judge_alarms(times, values, plan, result);
  REQUIRE(result.crossings == 1);
  REQUIRE(result.each[0].alarm_seconds);
  CHECK(*result.each[0].alarm_seconds >= 300);
  CHECK(result.alarms >= 2);
  CHECK(result.false_alarms >= 1);
  CHECK(result.false_alarms < result.alarms);
  CHECK(result.alarm_days > 7);
  CHECK(result.alarm_days < 8);
  BacktestResult none;
  judge_alarms({}, {}, plan, none);
  CHECK(none.alarms == 0);
}
