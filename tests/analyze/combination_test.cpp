#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "analyze/forecast/experts/histogram.hpp"
#include "analyze/forecast/experts/value_ring.hpp"
#include "nexus/analyze/combination.hpp"
#include "nexus/analyze/rolling.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t kBegin = 1'577'836'800 / 300;

Combination::Shape five_minutes() {
  Combination::Shape shape;
  shape.step = 5min;
  shape.leads = Combination::leads_up_to(12);
  return shape;
}

bool finite(const ForecastPoint& p) {
  return std::isfinite(p.mean) && std::isfinite(p.lo80) && std::isfinite(p.hi80) &&
         std::isfinite(p.lo95) && std::isfinite(p.hi95);
}

bool ordered(const ForecastPoint& p) {
  return p.lo95 <= p.lo80 && p.lo80 <= p.hi80 && p.hi80 <= p.hi95;
}

/// A day's cycle with noise.
double daily(std::int64_t i, std::mt19937& random, double noise) {
  std::normal_distribution<double> normal(0, noise);
  return 50 + 20 * std::sin(2 * std::numbers::pi * static_cast<double>(i % 288) / 288) +
         normal(random);
}

}  // namespace

TEST_CASE("short floats: two and a half digits over all of a float's range") {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> power(-30, 30);
  for (int i = 0; i < 2000; ++i) {
    const float value = (i % 2 == 0 ? 1.0F : -1.0F) * std::pow(10.0F, power(random));
    CHECK(std::abs(lengthen(shorten(value)) - value) <= std::abs(value) / 256);
    CHECK(lengthen(shorten_up(value)) >= value);
    CHECK(lengthen(shorten_down(value)) <= value);
    CHECK(lengthen(shorten_up(value)) - lengthen(shorten_down(value)) <= std::abs(value) / 127);
  }
  CHECK(lengthen(shorten(0)) == 0);
  CHECK(lengthen(shorten(-2.5F)) == -2.5F);
  CHECK(std::isnan(lengthen(shorten(std::numeric_limits<float>::quiet_NaN()))));
}

TEST_CASE(
    "value ring: the newest is exact, older ones nearly, and nothing stands before the first") {
  constexpr std::size_t kKeeps = 100;
  ValueRing ring(kKeeps);
  CHECK(ring.at(0) == 0);
  std::vector<float> pushed;
  std::mt19937 random(6);
  std::normal_distribution<float> noise(0, 3);
  for (int i = 0; i < 1000; ++i) {
    pushed.push_back(1e6F + static_cast<float>(i) + noise(random));
    ring.push(pushed.back());
    CHECK(ring.at(0) == pushed.back());
    if (i == 10) CHECK(ring.at(11) == 0);
    for (std::size_t ago = 1; ago < std::min(kKeeps, pushed.size()); ago += 7)
      CHECK(ring.at(ago) == Approx(pushed[pushed.size() - 1 - ago]).margin(0.15));
  }
  CHECK(ring.bytes() < kKeeps * 3);
}

TEST_CASE("value ring: an outlier costs the values beside it no digits, wherever it stands") {
  for (std::size_t outlier = 40; outlier < 57; ++outlier) {
    ValueRing ring(100);
    for (std::size_t i = 0; i < 80; ++i)
      ring.push(i == outlier ? 1e6F : 1 + static_cast<float>(i % 3) / 10);
    for (std::size_t i = 0; i < 80; ++i) {
      if (i != outlier)
        CHECK(ring.at(79 - i) == Approx(1 + static_cast<double>(i % 3) / 10).margin(0.001));
    }
    CHECK(ring.at(79 - outlier) == Approx(1e6).epsilon(0.002));
  }
}

