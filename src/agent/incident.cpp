#include "agent/incident.hpp"

#include <algorithm>

#include "nexus/analyze/kinds.hpp"

namespace nexus::agent {
namespace {

// Of the agent's own budget, for looking closely.
constexpr double kShare = 0.5;
// The collector of the agent's own metrics: no incident of the host needs it more often.
constexpr std::string_view kOwn = "agent";

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == ':';
}

/// The next run of characters that a metric's name can be made of; empty at the end.
std::string_view next_name(std::string_view& rest) {
  std::size_t first = 0;
  while (first < rest.size() && !is_name_character(rest[first])) ++first;
  std::size_t end = first;
  while (end < rest.size() && is_name_character(rest[end])) ++end;
  const std::string_view name = rest.substr(first, end - first);
  rest.remove_prefix(end);
  return name;
}

bool has_metric(const monitor::CollectorDescriptor& collector, std::string_view name) {
  return std::ranges::any_of(collector.metrics, [&](const monitor::MetricDescriptor& metric) {
    std::string_view pattern = metric.name;
    if (!pattern.ends_with('*')) return pattern == name;
    pattern.remove_suffix(1);
    return name.starts_with(pattern);
  });
}

void add_collectors(std::string_view expression, const std::vector<config::VitalConfig>& vitals,
                    bool follows_vitals, std::set<std::string>& collectors) {
  for (auto name = next_name(expression); !name.empty(); name = next_name(expression)) {
    const auto vital = std::ranges::find(vitals, name, &config::VitalConfig::name);
    if (vital != vitals.end() && follows_vitals) {
      add_collectors(vital->expr.text, vitals, false, collectors);
      continue;
    }
    for (const monitor::CollectorDescriptor* collector : monitor::collectors()) {
      if (collector->name != kOwn && has_metric(*collector, name))
        collectors.emplace(collector->name);
    }
  }
}

}  // namespace

std::set<std::string> collectors_of(std::string_view expression,
                                    const std::vector<config::VitalConfig>& vitals) {
  std::set<std::string> collectors;
  add_collectors(expression, vitals, true, collectors);
  return collectors;
}

Incident::Incident(knowledge::SelfMetrics& self)
    : hurried_(self.gauge("nexus_collectors_hurried",
                          "Collectors that run more often because a finding concerns them.")) {}

void Incident::rest() {
  hurried_.set(0);
}

std::vector<monitor::Scheduler::Hurry> Incident::look(
    const analyze::Findings& findings, const std::vector<config::VitalConfig>& vitals,
    const std::vector<monitor::CollectorStatus>& collectors, double cpu_budget_percent,
    WallTime now) {
  std::set<std::string> concerned;
  for (const analyze::Finding& finding : findings) {
    if (finding.state != analyze::FindingState::kFiring || !finding.fired ||
        now - *finding.fired > kLongest || !analyze::is_trouble(finding.kind))
      continue;
    // A forecast or an anomaly is about a vital; what it was found with is a model.
    add_collectors(finding.name, vitals, true, concerned);
    add_collectors(finding.evidence.source, vitals, true, concerned);
  }
  std::vector<monitor::Scheduler::Hurry> hurry;
  for (const monitor::CollectorStatus& status : collectors) {
    if (!concerned.contains(status.name) || status.outcome != "ok" || status.runs == 0) continue;
    const double share = kShare * cpu_budget_percent / 100 / static_cast<double>(concerned.size());
    const double run = status.cpu_seconds_sum / static_cast<double>(status.runs);
    const Millis affordable(static_cast<Millis::rep>(1000 * run / std::max(share, 1e-6)));
    const Millis interval = std::max({kClosest, status.interval / kMostTimes, affordable});
    if (interval < status.interval) hurry.push_back({status.name, interval});
  }
  hurried_.set(static_cast<double>(hurry.size()));
  return hurry;
}

}  // namespace nexus::agent
