// LeakWatch: a LeakTrend for the memory, open files and threads of every group of processes, fed
// from the history, and what they amount to: findings "leak".
//
// Nothing of it is saved: a trend is learnt anew from two weeks of history, a few a turn. At most
// kMost trends; more series are counted (nexus_leak_series_refused_total). A trend that was not
// seen for a day is forgotten. Thread safety: one thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nexus/analyze/finding.hpp"
#include "nexus/analyze/leak.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "nexus/knowledge/self_metrics.hpp"

namespace nexus::analyze {

class LeakWatch {
 public:
  static constexpr std::size_t kMost = 300;
  static constexpr std::size_t kLearntPerTurn = 6;

  LeakWatch(const knowledge::Queryable& data, knowledge::SelfMetrics& self);

  /// Takes in what came since the last turn, every five minutes; else nothing.
  void turn(std::int64_t now_ms);
  /// As of the last turn: what grows significantly, the claims first, then by significance.
  [[nodiscard]] const std::vector<Leak>& leaks() const noexcept { return leaks_; }
  /// Of the claims.
  [[nodiscard]] std::vector<Observation> observations() const;

 private:
  struct Trend {
    std::size_t resource = 0;
    LeakTrend trend;
    std::int64_t fed = 0;
    std::int64_t seen = 0;
    std::int64_t fitted = 0;  // the last whole hour in `fit`
    std::optional<Leak> fit;
  };
  void feed(Trend& trend, const std::string& group, knowledge::SeriesId series);

  const knowledge::Queryable& data_;
  knowledge::Counter refused_;
  std::map<std::pair<std::size_t, std::string>, Trend> trends_;  // by resource and group
  std::map<std::string, knowledge::SeriesId> starts_;            // of this turn, by group
  std::vector<Leak> leaks_;
  knowledge::Column values_;
  knowledge::Column started_;
  std::int64_t next_ = 0;
  std::int64_t now_ = 0;
};

}  // namespace nexus::analyze
