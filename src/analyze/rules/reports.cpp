#include "analyze/rules/reports.hpp"

#include <algorithm>

namespace nexus::analyze {
namespace {

constexpr std::string_view kFile = "agent.toml";

void take_status(RuleReport& report, GroupReport& group, const std::vector<RuleStatus>& status) {
  const auto found = std::ranges::find(status, report.name, &RuleStatus::name);
  if (found == status.end()) return;
  report.error = found->error;
  report.duration_seconds = found->duration_seconds;
  report.evaluated = found->evaluated;
  group.duration_seconds += found->duration_seconds;
  group.evaluated = std::max(group.evaluated, found->evaluated);
}

RuleAlert to_alert(const Finding& finding) {
  RuleAlert out;
  std::vector<knowledge::Label> labels = {{"alertname", finding.name}};
  for (const auto& [name, value] : finding.labels) labels.push_back({name, value});
  out.labels = knowledge::Labels(std::move(labels));
  out.annotations = finding.annotations;
  out.state = finding.state;
  out.active_at = finding.started;
  out.value = finding.evidence.value;
  return out;
}

}  // namespace

GroupReport report_vitals(const RuleSet& rules, const std::vector<RuleStatus>& status) {
  GroupReport group;
  group.name = "vitals";
  group.file = kFile;
  for (const auto& vital : rules.vitals) {
    RuleReport report;
    report.name = vital.definition.name;
    report.query = vital.definition.expr.text;
    take_status(report, group, status);
    group.rules.push_back(std::move(report));
  }
  return group;
}

GroupReport report_alerts(const RuleSet& rules, const std::vector<RuleStatus>& status,
                          const Findings& findings) {
  GroupReport group;
  group.name = "alerts";
  group.file = kFile;
  for (const auto& alert : rules.alerts) {
    RuleReport report;
    report.alerting = true;
    report.name = alert.definition.name;
    report.query = alert.definition.expr.text;
    report.pending = alert.definition.pending;
    report.keep_firing_for = alert.definition.keep_firing_for;
    report.labels = alert.definition.labels;
    report.annotations = alert.definition.annotations;
    take_status(report, group, status);
    for (const auto& finding : findings) {
      const bool its_own = finding.kind == FindingKind::kAlert && finding.name == report.name &&
                           finding.evidence.source == report.query;
      if (its_own && finding.state != FindingState::kResolved)
        report.alerts.push_back(to_alert(finding));
    }
    group.rules.push_back(std::move(report));
  }
  return group;
}

}  // namespace nexus::analyze
