// When something that fills up is full: time to a limit, with an interval, robust to daily cycles,
// saw teeth (clean-ups), jumps and changes of rate.
//
// Values come in steps (five minutes live); a week of them is kept. Candidate rates of growth -
// least squares over 3 hours to 7 days, differences of whole patterns one to six patterns apart -
// are weighted by how well each foretold the growth over the next 6 and 24 hours so far. A pattern
// that repeats (clean-ups at regular distance, or the day where it explains more than a straight
// line) is carried forward with that rate; otherwise the level goes on in a line. The limit is
// reached where that path first meets it.
//
// A jump (a package run, a large file, a clean-up: what stands out of the same hours of the other
// days, within three hours, or twelve once it is over; analyze/forecast/jumps.hpp) is no growth:
// rows before it count as if they had been on the new level, so that the slope of the days before
// goes on from there. It takes three days of history. What returns at about its hour of other days,
// or three times in three and a half days, is growth as it comes. Jumps are kept for five weeks: of
// three and more the mean pace is added to the rate, with its error; one or two may come again or
// not, so they widen the interval by as much as they would bring if they came as often as they
// could have (clean-ups: 1.3 times as often), and of two that would bring as much as the rate does
// there is no date. What went again counts for nothing. So a clean-up of nearly all that had grown
// takes the date away until it has grown for longer than before it.
//
// Growth of the last five hours or more that is none of what such hours were before (a stop, a new
// rate) makes the error of the rate at least as large as the rate differs from it.
//
// The interval takes the rate's own past errors at 24 hours: earliest and latest are where paths
// with rate +- 2 mean errors, and the jumps that may come, meet the limit. When the lower rate is
// not above zero, there is no date: `seconds` is given only if growth is certain. `latest` is
// nothing when it is farther than a year; so is `seconds`.
//
// Thread safety: none of its own; const members may be called from many threads.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/analyze/combination.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"

namespace nexus::analyze {

struct FillOutlook {
  double level = 0;          // now, without noise
  double per_day = 0;        // rate of growth (negative: shrinks), units a day
  double per_day_error = 0;  // mean error of the rate over a day
  bool certain = false;      // the interval of the rate does not hold zero
  std::string pattern;       // "line", "day", "every 3h20m"
  double days_seen = 0;
  std::uint32_t rate_changes = 0;               // new slopes that were noticed
  std::optional<double> rate_changed_days_ago;  // the last of them
};

struct FillTime {
  std::optional<double> seconds;
  std::optional<double> earliest;
  std::optional<double> latest;
};

class Fill {
 public:
  static constexpr std::size_t kKept = 2016;
  static constexpr std::size_t kFewest = 36;

