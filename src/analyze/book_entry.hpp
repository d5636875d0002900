// What the book keeps about one finding besides the finding itself, and the gauges that count
// findings. Thread safety: under the book's lock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nexus/analyze/finding.hpp"
#include "nexus/knowledge/self_metrics.hpp"

namespace nexus::analyze {

struct Entry {
  Finding finding;
  const std::string* source = nullptr;  // key of the book's map of sources
  Millis pending{0};
  Millis keep_firing_for{0};
  // Timers run on the steady clock: a wall clock that jumps fires and resolves nothing.
  SteadyTime since{};  // first seen in this episode
  std::optional<SteadyTime> missing_since;
  std::optional<SteadyTime> restored_until;  // came from the database and nobody has seen it yet
  SteadyTime ended{};                        // when it was resolved
  std::uint64_t transition = 0;              // ascending over all findings
  std::uint64_t pass = 0;                    // the last observe() or report() that saw it
};

/// When a stored finding last changed its state.
[[nodiscard]] inline WallTime last_transition(const Finding& finding) {
  if (finding.resolved) return *finding.resolved;
  return finding.fired.value_or(finding.started);
}

/// nexus_findings{state,severity}.
class FindingGauges {
 public:
  explicit FindingGauges(knowledge::SelfMetrics& self) {
    for (const FindingState state :
         {FindingState::kPending, FindingState::kFiring, FindingState::kResolved}) {
      for (const Severity severity : {Severity::kInfo, Severity::kWarning, Severity::kCritical}) {
        gauges_.push_back(
            self.gauge("nexus_findings", "Findings in the book",
                       {{"state", to_string(state)}, {"severity", config::to_string(severity)}}));
        gauges_.back().set(0);
      }
    }
  }
  void add(const Finding& finding, double by) const {
    gauges_[static_cast<std::size_t>(finding.state) * 3 +
            static_cast<std::size_t>(finding.severity)]
        .add(by);
  }

 private:
  std::vector<knowledge::Gauge> gauges_;
};

}  // namespace nexus::analyze