TEST_CASE("histograms: quantiles of what fades, with bins that are full now and then") {
  Histograms histograms(3);
  std::mt19937 random(8);
  std::normal_distribution<float> normal(0, 1);
  for (int i = 0; i < 20'000; ++i) histograms.add(1, 5 + normal(random), 1 - 1 / 1500.0);
  for (int i = 0; i < 20'000; ++i) histograms.add(1, normal(random), 1 - 1 / 1500.0);
  const auto q = histograms.quantiles(1, 1, {0.1, 0.9, 0.025, 0.975});
  CHECK(q[0] == Approx(-1.28).margin(0.12));
  CHECK(q[1] == Approx(1.28).margin(0.12));
  CHECK(q[2] == Approx(-1.96).margin(0.2));
  CHECK(q[3] == Approx(1.96).margin(0.2));
  // All in one bin, for ever; then half of it forgotten: one in three is new.
  for (int i = 0; i < 50'000; ++i) histograms.add(0, 0, 1 - 1 / 1500.0);
  CHECK(histograms.quantiles(0, 0, {0.1, 0.9, 0.025, 0.975}) == std::array<float, 4>{});
  histograms.forget(0, 0.5);
  for (int i = 0; i < 375; ++i) histograms.add(0, 2, 1 - 1 / 1500.0);
  const auto forgot = histograms.quantiles(0, 0, {0.5, 0.7, 0.5, 0.9});
  CHECK(forgot[0] == 0);
  CHECK(forgot[1] > 1.5);
  CHECK(forgot[3] > 1.5);
  CHECK(histograms.quantiles(2, 0, {0.1, 0.9, 0.025, 0.975}) == std::array<float, 4>{});
}

TEST_CASE("combination: leads") {
  CHECK(Combination::leads_up_to(3) == std::vector<std::uint32_t>{1, 2, 3});
  CHECK(Combination::leads_up_to(7) == std::vector<std::uint32_t>{1, 2, 3, 4, 6, 7});
  CHECK(Combination::leads_up_to(12) == std::vector<std::uint32_t>{1, 2, 3, 4, 6, 8, 10, 12});
  for (const std::uint32_t farthest : {13U, 48U, 60U, 168U, 2016U}) {
    const auto leads = Combination::leads_up_to(farthest);
    CHECK(leads.size() == 12);
    CHECK(leads.front() == 1);
    CHECK(leads.back() == farthest);
    CHECK(std::adjacent_find(leads.begin(), leads.end(), std::greater_equal<>()) == leads.end());
  }
}

TEST_CASE("combination: a daily cycle is found, used, and beats both naive forecasts") {
  Combination model(five_minutes());
  std::mt19937 random(3);
  double error = 0;
  double last = 0;
  double seasonal = 0;
  double inside80 = 0;
  double inside95 = 0;
  double n = 0;
  std::vector<double> all;
  for (std::int64_t i = 0; i < 288 * 10; ++i) all.push_back(daily(i, random, 2));
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i == 288) CHECK(model.seasons().empty());  // a day alone proves nothing
    if (i >= 288 * 5 && i + 12 < all.size()) {
      const auto p = model.at(12);
      const double truth = all[i + 11];
      error += std::abs(p.mean - truth);
      last += std::abs(all[i - 1] - truth);
      seasonal += std::abs(all[i + 11 - 288] - truth);
      inside80 += p.lo80 <= truth && truth <= p.hi80 ? 1 : 0;
      inside95 += p.lo95 <= truth && truth <= p.hi95 ? 1 : 0;
      ++n;
    }
    REQUIRE(model.add(kBegin + static_cast<std::int64_t>(i), all[i]));
  }
  CHECK(model.seasons().find("day") != std::string::npos);
  CHECK(error < 0.5 * last);
  CHECK(error < 0.9 * seasonal);
  CHECK(inside80 / n == Approx(0.8).margin(0.05));
  CHECK(inside95 / n == Approx(0.95).margin(0.03));
  const auto records = model.records();
  REQUIRE(records.size() == 8);
  CHECK(records.back().error < records.back().last_value_error);
  CHECK(records.back().error < records.back().seasonal_error);
  CHECK(records.back().coverage95 == Approx(0.95).margin(0.03));
}

TEST_CASE("combination: no season is seen in noise, and the mean is the forecast") {
  Combination model(five_minutes());
  std::mt19937 random(5);
  std::normal_distribution<double> normal(100, 10);
  ForecastPoint sum;
  for (std::int64_t i = 0; i < 288 * 6; ++i) {
    model.add(kBegin + i, normal(random));
    if (i < 288 * 3) continue;
    const auto p = model.at(12);
    sum.mean += p.mean / (288 * 3);
    sum.lo80 += p.lo80 / (288 * 3);
    sum.hi95 += p.hi95 / (288 * 3);
  }
  CHECK(model.seasons().empty());
  CHECK(sum.mean == Approx(100).margin(2));
  CHECK(sum.lo80 == Approx(100 - 12.8).margin(3));
  CHECK(sum.hi95 == Approx(100 + 19.6).margin(4));
}

namespace {

/// Shares of values inside the intervals, and their mean widths.
struct Covered {
  double n = 0, in80 = 0, in95 = 0, wide80 = 0, wide95 = 0;
};

/// Two days ahead in hours, from every seventh row of the second half.
void cover(const std::vector<double>& values, Covered& out) {
  Combination::Shape shape;
  shape.step = 1h;
  shape.leads = Combination::leads_up_to(48);
  Combination model(shape);
  for (std::size_t i = 0; i + 48 <= values.size(); ++i) {
    if (i >= values.size() / 2 && (i - values.size() / 2) % 7 == 0) {
      for (std::uint32_t lead = 1; lead <= 48; ++lead) {
        const auto p = model.at(lead);
        const double truth = values[i + lead - 1];
        out.n += 1;
        out.in80 += p.lo80 <= truth && truth <= p.hi80 ? 1 : 0;
        out.in95 += p.lo95 <= truth && truth <= p.hi95 ? 1 : 0;
        out.wide80 += p.hi80 - p.lo80;
        out.wide95 += p.hi95 - p.lo95;
      }
    }
    model.add(438'288 + static_cast<std::int64_t>(i), values[i]);
  }
}

/// Of `count` series of `rows` that `next(row, noise)` makes.
Covered covered(int count, int rows, auto&& next) {
  std::mt19937 random(11);
  std::normal_distribution<double> normal(0, 1);
  Covered out;
  for (int series = 0; series < count; ++series) {
    std::vector<double> values;
    for (int i = 0; i < rows; ++i) values.push_back(next(i, normal(random)));
    cover(values, out);
  }
  out.in80 /= out.n;
  out.in95 /= out.n;
  return out;
}

double cycle(int i) {
  return 3 * std::sin(2 * std::numbers::pi * i / 24);
}

constexpr int kTwoWeeks = 336;

}  // namespace

TEST_CASE(
    "combination: intervals of two days after one to two weeks of hours cover what they say") {
  // A day's cycle and noise that knows nothing of its past: errors two days ahead overlap and are
  // nevertheless all news. Counted as if three were known, 80 % intervals covered 91 %, and those
  // of 95 % lay beyond every error that ever was: the first ones, made before a day was known.
  const auto c = covered(20, kTwoWeeks, [](int i, double noise) { return 10 + cycle(i) + noise; });
  CHECK(c.in80 == Approx(0.8).margin(0.04));
  CHECK(c.in95 == Approx(0.96).margin(0.02));
  CHECK(c.wide95 < 2.2 * c.wide80);  // 1.5 times, of a normal
}

TEST_CASE("combination: intervals of two days cover harder series too") {
  double state = 0;
  SECTION("what comes back slowly") {
    const auto c = covered(20, kTwoWeeks, [&](int i, double noise) {
      state = i == 0 ? noise : 0.9 * state + noise;
      return 20 + state;
    });
    CHECK(c.in80 == Approx(0.82).margin(0.06));
    CHECK(c.in95 == Approx(0.95).margin(0.03));
  }
  SECTION("a day's cycle and what comes back slowly") {
    const auto c = covered(20, kTwoWeeks, [&](int i, double noise) {
      state = i == 0 ? noise : 0.8 * state + noise;
      return 20 + cycle(i) + state;
    });
    CHECK(c.in80 == Approx(0.82).margin(0.06));
    CHECK(c.in95 == Approx(0.96).margin(0.03));
  }
  SECTION("a random walk") {
    const auto c = covered(30, kTwoWeeks, [&](int i, double noise) {
      state = i == 0 ? 1000 : state + noise;
      return state;
    });
    CHECK(c.in80 == Approx(0.8).margin(0.06));
    CHECK(c.in95 == Approx(0.93).margin(0.04));
  }
  SECTION("noise that grows to three times") {
    const auto c = covered(20, kTwoWeeks, [](int i, double noise) {
      return 50 + cycle(i) + noise * (1 + 2.0 * i / kTwoWeeks);
    });
    CHECK(c.in80 == Approx(0.81).margin(0.05));
    CHECK(c.in95 == Approx(0.96).margin(0.025));
  }
  SECTION("a new level every four days, seen for three weeks at least") {
    const auto c = covered(12, 1000, [&](int i, double noise) {
      if (i % 96 == 0) state = 4 * noise;
      return 20 + state + noise;
    });
    CHECK(c.in80 == Approx(0.8).margin(0.05));
    CHECK(c.in95 == Approx(0.96).margin(0.03));
  }
}

TEST_CASE("combination: a series that has become restless has wider intervals two days ahead") {
  Combination::Shape shape;
  shape.step = 1h;
  shape.leads = Combination::leads_up_to(48);
  Combination model(shape);
  std::mt19937 random(12);
  std::normal_distribution<double> normal(0, 1);
  const auto width = [&] { return model.at(48).hi80 - model.at(48).lo80; };
  for (std::int64_t i = 0; i < 600; ++i) model.add(i, 50 + normal(random));
  const double calm = width();
  for (std::int64_t i = 600; i < 630; ++i) model.add(i, 50 + 3 * normal(random));
  CHECK(width() > 1.5 * calm);  // the mean error two days ahead has hardly moved
  CHECK(width() < 4 * calm);
}

TEST_CASE("combination: a line goes on, also at leads between the learnt ones") {
  Combination::Shape shape;
  shape.step = 1h;
  shape.leads = Combination::leads_up_to(48);
  Combination model(shape);
  for (std::int64_t i = 0; i < 400; ++i) model.add(i, 1000 + 2.0 * static_cast<double>(i));
  for (const std::uint32_t lead : {1U, 5U, 11U, 29U, 48U}) {
    const double truth = 1000 + 2.0 * (399 + lead);
    CHECK(model.at(lead).mean == Approx(truth).epsilon(0.02));
  }
}

TEST_CASE("combination: a new level is taken at once") {
  Combination model(five_minutes());
  std::mt19937 random(7);
  std::normal_distribution<double> normal(0, 1);
  for (std::int64_t i = 0; i < 1000; ++i) model.add(kBegin + i, 20 + normal(random));
  CHECK(model.changes() == 0);
  for (std::int64_t i = 1000; i < 1050; ++i) model.add(kBegin + i, 70 + normal(random));
  CHECK(model.changes() == 1);
  CHECK(model.at(12).mean == Approx(70).margin(3));
}

TEST_CASE("combination: constant, missing, wild and refused values") {
  Combination model(five_minutes());
  CHECK_FALSE(model.ready());
  CHECK(finite(model.at(1)));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(model.add(kBegin, nan));
  for (std::int64_t i = 0; i < 300; ++i) CHECK(model.add(kBegin + i, 5));
  CHECK(model.at(12).mean == 5);
  CHECK(model.at(12).lo95 == Approx(5).margin(1e-5));
  CHECK(model.at(12).hi95 == Approx(5).margin(1e-5));

  CHECK_FALSE(model.add(kBegin + 299, 6));  // the same slot again
  CHECK_FALSE(model.add(kBegin + 10, 6));   // backward
  CHECK(model.at(12).mean == 5);

  CHECK(model.add(kBegin + 300, 1e300));
  CHECK(model.add(kBegin + 301, std::numeric_limits<double>::infinity()));
  CHECK(model.add(kBegin + 302, nan));
  for (std::int64_t i = 303; i < 310; ++i) model.add(kBegin + i, 5);
  CHECK(model.at(12).mean == Approx(5).epsilon(0.01));

  CHECK(model.add(kBegin + 400, 5));  // a gap is bridged
  CHECK(model.at(1).mean == Approx(5).epsilon(0.01));
  CHECK(model.add(kBegin + 100'000, 7));  // a long one starts anew
  CHECK(model.rows() == 1);
  CHECK_FALSE(model.ready());
}

TEST_CASE("combination: no answer is ever NaN or infinite, whatever comes") {
  std::mt19937 random(11);
  std::uniform_int_distribution<int> kind(0, 11);
  std::normal_distribution<double> normal(0, 1);
  for (int run = 0; run < 6; ++run) {
    Combination model(five_minutes());
    std::int64_t slot = kBegin;
    double level = 1;
    for (int i = 0; i < 3000; ++i) {
      double value = level + normal(random);
      switch (kind(random)) {
        case 0:
          value = std::numeric_limits<double>::quiet_NaN();
          break;
        case 1:
          value = 1e300 * normal(random);
          break;
        case 2:
          value = 1e-300;
          break;
        case 3:
          level *= i % 2 == 0 ? 100 : 0.01;
          break;
        case 4:
          slot += 7;
          break;
        case 5:
          slot -= 3;
          break;
        default:
          break;
      }
      model.add(++slot, value);
      for (const std::uint32_t lead : {1U, 7U, 12U}) {
        const auto p = model.at(lead);
        REQUIRE(finite(p));
        REQUIRE(ordered(p));
      }
    }
  }
}

TEST_CASE("combination: natural bounds hold, and what never was negative is not forecast to be") {
  auto shape = five_minutes();
  shape.maximum = 100;
  Combination model(shape);
  std::mt19937 random(13);
  std::exponential_distribution<double> spikes(0.3);
  for (std::int64_t i = 0; i < 1000; ++i)
    model.add(kBegin + i, std::min(100.0, 96 + spikes(random)));
  CHECK(model.at(12).hi95 <= 100);
  Combination small(five_minutes());
  for (std::int64_t i = 0; i < 1000; ++i) small.add(kBegin + i, spikes(random));
  CHECK(small.at(12).lo95 >= -1e-5);
}

TEST_CASE("combination: what was learnt is saved, and loaded to the same answers") {
  Combination model(five_minutes());
  std::mt19937 random(17);
  for (std::int64_t i = 0; i < 288 * 4; ++i) model.add(kBegin + i, daily(i, random, 1));
  const std::string saved = model.save();
  CHECK(saved.size() < 64 * 1024);
  CHECK(model.bytes() < 64 * 1024);
  Combination loaded(five_minutes());
  REQUIRE(loaded.load(saved));
  std::mt19937 again(18);
  for (std::int64_t i = 288 * 4; i < 288 * 5; ++i) {
    const double value = daily(i, again, 1);
    model.add(kBegin + i, value);
    loaded.add(kBegin + i, value);
  }
  for (std::uint32_t lead = 1; lead <= 12; ++lead) {
    CHECK(loaded.at(lead).mean == model.at(lead).mean);
    CHECK(loaded.at(lead).lo95 == model.at(lead).lo95);
    CHECK(loaded.at(lead).hi80 == model.at(lead).hi80);
  }
  CHECK(loaded.seasons() == model.seasons());
}

TEST_CASE("combination: damaged and foreign states are refused") {
  Combination model(five_minutes());
  for (std::int64_t i = 0; i < 100; ++i) model.add(kBegin + i, static_cast<double>(i % 7));
  const std::string saved = model.save();
  Combination other(five_minutes());
  for (std::size_t cut = 0; cut < saved.size(); cut += 997)
    CHECK_FALSE(other.load(std::string_view(saved).substr(0, cut)));
  CHECK_FALSE(other.load(saved + "x"));
  auto hourly = five_minutes();
  hourly.step = 1h;
  Combination foreign(hourly);
  const auto refused = foreign.load(saved);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Errc::kConflict);
  // Any byte may be wrong: nothing may crash, and answers stay finite or the state is refused.
  std::mt19937 random(19);
  for (int i = 0; i < 300; ++i) {
    std::string bad = saved;
    bad[random() % bad.size()] = static_cast<char>(random());
    Combination hurt(five_minutes());
    if (!hurt.load(bad)) continue;
    hurt.add(kBegin + 200, 3);
    CHECK(finite(hurt.at(5)));
  }
}

TEST_CASE("rolling: origins, and rows out of order") {
  CHECK(rolling_origins(100, 12, 1) == std::vector<std::size_t>{88});
  CHECK(rolling_origins(4032, 12, 6) ==
        std::vector<std::size_t>{2016, 2416, 2817, 3218, 3619, 4020});
  CHECK(rolling_origins(12, 12, 3).empty());
  CHECK(rolling_origins(14, 12, 100) == std::vector<std::size_t>{2});
  std::vector<std::int64_t> times;
  std::vector<double> values;
  for (int i = 0; i < 50; ++i) {
    times.push_back(i * 300'000LL + (i % 2) * 7'000);
    values.push_back(i % 5);
  }
  times[20] = times[19];
  times[30] = times[3];
  RollingPlan plan;
  plan.origins = {5, 50};
  const auto rolled = roll(times, values, plan);
  CHECK(rolled.out_of_order == 2);
  REQUIRE(rolled.paths.size() == 1);  // five rows are too few
  CHECK(rolled.paths[0].origin == 50);
  CHECK(rolled.paths[0].points.size() == 12);
}