  /// With `rows` the values are not kept twice: what the combination keeps of the same series and
  /// step is looked at. It has to outlive this and to stay where it is, each of its rows is given
  /// to it first, and only both together are loaded.
  explicit Fill(Millis step = Millis(300'000), const Combination* rows = nullptr);

  /// The value of slot `slot` = time / step; NaN: missing. False: not after the last one (or not
  /// the combination's last one).
  bool add(std::int64_t slot, double value);
  [[nodiscard]] bool ready() const noexcept { return rows_ >= kFewest; }
  [[nodiscard]] FillOutlook outlook() const;
  /// Until the value is at or beyond `limit`: above it when `rising`, else below.
  [[nodiscard]] FillTime until(double limit, bool rising) const;
  /// What the value will be, by the same path, at most a year ahead.
  [[nodiscard]] double at(double seconds) const;

  [[nodiscard]] std::size_t bytes() const noexcept {
    return sizeof(*this) + (values_.capacity() + judged_.capacity()) * sizeof(float) +
           shifts_.capacity() * sizeof(Shift);
  }
  [[nodiscard]] std::string save() const;
  [[nodiscard]] Status load(std::string_view saved);

 private:
  static constexpr std::size_t kWindows = 8;
  static constexpr std::size_t kLags = 4;
  static constexpr std::size_t kCandidates = kWindows + kLags;
  static constexpr std::size_t kJudged = 26;  // hours of rates kept to be judged
  static constexpr std::size_t kJumps = 16;
  using Rates = std::array<float, kCandidates>;

  struct Path {
    std::size_t pattern = 0;  // rows, 0: a line
    double rate = 0;          // a row
    double error = 0;         // of the rate, mean
    double up = 0;            // by which it is more, or less, if jumps come again as often as they
    double down = 0;          // may have
    double level = 0;
  };
  /// A change of level that is no growth: rows before `begin` count as higher by `size`, those from
  /// there to `end` lie on a line between both.
  struct Shift {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    double size = 0;
    double from = 0;
    double to = 0;
    bool undone = false;
  };
  struct Pace {
    std::size_t count = 0;
    double rate = 0;   // a row, if they come again
    double error = 0;  // of it
  };

  [[nodiscard]] double kept(std::size_t ago) const;
  [[nodiscard]] double back(std::size_t ago) const;
  [[nodiscard]] double shifted(std::size_t ago) const;
  [[nodiscard]] double mean_of(std::size_t ago, std::size_t rows) const;
  [[nodiscard]] Rates rates(std::size_t pattern) const;
  [[nodiscard]] std::size_t find_pattern() const;
  [[nodiscard]] std::size_t saw_teeth() const;
  [[nodiscard]] bool daily() const;
  [[nodiscard]] double days_of(std::size_t candidate) const;
  [[nodiscard]] double pattern_error() const;
  [[nodiscard]] bool only_grows(std::span<const double> hours) const;
  [[nodiscard]] bool one_step(std::span<const double> hours) const;
  std::vector<double> find_shifts(bool and_lean = false);
  [[nodiscard]] std::vector<double> hourly_means() const;
  void remember_shifts();
  [[nodiscard]] Pace pace(bool upward) const;
  void widen_by_jumps();
  void lean_away();
  void judge();
  void watch_rate(double growth, double foretold);
  void note_drop(double value);
  [[nodiscard]] double next_value(double z, std::int64_t missing);
  void solve();
  [[nodiscard]] double path_at(std::size_t rows, double rate) const;
  [[nodiscard]] std::optional<double> meets(double limit, bool rising, double rate) const;
  template <typename Archive>
  void archive(Archive& a);

  Millis step_;
  std::size_t day_;  // rows
  std::size_t hour_;
  std::uint64_t rows_ = 0;  // kept at most kKept
  std::uint64_t seen_ = 0;
  std::int64_t slot_ = 0;
  double anchor_ = 0;
  double change_ = 0;  // mean absolute change, drops left out
  double since_low_ = 0;
  const Combination* shared_ = nullptr;  // who keeps the values, if not this
  std::size_t behind_ = 0;               // rows by which this is behind it, within add()
  std::vector<float> values_;
  std::vector<float> judged_;  // kJudged x (candidates, chosen, pattern)
  std::uint64_t judgements_ = 0;
  double surprise_ = 0;          // mean error of the growth of six hours as it was foretold
  std::uint32_t surprises_ = 0;  // hours in a row that it was far more, on one side
  std::int32_t surprise_side_ = 0;
  std::uint32_t rate_changes_ = 0;
  std::int64_t rate_changed_ = 0;                 // slot
  std::array<float, kCandidates> error_short_{};  // of growth over 6 hours, fading mean
  std::array<float, kCandidates> error_long_{};   // over 24
  std::array<float, kCandidates> count_short_{};
  std::array<float, kCandidates> count_long_{};
  float chosen_error_ = 0;
  float chosen_count_ = 0;
  std::array<std::int64_t, 16> drops_{};  // slots of the last clean-ups
  std::uint64_t drop_count_ = 0;
  std::array<std::int64_t, kJumps> jump_slots_{};  // of the last five weeks, oldest first
  std::array<float, kJumps> jump_sizes_{};
  std::uint32_t jump_count_ = 0;
  std::vector<Shift> shifts_;  // of the rows kept, the newest first
  std::size_t leans_ = 0;      // hours for which it goes another way than the days before
  double lean_ = 0;            // by so much a row
  double usual_ = 0;           // what a row of the days before brought
  Path path_;
};

}  // namespace nexus::analyze
