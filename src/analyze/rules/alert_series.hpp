// AlertSeries: ALERTS and ALERTS_FOR_STATE of the [[alert]] rules in the history, as rule files'
// alerts have them: what is pending or firing, and since when (Unix seconds). A series that ended
// gets one stale marker; what the full ring refused is written by the next tick. Written when an
// alert changes its state, and every kEvery, as a group of a rule file is: ten thousand alerts that
// go on firing are not 20,000 samples a second.
//
// Thread safety: one thread.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "nexus/analyze/rules.hpp"

namespace nexus::analyze {

inline constexpr std::uint32_t kAlertGroup = 1'900'000;

class AlertSeries {
 public:
  AlertSeries(knowledge::SeriesRegistry& registry, std::shared_ptr<knowledge::SampleRing> ring,
              knowledge::SelfMetrics& self);

  static constexpr Millis kEvery{15'000};

  /// Whether there is something to be written.
  [[nodiscard]] bool is_due(const Findings& findings, SteadyTime now);
  void write(const GroupReport& alerts, WallTime now);

 private:
  void add(const knowledge::Labels& labels, std::string_view metric, double value);

  knowledge::SeriesRegistry& registry_;
  std::shared_ptr<knowledge::SampleRing> ring_;
  knowledge::Counter refused_;
  std::set<knowledge::SeriesId> live_;
  std::set<knowledge::SeriesId> now_;  // of this tick
  std::vector<knowledge::SeriesId> ids_;
  std::vector<double> values_;
  std::size_t states_ = 0;  // of all alerts, when it was last written
  SteadyTime next_{};
};

}  // namespace nexus::analyze
