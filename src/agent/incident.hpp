// Incident: which collectors look more closely while a finding fires that concerns them, and how
// closely.
//
// A collector is concerned when the expression behind the finding reads one of its metrics. It then
// runs every 100 ms, or as often as half of [agent] cpu_budget_percent allows for all of them, and
// never more than ten times as often as otherwise: what has a long interval of its own is dear, or
// slow hardware. It falls back when the finding is resolved, ten minutes after it fired, and while
// the agent is over its budget. Thread safety: one thread.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/analyze/rules.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/monitor/scheduler.hpp"

namespace nexus::agent {

class Incident {
 public:
  static constexpr Millis kClosest{100};
  static constexpr Millis kLongest{600'000};  // from when the finding fired
  static constexpr int kMostTimes = 10;       // as often as without an incident

  explicit Incident(knowledge::SelfMetrics& self);

  /// What Scheduler::hurry() is to be given now.
  [[nodiscard]] std::vector<monitor::Scheduler::Hurry> look(
      const analyze::Findings& findings, const std::vector<config::VitalConfig>& vitals,
      const std::vector<monitor::CollectorStatus>& collectors, double cpu_budget_percent,
      WallTime now);
  /// Nobody hurries.
  void rest();

 private:
  knowledge::Gauge hurried_;
};

/// The collectors whose metrics the expression reads; vitals that it names count as their own
/// expressions.
[[nodiscard]] std::set<std::string> collectors_of(std::string_view expression,
                                                  const std::vector<config::VitalConfig>& vitals);

}  // namespace nexus::agent
