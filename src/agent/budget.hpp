// Budget: holds the agent's own use against [agent] cpu_budget_percent and memory_budget.
//
// Over budget it sheds anomaly scoring, from twice the budget forecasts as well; either runs again
// after kCalmTurns turns below kCalm times its threshold. Findings and actions are never shed. Its
// own use are the vitals agent_cpu_percent and agent_resident_memory_bytes. Once in
// kTidyTurns turns it gives free memory back to the kernel. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "nexus/analyze/rules.hpp"
#include "nexus/config/server.hpp"
#include "nexus/knowledge/self_metrics.hpp"

namespace nexus::agent {

class Budget {
 public:
  static constexpr double kCalm = 0.8;
  static constexpr int kCalmTurns = 30;  // of the vitals: half a minute at 1 s
  static constexpr int kTidyTurns = 60;

  explicit Budget(knowledge::SelfMetrics& self);
  void weigh(const analyze::VitalsSnapshot& vitals, const config::AgentSection& limits);
  [[nodiscard]] bool allows_anomalies() const noexcept { return shed_ < 1; }
  [[nodiscard]] bool allows_forecasts() const noexcept { return shed_ < 2; }

 private:
  [[nodiscard]] int settle(double load);
  void tidy();
  void find_vitals(std::shared_ptr<const std::vector<config::VitalConfig>> definitions);

  knowledge::Gauge stages_;
  std::shared_ptr<const std::vector<config::VitalConfig>> definitions_;
  std::optional<std::uint32_t> cpu_;     // index into definitions_
  std::optional<std::uint32_t> memory_;  // the same
  int calm_turns_ = 0;                   // in a row
  int shed_ = 0;                         // stages of analysis left out
  int tidy_turns_ = 0;                   // since memory was given back
};

}  // namespace nexus::agent
