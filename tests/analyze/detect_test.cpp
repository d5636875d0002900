#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

#include "analyze/anomaly/alarm_budget.hpp"
#include "analyze/anomaly/extremes.hpp"
#include "analyze/anomaly/fresh.hpp"
#include "analyze/anomaly/pattern_memory.hpp"
#include "analyze/anomaly/random.hpp"
#include "analyze/anomaly/row_clock.hpp"
#include "analyze/anomaly/sequence_memory.hpp"
#include "analyze/anomaly/tail.hpp"
#include "analyze/anomaly/whitening.hpp"
#include "nexus/analyze/detect.hpp"

using namespace nexus::analyze;

namespace {

constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kDay = 24 * kHour;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

double gauss(Random& random) {
  double v = -6;
  for (int k = 0; k < 12; ++k) v += random.uniform();
  return v;
}

/// Rows of minutes; how many were flagged from `from` on.
int flags(VitalDetector& detector, int rows, const std::function<double(int)>& value_at,
          int from = 0) {
  int count = 0;
  for (int i = 0; i < rows; ++i) {
    const auto score = detector.push(i * kMinute + 1, value_at(i));
    if (score && score->flag && i >= from) ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("tail probability: exponential scores get the probabilities they have") {
  Random random(3);
  TailProbability tail(4000);
  const auto draw = [&] { return -std::log(1 - random.uniform()); };
  for (int i = 0; i < 50'000; ++i) tail.learn(draw());
  // The histogram's bins are an eighth of an octave wide: a tenth of a decade is what it can do.
  CHECK(tail.surprise(std::log(10.0)) == Approx(1).margin(0.1));
  CHECK(tail.surprise(std::log(1000.0)) == Approx(3).margin(0.4));
  CHECK(tail.surprise(std::log(1e6)) == Approx(6).margin(1));
  // It forgets: ten times the scale is no surprise any more once it is usual.
  for (int i = 0; i < 20'000; ++i) tail.learn(10 * draw());
  CHECK(tail.surprise(10 * std::log(10.0)) == Approx(1).margin(0.15));
  TailProbability empty;
  CHECK(empty.surprise(1e9) == 0);
}

TEST_CASE("sequence memory: what came often is expected, a new order of the same values is not") {
  SequenceMemory memory;
  double last = 0;
  for (int i = 0; i < 400; ++i) last = memory.push(static_cast<std::uint32_t>(i % 4) * 4);
  CHECK(last < 0.1);
  CHECK(memory.push(12) > 5);  // 0 was due
}

TEST_CASE("small counts: as exact as plain ones, and bounded when all of them grow large") {
  SmallCounts counts;
  std::vector<std::uint16_t> plain(SmallCounts::kSlots);
  std::mt19937 random(3);
  std::geometric_distribution<std::size_t> slots(0.01);
  for (int i = 0; i < 200'000; ++i) {
    const std::size_t slot = slots(random) % plain.size();
    plain[slot] = static_cast<std::uint16_t>(i % 1000 == 999 ? plain[slot] / 2 : plain[slot] + 1);
    counts.set(slot, plain[slot]);
  }
  for (std::size_t slot = 0; slot < plain.size(); ++slot) {
    INFO(slot);
    REQUIRE(counts.at(slot) == plain[slot]);
  }
  CHECK(*std::ranges::max_element(plain) > 255);
  CHECK(counts.sound());
  for (int round = 0; round < 600; ++round)
    for (std::size_t slot = 0; slot < plain.size(); ++slot)
      counts.set(slot, static_cast<std::uint16_t>(counts.at(slot) + 1));
  CHECK(counts.sound());
  CHECK(counts.bytes() <= SmallCounts::kSlots + 4 * SmallCounts::kMostLarge);
  std::uint16_t most = 0;
  for (std::size_t slot = 0; slot < plain.size(); ++slot) most = std::max(most, counts.at(slot));
  CHECK(most < 600);  // all were halved, several times
}

TEST_CASE("extremes: beyond the range, in shares of it; rounding and infinite ranges do no harm") {
  Extremes extremes;
  for (int i = 0; i < 100; ++i) CHECK(extremes.push(i % 11) >= 0);
  CHECK(extremes.push(15) == Approx(0.5));
  CHECK(extremes.push(15) == 0);
  CHECK(extremes.push(-1.7e308) > 1);
  CHECK(std::isfinite(extremes.push(1.7e308)));
  Extremes old;
  (void)old.push(1000);
  for (int i = 0; i < 17 * 1024; ++i) (void)old.push(i % 11);
  CHECK(old.push(20) > 0);  // 1000 is more than 16 blocks ago
}

TEST_CASE("fresh: a burst counts once") {
  Fresh fresh;
  CHECK(fresh.push(5));
  CHECK_FALSE(fresh.push(4));
  CHECK_FALSE(fresh.push(5));
  CHECK(fresh.push(6));
  for (int i = 0; i < 100; ++i) CHECK_FALSE(fresh.push(1 + i * 0.01));
  CHECK(fresh.push(3));  // 6 is 101 rows ago
}

TEST_CASE("row clock: the usual distance, old rows, gaps, and a clock that was set back") {
  RowClock clock;
  for (int i = 0; i < 100; ++i) CHECK(clock.push(i * kMinute) == RowClock::Row::kNext);
  CHECK(clock.step() == Approx(60'000));
  CHECK(clock.push(99 * kMinute) == RowClock::Row::kOld);
  CHECK(clock.push(5 * kMinute) == RowClock::Row::kOld);
  CHECK(clock.push(99 * kMinute + kDay) == RowClock::Row::kAfterGap);
  CHECK(clock.rows_a_day() == Approx(1440).epsilon(0.02));
  int old = 0;
  for (int i = 0; i < 200; ++i) old += clock.push(i * kMinute) == RowClock::Row::kOld ? 1 : 0;
  CHECK(old == 59);
}

TEST_CASE("pattern memory: the same time of the day, the same values; verdicts") {
  PatternMemory memory;
  memory.note(90, 2 * kHour);
  memory.note(95, 2 * kHour + 10 * kMinute);
  CHECK_FALSE(memory.knows(92, 3 * kHour, 1));              // the same episode
  CHECK(memory.knows(92, kDay + 2 * kHour, 1));             // next night
  CHECK(memory.knows(96, 7 * kDay + 2 * kHour, 1));         // next week
  CHECK_FALSE(memory.knows(120, kDay + 2 * kHour, 1));      // more than it was
  CHECK_FALSE(memory.knows(92, kDay + 12 * kHour, 1));      // another time
  CHECK_FALSE(memory.knows(92, 20 * kDay + 2 * kHour, 1));  // long ago
  CHECK(memory.judge(2 * kHour, 92, false));
  CHECK(memory.knows(92, kDay + 12 * kHour, 1));  // noise is noise at any time
  CHECK(memory.judge(2 * kHour, 92, true));
  CHECK_FALSE(memory.knows(92, kDay + 2 * kHour, 1));
  CHECK_FALSE(memory.judge(40 * kDay, 92, true));
  for (int i = 0; i < 200; ++i) memory.note(1, (50 + i) * kDay);
  CHECK_FALSE(memory.knows(92, kDay + 2 * kHour, 1));  // the verdict outlives them
  CHECK(memory.sound());
}

TEST_CASE("alarm budget: alarms raise what is asked for, quiet time and verdicts lower it") {
  AlarmBudget budget;
  budget.advance(1, 1);
  CHECK(budget.extra() == 0);
  budget.alarmed();
  const double after = budget.extra();
  CHECK(after > 0);
  budget.advance(1 + kDay / 2, 1);
  CHECK(budget.extra() == Approx(after / 2));
  budget.advance(1 + 3 * kDay, 1);
  CHECK(budget.extra() == 0);
  CHECK(budget.judged(true, 0) == -0.5);
  CHECK(budget.extra() < 0);
  // A verdict that replaces one takes back what that one moved: at the limit, nothing.
  for (int i = 0; i < 7; ++i) CHECK(budget.judged(false, 0) == 0.5);
  CHECK(budget.judged(false, 0) == 0);
  CHECK(budget.extra() == 3);
  CHECK(budget.judged(true, 0) == -0.5);
  CHECK(budget.judged(false, -0.5) == 0);
  CHECK(budget.extra() == 3);
}

TEST_CASE("whitening: correlated features become independent ones of unit size") {
  constexpr std::size_t kSize = 11;
  Whitening whitening(kSize);
  Random random(5);
  std::vector<float> z(whitening.padded(), 0);
  std::vector<float> y(whitening.padded(), 0);
  const auto draw = [&] {
    const double common = gauss(random);
    for (std::size_t i = 0; i < kSize; ++i)
      z[i] = static_cast<float>(0.8 * common + 0.6 * gauss(random));
  };
  for (int i = 1; i <= 20'000; ++i) {
    draw();
    whitening.learn(z, 1.0 / i);
  }
  whitening.refresh();
  std::vector<double> cross(kSize * kSize, 0);
  for (int n = 0; n < 5000; ++n) {
    draw();
    whitening.whiten(z, y);
    for (std::size_t i = 0; i < kSize; ++i)
      for (std::size_t j = 0; j < kSize; ++j)
        cross[i * kSize + j] += static_cast<double>(y[i]) * static_cast<double>(y[j]) / 5000;
  }
  for (std::size_t i = 0; i < kSize; ++i) {
    for (std::size_t j = 0; j < kSize; ++j) {
      INFO(i << " " << j);
      // Shrinking leaves a tenth of what was there.
      CHECK(cross[i * kSize + j] == Approx(i == j ? 0.9 : 0).margin(0.2));
    }
  }
  // back(): z C^-1 z is the squared length of the whitened row.
  std::vector<float> solved(whitening.padded(), 0);
  whitening.back(y, solved);
  double product = 0;
  double length = 0;
  for (std::size_t i = 0; i < kSize; ++i) {
    product += static_cast<double>(z[i]) * static_cast<double>(solved[i]);
    length += static_cast<double>(y[i]) * static_cast<double>(y[i]);
  }
  CHECK(product == Approx(length).epsilon(1e-3));
}

TEST_CASE("vital detector: warm-up with progress, few alarms on noise, one for a burst") {
  VitalDetector detector;
  Random random(7);
  int early = 0;
  for (int i = 0; i < 100; ++i) {
    const auto score = detector.push(i * kMinute + 1, 50 + gauss(random));
    REQUIRE(score);
    early += score->ready || score->flag ? 1 : 0;
    if (i == 34) CHECK(score->progress == Approx(0.1));
  }
  CHECK(early == 0);
  int noise = 0;
  for (int i = 100; i < 14 * 1440; ++i) {
    const auto score = detector.push(i * kMinute + 1, 50 + gauss(random));
    noise += score->flag ? 1 : 0;
  }
  CHECK(noise <= 5);  // an eighth a day is 1.75 in two weeks; tails are what they are
  int burst = 0;
  for (int i = 14 * 1440; i < 14 * 1440 + 30; ++i) {
    const auto score = detector.push(i * kMinute + 1, 90 + gauss(random));
    burst += score->flag ? 1 : 0;
    if (score->flag) CHECK(score->probability < 1e-3);
  }
  CHECK(burst == 1);
  CHECK(detector.usual() > 50);
  CHECK(detector.bytes() < 64 * 1024);
}

TEST_CASE("vital detector: values inside the range in a new order are seen") {
  VitalDetector detector;
  Random random(11);
  const auto square = [&](int i) { return (i / 20 % 2 == 0 ? 20 : 80) + gauss(random); };
  double most = 0;
  for (int i = 0; i < 5000; ++i) {
    const auto score = detector.push(i * kMinute + 1, square(i));
    if (i > 1000) most = std::max(most, score->score);
  }
  double stuck = 0;
  for (int i = 5000; i < 5010; ++i)  // in the middle of the range
    stuck = std::max(stuck, detector.push(i * kMinute + 1, 50 + gauss(random))->score);
  CHECK(stuck > most + 0.5);
}

TEST_CASE("vital detector: constant series never alarm, one that moves for once alarms once") {
  VitalDetector detector;
  CHECK(flags(detector, 3000, [](int) { return 42.0; }) == 0);
  int after = 0;
  for (int i = 3000; i < 13'000; ++i) {
    const auto score = detector.push(i * kMinute + 1, 43);
    after += score->flag ? 1 : 0;
  }
  CHECK(after == 1);
  VitalDetector zero;
  CHECK(flags(zero, 3000, [](int) { return 0.0; }) == 0);
}

TEST_CASE("vital detector: a nightly job is told once or twice, not in week two") {
  for (const int seed : {1, 2, 3}) {
    VitalDetector detector;
    Random random(static_cast<std::uint64_t>(seed));
    int first = 0;
    int second = 0;
    for (int i = 0; i < 14 * 1440; ++i) {
      const int minute = i % 1440;
      const bool job = minute >= 150 && minute < 175;
      const double value = (job ? 85 : 12) + 2 * gauss(random);
      const auto score = detector.push(i * kMinute + 1, value);
      (i < 7 * 1440 ? first : second) += score->flag ? 1 : 0;
    }
    INFO("seed " << seed);
    CHECK(first >= 1);
    CHECK(first <= 4);
    CHECK(second == 0);
  }
}

TEST_CASE("vital detector: what people call noise is not told again") {
  const auto run = [](bool judged) {
    VitalDetector detector;
    Random random(13);
    int told = 0;
    for (int i = 0; i < 6000; ++i) {
      const bool odd = i >= 2000 && (i - 2000) % 997 < 5;  // at ever other times
      const auto score = detector.push(i * kMinute + 1, (odd ? 60 : 20) + gauss(random));
      if (!score->flag) continue;
      ++told;
      if (judged) detector.judge(i * kMinute + 1, 60, false);
    }
    return told;
  };
  const int judged = run(true);
  CHECK(judged >= 1);
  CHECK(judged <= 2);
  CHECK(run(false) >= judged);
}

TEST_CASE("vital detector: NaN, infinities, old rows, outliers, resets and clock steps") {
  VitalDetector detector;
  Random random(17);
  CHECK_FALSE(detector.push(1, kNaN));
  CHECK_FALSE(detector.push(1, kInf));
  CHECK_FALSE(detector.push(1, -kInf));
  std::int64_t time = kDay;
  const auto push = [&](double value) {
    time += kMinute;
    const auto score = detector.push(time, value);
    if (score) {
      CHECK(std::isfinite(score->score));
      CHECK(std::isfinite(score->probability));
      CHECK(score->probability >= 0);
      CHECK(score->probability <= 1);
    }
    return score;
  };
  for (int i = 0; i < 1000; ++i) (void)push(5 + gauss(random));
  CHECK_FALSE(detector.push(time, 5));          // the same time
  CHECK_FALSE(detector.push(time - kHour, 5));  // backwards
  CHECK(push(1e300)->flag);
  (void)push(-1.7e308);
  (void)push(1.7e308);
  for (int i = 0; i < 3000; ++i) (void)push(5 + gauss(random));
  CHECK(std::isfinite(detector.usual()));
  for (int i = 0; i < 3000; ++i) (void)push(i % 500);  // a counter that resets
  time -= 3 * kDay;                                    // the clock is set back for good
  int followed = 0;
  for (int i = 0; i < 200; ++i) followed += push(5 + gauss(random)) ? 1 : 0;
  CHECK(followed > 100);
  time += 30 * kDay;  // and forward
  CHECK(push(5));
}

TEST_CASE("vital detector: saved and loaded it goes on as if nothing had been") {
  VitalDetector one;
  Random random(19);
  std::vector<double> values;
  for (int i = 0; i < 4000; ++i) values.push_back(10 + gauss(random) + (i % 700 == 3 ? 30 : 0));
  for (int i = 0; i < 3000; ++i)
    (void)one.push(i * kMinute + 1, values[static_cast<std::size_t>(i)]);
  const std::string bytes = one.save();
  CHECK(bytes.size() < 64 * 1024);
  VitalDetector two;
  REQUIRE(two.load(bytes));
  for (int i = 3000; i < 4000; ++i) {
    const auto a = one.push(i * kMinute + 1, values[static_cast<std::size_t>(i)]);
    const auto b = two.push(i * kMinute + 1, values[static_cast<std::size_t>(i)]);
    REQUIRE(a->score == b->score);
    REQUIRE(a->flag == b->flag);
  }
  // Damage is refused as a whole.
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    std::string bad = bytes;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    VitalDetector three;
    CHECK_FALSE(three.load(bad));
    CHECK(three.rows() == 0);
  }
  VitalDetector four;
  CHECK_FALSE(four.load(""));
  CHECK_FALSE(four.load(std::string_view(bytes).substr(0, bytes.size() - 9)));
  HostDetector host(3);
  CHECK_FALSE(host.load(bytes));
}

namespace {

/// Ten columns that go with two hidden causes.
std::vector<double> host_row(Random& random, int i) {
  const double load = std::sin(i / 50.0) + 0.3 * gauss(random);
  const double traffic = std::cos(i / 33.0) + 0.3 * gauss(random);
  std::vector<double> row;
  for (int c = 0; c < 10; ++c)
    row.push_back(100 * c + (c % 2 == 0 ? load : traffic) * (1 + c) + 0.1 * gauss(random));
  return row;
}

}  // namespace

TEST_CASE("host detector: a broken relation of usual values is seen and its column is named") {
  HostDetector detector(10);
  Random random(23);
  int noise = 0;
  for (int i = 0; i < 5 * 1440; ++i) {
    const auto score = detector.push(i * kMinute + 1, host_row(random, i));
    REQUIRE(score);
    if (i < 500) CHECK_FALSE(score->ready);
    noise += score->flag ? 1 : 0;
  }
  CHECK(noise <= 60);  // rows of a handful of alarms
  bool seen = false;
  for (int i = 5 * 1440; i < 5 * 1440 + 20; ++i) {
    auto row = host_row(random, i);
    row[4] = 400 - (row[4] - 400) + 3;  // against what the others do, within its range
    const auto score = detector.push(i * kMinute + 1, row);
    if (!score->flag) continue;
    seen = true;
    const auto parts = detector.contributions(3);
    REQUIRE(parts.size() == 3);
    CHECK(parts[0].column == 4);
    CHECK(parts[0].share > 0.4);
    CHECK(parts[0].present == row[4]);
    CHECK(parts[0].usual == Approx(400).margin(1));
  }
  CHECK(seen);
}

TEST_CASE("host detector: missing and impossible values, constants, gaps, and no NaN comes out") {
  HostDetector detector(6);
  Random random(29);
  std::int64_t time = 0;
  for (int i = 0; i < 3000; ++i) {
    time += i % 900 == 899 ? kHour : kMinute;
    std::vector<double> row = {gauss(random),
                               7,
                               kNaN,
                               i % 3 == 0 ? kNaN : gauss(random),
                               i == 1500 ? 1e300 : gauss(random),
                               i == 2000 ? kInf : 0};
    const auto score = detector.push(time, row);
    REQUIRE(score);
    REQUIRE(std::isfinite(score->score));
    REQUIRE(std::isfinite(score->probability));
    if (i == 1500) CHECK(score->flag);
  }
  for (const auto& part : detector.contributions(6)) CHECK(std::isfinite(part.share));
  CHECK_FALSE(detector.push(time, std::vector<double>(6, 0.0)));
  // No value at all is no row.
  CHECK_FALSE(detector.push(time + kMinute, std::vector<double>()));
  CHECK_FALSE(detector.push(time + kMinute, std::vector<double>(6, kNaN)));
  CHECK(detector.rows() == 3000);
  HostDetector none(0);
  CHECK_FALSE(none.push(1, std::vector<double>()));
}

TEST_CASE("host detector: a thousand columns, in blocks") {
  HostDetector detector(1000);
  Random random(31);
  std::vector<double> row(1000);
  for (int i = 0; i < 700; ++i) {
    for (double& v : row) v = gauss(random);
    const auto score = detector.push(i * kMinute + 1, row);
    REQUIRE(score);
    REQUIRE(std::isfinite(score->score));
  }
  CHECK(detector.bytes() < 8U << 20);
}

TEST_CASE("host detector: what lasts is learnt at last") {
  HostDetector detector(10);
  Random random(37);
  int last_day = 0;
  for (int i = 0; i < 12 * 1440; ++i) {
    auto row = host_row(random, i);
    if (i > 3 * 1440) row[2] += 30;
    const auto score = detector.push(i * kMinute + 1, row);
    if (i > 11 * 1440) last_day += score->flag ? 1 : 0;
  }
  CHECK(last_day < 60);
}

TEST_CASE("host detector: saved and loaded") {
  HostDetector one(10);
  Random random(41);
  for (int i = 0; i < 2000; ++i) (void)one.push(i * kMinute + 1, host_row(random, i));
  HostDetector two(10);
  REQUIRE(two.load(one.save()));
  for (int i = 2000; i < 2100; ++i) {
    const auto row = host_row(random, i);
    const auto a = one.push(i * kMinute + 1, row);
    const auto b = two.push(i * kMinute + 1, row);
    // The factor is made anew from the covariance, which is a little newer than the factor was.
    REQUIRE(a->score == Approx(b->score).epsilon(0.2));
  }
  HostDetector other(11);
  CHECK_FALSE(other.load(one.save()));
  CHECK(other.rows() == 0);
}
