#include "analyze/rules/alert_series.hpp"

#include <algorithm>

namespace nexus::analyze {

AlertSeries::AlertSeries(knowledge::SeriesRegistry& registry,
                         std::shared_ptr<knowledge::SampleRing> ring, knowledge::SelfMetrics& self)
    : registry_(registry),
      ring_(std::move(ring)),
      refused_(self.counter("nexus_alert_samples_refused_total",
                            "Samples of ALERTS that the full ring or registry refused")) {}

void AlertSeries::add(const knowledge::Labels& labels, std::string_view metric, double value) {
  std::vector<knowledge::LabelView> views;
  for (const auto& label : labels) {
    if (label.name != knowledge::kMetricName) views.push_back({label.name, label.value});
  }
  const auto family =
      registry_.family(metric, knowledge::MetricType::kGauge, "Alerts that are pending or firing.");
  const auto id = registry_.intern(family, views);
  if (!id) return refused_.add();
  if (!now_.insert(*id).second) return;
  ids_.push_back(*id);
  values_.push_back(value);
}

bool AlertSeries::is_due(const Findings& findings, SteadyTime now) {
  std::size_t states = 1;
  for (const auto& finding : findings) {
    if (finding.kind != FindingKind::kAlert || finding.state == FindingState::kResolved) continue;
    states += std::hash<std::string>()(finding.fingerprint) *
              (finding.state == FindingState::kFiring ? 3 : 1);
  }
  if (states == states_ && now < next_) return false;
  states_ = states;
  next_ = now + kEvery;
  return true;
}

void AlertSeries::write(const GroupReport& alerts, WallTime now) {
  now_.clear();
  ids_.clear();
  values_.clear();
  for (const auto& rule : alerts.rules) {
    for (const auto& alert : rule.alerts) {
      add(alert.labels.with("alertstate", to_string(alert.state)), "ALERTS", 1);
      add(alert.labels, "ALERTS_FOR_STATE",
          static_cast<double>(base::to_unix_millis(alert.active_at) / 1000));
    }
  }
  for (const auto id : live_) {
    if (now_.contains(id)) continue;
    ids_.push_back(id);
    values_.push_back(knowledge::stale_marker());
  }
  if (ids_.empty()) return;
  if (ring_->push({kAlertGroup, base::to_unix_millis(now), ids_, values_})) {
    live_.swap(now_);
  } else {
    refused_.add(static_cast<double>(ids_.size()));
    next_ = {};
    live_.merge(now_);  // what has ended is owed its marker still
  }
}

}  // namespace nexus::analyze
