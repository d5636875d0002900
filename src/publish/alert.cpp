#include "nexus/publish/alert.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "nexus/analyze/kinds.hpp"
#include "nexus/base/text.hpp"

namespace nexus::publish {
namespace {

void set_if_absent(StringMap& labels, std::string_view name, std::string_view value) {
  if (!value.empty()) labels.try_emplace(std::string(name), base::sanitize_utf8(value));
}

StringMap common(const std::vector<AlertPtr>& alerts, StringMap Alert::* part) {
  if (alerts.empty()) return {};
  StringMap out = (*alerts.front()).*part;
  for (const auto& alert : alerts) {
    std::erase_if(out, [&](const auto& entry) {
      const auto found = ((*alert).*part).find(entry.first);
      return found == ((*alert).*part).end() || found->second != entry.second;
    });
  }
  return out;
}

}  // namespace

std::uint64_t fingerprint_of(const StringMap& labels) {
  constexpr std::string_view kSeparator = "\xff";
  std::uint64_t hash = base::fnv1a("");
  for (const auto& [name, value] : labels) {
    hash = base::fnv1a(name, hash);
    hash = base::fnv1a(kSeparator, hash);
    hash = base::fnv1a(value, hash);
    hash = base::fnv1a(kSeparator, hash);
  }
  return hash;
}

std::string to_hex(std::uint64_t fingerprint) {
  return fmt::format("{:016x}", fingerprint);
}

Alert to_alert(const analyze::Finding& finding, const Origin& origin) {
  Alert alert;
  for (const auto& [name, value] : finding.labels) set_if_absent(alert.labels, name, value);
  alert.labels.insert_or_assign("alertname", base::sanitize_utf8(finding.name));
  // The severity of a finding may change while it fires; that of an alert is part of what it is.
  alert.labels.insert_or_assign("severity", std::string(to_string(finding.severity)));
  set_if_absent(alert.labels, "kind", analyze::to_string(finding.kind));
  for (const auto& [name, value] : origin.external_labels) set_if_absent(alert.labels, name, value);
  for (const auto& [name, value] : finding.annotations)
    set_if_absent(alert.annotations, name, value);
  set_if_absent(alert.annotations, "summary", finding.evidence.text);
  alert.fingerprint = fingerprint_of(alert.labels);
  alert.starts = finding.fired.value_or(finding.started);
  if (finding.state == analyze::FindingState::kResolved)
    alert.ends = std::max(alert.starts, finding.resolved.value_or(finding.last_seen));
  if (!origin.external_url.empty())
    alert.generator_url =
        fmt::format("{}/health/alerts/{}", origin.external_url, finding.fingerprint);
  alert.severity = finding.severity;
  alert.finding = finding.fingerprint;
  alert.subject = base::sanitize_utf8(finding.subject);
  alert.source = base::sanitize_utf8(finding.evidence.source);
  alert.text = base::sanitize_utf8(finding.evidence.text);
  alert.value = finding.evidence.value;
  alert.threshold = finding.evidence.threshold;
  alert.flapping = finding.flapping;
  alert.missing = finding.missing;
  alert.only_where_asked = analyze::is_told_where_asked(finding);
  for (const auto& change : analyze::record_of(finding).what_changed)
    alert.changes.push_back(
        base::sanitize_utf8(fmt::format("{} {}", base::to_rfc3339(change.time), change.text)));
  return alert;
}

std::size_t Notification::firing() const noexcept {
  return static_cast<std::size_t>(
      std::ranges::count_if(alerts, [](const AlertPtr& alert) { return !alert->resolved(); }));
}

void complete(Notification& notification) {
  std::ranges::sort(notification.alerts, [](const AlertPtr& a, const AlertPtr& b) {
    if (a->resolved() != b->resolved()) return b->resolved();
    if (a->severity != b->severity) return a->severity > b->severity;
    return a->labels < b->labels;
  });
  notification.common_labels = common(notification.alerts, &Alert::labels);
  notification.common_annotations = common(notification.alerts, &Alert::annotations);
}

}  // namespace nexus::publish
