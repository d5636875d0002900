// What the forest of a vital looks at, and what it calls strange.
#include "analyze/anomaly/model.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>

#include "analyze/anomaly/features.hpp"
#include "analyze/strange.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace nexus::analyze::test;

TEST_CASE("features: value, and change against the level of the last minute") {
  FeatureTracker tracker;
  CHECK(tracker.push(1000, 10).value() == FeatureRow{10, 0});
  CHECK_FALSE(tracker.push(1000, 11));  // not newer
  CHECK_FALSE(tracker.push(500, 11));
  CHECK_FALSE(tracker.push(2000, std::numeric_limits<double>::quiet_NaN()));
  CHECK_FALSE(tracker.push(2000, std::numeric_limits<double>::infinity()));
  CHECK(tracker.push(2000, 20).value() == FeatureRow{20, 10});
  for (int s = 3; s < 600; ++s) (void)tracker.push(s * 1000, 20);
  CHECK(tracker.push(600'000, 20).value()[1] == Approx(0).margin(0.01));
  CHECK(tracker.push(600'000 + 301'000, 90).value() == FeatureRow{90, 0});  // after a gap
  // Seldom or often sampled, the level of a ramp lags by the same time.
  const auto lag = [](int step) {
    FeatureTracker t;
    FeatureRow row{};
    for (int s = 0; s <= 3600; s += step) row = t.push(s * 1000, s).value();
    return row[1];
  };
  CHECK(lag(1) == Approx(60).epsilon(0.02));
  CHECK(lag(5) == Approx(60).epsilon(0.06));
  FeatureTracker huge;
  (void)huge.push(1, -1.7e308);
  CHECK(std::isfinite(huge.push(2, 1.7e308).value()[1]));
}

TEST_CASE("models: a range that rounding makes of its ends is learnt all the same") {
  const double lowest = GENERATE(-9.3e18, -1e300, -1.7e308, 0.0);
  const std::vector<FeatureRow> rows = {{lowest, 0}, {50, 0}, {lowest == 0 ? 5e-324 : 100, 0}};
  const auto model = Model::learn(rows);
  REQUIRE(model);
  CHECK(model->highest_value() == std::max(50.0, rows[2][0]));
  CHECK(model->lowest_value() == lowest);
}

TEST_CASE("models: negative decisions alone are not strange, values beyond all seen are") {
  std::vector<FeatureRow> rows;
  for (int s = 0; s < 5000; ++s) rows.push_back({ordinary(s), 3 * noise(s + 7)});
  auto model = trained(rows);
  REQUIRE(model);
  config::VitalConfig percent;
  percent.minimum = 0;
  percent.maximum = 100;
  int negative = 0;
  int strange = 0;
  for (const FeatureRow& row : rows) {
    const Judgement judgement = model->judge(row, percent);
    negative += judgement.decision < 0 ? 1 : 0;
    strange += judgement.strange ? 1 : 0;
  }
  CHECK(negative > 400);  // about a tenth: the contamination
  CHECK(negative < 600);
  CHECK(strange == 0);
  const double highest = model->model.highest_value();
  const double width = highest - model->model.lowest_value();
  CHECK_FALSE(model->judge({20, 0}, percent).strange);
  CHECK_FALSE(model->judge({highest + 0.1 * width, 0}, percent).strange);
  CHECK(model->judge({highest + 0.5 * width, 0}, percent).strange);
  CHECK(model->judge({highest + 0.5 * width, 0}, percent).severity == Severity::kInfo);
  CHECK(model->judge({highest + 2 * width, 0}, percent).severity == Severity::kWarning);
  CHECK(model->judge({20, 60}, percent).strange);
  // What the detector asks, without a forest that is kept.
  for (const FeatureRow& row : {FeatureRow{20, 0}, {20, 60}, {highest + 2 * width, 0}, rows[7]}) {
    const auto score = model->model.score(row, model->model.training(rows), {});
    REQUIRE(score);
    CHECK(*score == model->forest.score_samples(model->model.shifted(row)));
    CHECK(model->model.judge(row, percent, *score).decision == model->judge(row, percent).decision);
  }
  CHECK(model->model.measurements() == 1);
  // Another forest, by its rows or its options, is not compared with the first one's scores.
  const std::vector<FeatureRow> later(rows.begin() + 600, rows.end());
  REQUIRE(model->model.score(rows[7], model->model.training(later), {}));
  CHECK(model->model.measurements() == 2);
  REQUIRE(model->model.score(rows[7], model->model.training(later), {.trees = 50}));
  CHECK(model->model.measurements() == 3);
}

TEST_CASE("models: a gap between two modes is strange inside the range") {
  std::vector<FeatureRow> rows;
  for (int s = 0; s < 2000; ++s)
    rows.push_back({(s % 2 == 0 ? 10 : 80) + 2 * noise(s), noise(s + 3)});
  const auto model = trained(rows);
  REQUIRE(model);
  config::VitalConfig percent;
  percent.minimum = 0;
  percent.maximum = 100;
  CHECK(model->judge({45, 40}, percent).strange);
  CHECK_FALSE(model->judge({10, 0}, percent).strange);
  CHECK_FALSE(model->judge({80, 0}, percent).strange);
}

TEST_CASE("models: what is too small to matter and what was constant is never strange") {
  std::vector<FeatureRow> rows;
  for (int s = 0; s < 500; ++s) rows.push_back({40 + 0.001 * noise(s), 0.001 * noise(s + 1)});
  const auto model = trained(rows);
  REQUIRE(model);
  config::VitalConfig percent;
  percent.minimum = 0;
  percent.maximum = 100;
  CHECK_FALSE(model->judge({41, 0}, percent).strange);
  CHECK(model->judge({43, 0}, percent).strange);
  CHECK_FALSE(model->judge({41, 0}, {}).strange);  // no natural range: 5 % of the size
  CHECK(model->judge({43, 0}, {}).strange);

  const auto constant = trained(std::vector<FeatureRow>(300, FeatureRow{7, 0}));
  REQUIRE(constant);
  CHECK(constant->model.constant());
  CHECK_FALSE(constant->judge({1e9, 1e9}, percent).strange);
  CHECK_FALSE(constant->judge({1e9, 1e9}, percent).needs_forest);
  CHECK_FALSE(Model::learn(std::vector<FeatureRow>(1, FeatureRow{7, 0})));
}

TEST_CASE("models: what a forest would call strange is what it is asked for, and little else") {
  const auto shape = [](const char* name, const std::function<FeatureRow(int)>& row_at) {
    INFO(name);
    std::vector<FeatureRow> rows;
    for (int s = 0; s < 2000; ++s) rows.push_back(row_at(s));
    const auto without = Model::learn(rows);
    const auto with = trained(rows);
    REQUIRE(without);
    REQUIRE(with);
    double lowest = 0;  // decision of a training row
    FeatureRow low = rows.front();
    FeatureRow high = rows.front();
    int asked = 0;
    for (const FeatureRow& row : rows) {
      lowest = std::min(lowest, with->judge(row, {}).decision);
      asked += without->judge(row, {}).needs_forest ? 1 : 0;
      for (std::size_t f = 0; f < kFeatures; ++f) {
        low[f] = std::min(low[f], row[f]);
        high[f] = std::max(high[f], row[f]);
      }
    }
    CHECK(asked == 0);
    int strange = 0;
    int missed = 0;
    const auto place = [&](std::size_t f, int i) {
      return low[f] + (high[f] - low[f]) * (i - 40) / 100.0;
    };
    for (int value = 0; value <= 180; value += 2) {
      for (int change = 0; change <= 180; change += 2) {
        const FeatureRow row{place(0, value), place(1, change)};
        const Judgement judgement = with->judge(row, {});
        CHECK(without->judge(row, {}).needs_forest == judgement.needs_forest);
        CHECK_FALSE(without->judge(row, {}).strange);
        strange += judgement.strange ? 1 : 0;
        // At corners a forest may be asked too late by less than a hundredth.
        missed += judgement.decision < lowest - 0.03 && !judgement.needs_forest ? 1 : 0;
      }
    }
    CHECK(strange > 0);
    CHECK(missed == 0);
  };
  shape("noise", [](int s) { return FeatureRow{30 + 10 * noise(s), 10 * noise(s + 7)}; });
  shape("two levels",
        [](int s) { return FeatureRow{(s % 2 == 0 ? 10 : 80) + 2 * noise(s), noise(s + 3)}; });
  shape("heavy tails", [](int s) {
    const double spike = 1 / (0.002 + std::abs(noise(s)));
    return FeatureRow{5 + spike, spike - 3};
  });
  shape("a line", [](int s) { return FeatureRow{s / 10.0, 5 + noise(s)}; });
  shape("few outliers", [](int s) {
    return FeatureRow{s % 500 == 0 ? 100 : 20 + noise(s), s % 500 == 0 ? 80 : noise(s + 1)};
  });
}
