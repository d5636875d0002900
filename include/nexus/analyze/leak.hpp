// Leaks: steady growth of a group of processes' memory, open files or threads.
//
// LeakTrend holds one series as the least value of every hour (a garbage collector's floor, not its
// peaks), two weeks at most, and says by how much it grows a day. One least squares fit with an
// effect for every hour of the day (the group's own daily pattern) and one for every life of the
// group (a restart takes back what leaked, and begins no new pattern): y = life + hour of the day +
// slope * t (Frisch, Waugh and Lovell; both effects removed in turn). The standard error is widened
// for what is left of autocorrelation from hour to hour (effective rows n (1 - r) / (1 + r)).
//
// No slope is given for less than 36 hours, nor when lives and hours leave nothing of the time to
// compare (a group that is restarted every day at the same time: a leak and a daily pattern are the
// same there). `certain` is a claim: p below 0.001 two-sided, the whole 95 % interval above zero,
// every third of the time with at least a quarter of the slope and the last one with half of it;
// the last twelve hours not significantly below half of it, nor the last third below half of the
// first (a cache that fills up slows down and stops, a leak does not); no two hours with half of
// all growth (a file that was loaded); and an amount that matters (a hundredth of the present value
// a day, and 4 MiB, 4 files or 2 threads).
//
// The first kFillingHours of a life, where its start is known, are no evidence: every program fills
// its pools, buffers and caches then. What grows so fast that the group does not live longer is for
// the vitals (see "Leaks and knees" in src/analyze/README.md).
//
// Units: what the series has; hours; a day is 24 of them. Thread safety: plain values, one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "nexus/base/clock.hpp"

namespace nexus::analyze {

/// How a group of processes grows.
struct Leak {
  std::string group;
  std::string resource;  // memory, open_files, threads
  std::string unit;      // bytes, count
  double current = 0;    // the least of the last whole hour
  double per_day = 0;
  double per_day_error = 0;  // half of the 95 % interval
  double p_value = 1;        // of "it does not grow"
  bool certain = false;
  WallTime from{};  // the window of the evidence
  WallTime to{};
  std::size_t hours = 0;     // with values in it
  std::size_t restarts = 0;  // in it
};

class LeakTrend {
 public:
  static constexpr std::size_t kMostHours = 14 * 24;
  static constexpr std::size_t kFewestHours = 36;
  static constexpr int kFillingHours = 6;

  /// `started`: when the group's oldest process began, seconds; another one is a restart, and the
  /// hour it happens in is left out. NaN: not known. What is not finite or older than the last
  /// value is ignored.
  void add(std::int64_t time_ms, double value, double started);
  /// What the whole hours say, given the least daily growth that matters; nothing when they say
  /// nothing. Names are left empty.
  [[nodiscard]] std::optional<Leak> fit(double least_a_day) const;
  [[nodiscard]] std::size_t hours() const noexcept { return rows_.size(); }
  /// The newest whole hour since the epoch; 0 without one.
  [[nodiscard]] std::int64_t last_hour() const noexcept {
    return rows_.empty() ? 0 : rows_.back().hour;
  }

 private:
  struct Row {
    std::int64_t hour = 0;
    double value = 0;
    std::uint32_t life = 0;
  };
  void finish_hour();

  std::deque<Row> rows_;  // ascending
  Row open_;              // the hour that is going on
  bool any_ = false;
  bool mixed_ = false;  // it saw a restart
  double started_ = 0;
  bool started_known_ = false;
  std::uint32_t life_ = 0;
  std::int64_t last_ = 0;
};

}  // namespace nexus::analyze
