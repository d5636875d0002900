#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "analyze/fills.hpp"
#include "nexus/analyze/fill.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace nexus::analyze::test;

namespace {

constexpr double kDaySeconds = 86'400;
constexpr double kWeek = 7 * kDaySeconds;

/// Hours after the event, but for `steady`.
struct FillScore {
  double steady = 0;  // share of rows right (15 %) from the third day until the event
  int infinite = 0;   // hours with a number that is none
  double none = 0;    // hours without a date in the three days from when it is settled
  double off = 0;     // hours with one that is more than 15 % off
  double wrong = 0;   // by more than half, or a date where there is none: all days after it
  double falls = 0;   // hours with a date for coming down to 0
  double cries = 0;   // hours that look like a finding, and it is not within two weeks
  std::optional<double> back;  // hours from when it is settled until right, and six hours on
};

bool looks_like_a_finding(const FillTime& time) {
  return time.seconds && time.latest && time.earliest && *time.latest <= kWeek &&
         *time.latest <= 4 * *time.earliest + kDaySeconds / 4;
}

FillScore score(const FillReplay& replay, unsigned seed) {
  FillScore out;
  Fill fill;
  std::mt19937 random(seed + 1000);
  std::normal_distribution<double> noise(0, 1);
  int steady = 0;
  int right_hours = 0;
  constexpr double hours = 1.0;
  for (std::int64_t row = 0; row < replay.rows; ++row) {
    double value = replay.level(row, row) + replay.noise * noise(random);
    if (replay.grain > 0) value = std::round(value / replay.grain) * replay.grain;
    if (row >= replay.gap.first && row < replay.gap.second) continue;
    fill.add(5'000'000 + row, value);
    if (row % kRowsAnHour != 0) continue;
    const auto time = fill.until(100, true);
    const auto outlook = fill.outlook();
    if (!std::isfinite(outlook.per_day) || !std::isfinite(outlook.per_day_error)) ++out.infinite;
    const auto truth = replay.truth(row);
    const double ratio = time.seconds && truth ? *time.seconds / std::max(*truth, 1.0) : 0;
    const bool right = ratio > 1 / 1.15 && ratio < 1.15;
    if (row < replay.event) {
      if (row < 3 * kRowsADay) continue;
      ++steady;
      out.steady += right ? 1 : 0;
      continue;
    }
    if (time.seconds && (!truth || ratio < 1 / 1.5 || ratio > 1.5)) out.wrong += hours;
    if (fill.until(0, false).seconds) out.falls += hours;
    if (looks_like_a_finding(time) && truth.value_or(4 * kWeek) > 2 * kWeek) out.cries += hours;
    const auto since = row - replay.event - replay.settled;
    if (since < 0) continue;
    if (since < 3 * kRowsADay) {
      if (!time.seconds) out.none += hours;
      if (time.seconds && !right) out.off += hours;
    }
    right_hours = right ? right_hours + 1 : 0;
    if (right_hours == 6 && !out.back) out.back = static_cast<double>(since) / kRowsAnHour - 5;
  }
  out.steady = steady > 0 ? out.steady / steady : 0;
  return out;
}

}  // namespace

namespace {

/// Every replay whose name begins with one of these, by a few seeds.
void of_each(const std::vector<std::string>& names,
             const std::function<void(const FillScore&)>& check) {
  for (const auto& name : names) {
    bool found = false;
    for (const auto& scenario : fill_scenarios()) {
      if (scenario.name != name) continue;
      found = true;
      for (const unsigned seed : {200U, 201U, 202U}) {
        const auto one = score(scenario.make(seed), seed);
        INFO(name << ", seed " << seed << ": right before " << one.steady << ", back after "
                  << one.back.value_or(-1) << " h, none " << one.none << " h, off " << one.off
                  << " h, wrong " << one.wrong << " h, falls " << one.falls << " h, cries "
                  << one.cries << " h");
        CHECK(one.infinite == 0);
        check(one);
      }
    }
    CHECK(found);
  }
}

}  // namespace

TEST_CASE("fill: a jump, cleaned up or not, costs a steady fill its date for hours at most") {
  of_each({"one jump up", "one jump, in 2 h", "jump, cleaned after 1 h", "jump, cleaned after 1 d",
           "jump, cleaned after 3 d", "jump, values in coarse units",
           "reboot: 40 min missing, less by half a jump", "clean-up of half of the rise"},
          [](const FillScore& score) {
            CHECK(score.steady > 0.99);
            REQUIRE(score.back);
            CHECK(*score.back <= 3);
            CHECK(score.none <= 12);
            CHECK(score.off <= 2);
            CHECK(score.wrong == 0);
            CHECK(score.falls == 0);
            CHECK(score.cries == 0);
          });
}

TEST_CASE("fill: what does not fill gets no date from jumps and clean-ups") {
  of_each({"quiet, one jump", "quiet, two jumps", "quiet, a jump cleaned after 1 d",
           "never: saw teeth of 7 days", "never (D9): boot", "never (D9): package run",
           "never (D9): nightly job"},
          [](const FillScore& score) {
            CHECK(score.wrong == 0);
            CHECK(score.falls == 0);
            CHECK(score.cries == 0);
          });
}

TEST_CASE("fill: steps that return are growth; growth that stops has no date for long") {
  of_each({"daily jumps are the growth", "weekly steps are half of the growth"},
          [](const FillScore& score) {
            REQUIRE(score.back);
            CHECK(*score.back <= 12);
            CHECK(score.wrong == 0);
          });
  of_each({"stops", "jumps and stops"}, [](const FillScore& score) { CHECK(score.wrong <= 20); });
}

TEST_CASE("fill: the table of scenarios", "[.]") {
  // No test: it prints the table of bench/README.md. FILL_SEEDS: 16; FILL_ONLY: part of a name.
  const char* asked = std::getenv("FILL_SEEDS");
  const auto seeds = static_cast<unsigned>(asked != nullptr ? std::atoi(asked) : 16);
  fmt::print(
      "| scenario | right before | hours until right: median, worst | no date | off | wrong: mean, "
      "worst | cries | falls |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
  const char* only = std::getenv("FILL_ONLY");
  for (const auto& scenario : fill_scenarios()) {
    if (only != nullptr && !scenario.name.contains(only)) continue;
    FillScore sum;
    double worst = 0;
    std::vector<double> back;
    for (unsigned seed = 0; seed < seeds; ++seed) {
      const auto one = score(scenario.make(seed), seed);
      sum.steady += one.steady / seeds;
      sum.none += one.none / seeds;
      sum.off += one.off / seeds;
      sum.wrong += one.wrong / seeds;
      sum.cries += one.cries / seeds;
      sum.falls += one.falls / seeds;
      worst = std::max(worst, one.wrong);
      back.push_back(one.back.value_or(999));
    }
    std::ranges::sort(back);
    const auto hours = [](double h) {
      return h > 900 ? std::string("never") : fmt::format("{:.0f}", h);
    };
    fmt::print("| {} | {:.2f} | {}, {} | {:.1f} | {:.1f} | {:.1f}, {:.0f} | {:.1f} | {:.1f} |\n",
               scenario.name, sum.steady, hours(back[back.size() / 2]), hours(back.back()),
               sum.none, sum.off, sum.wrong, worst, sum.cries, sum.falls);
  }
}
