#include "nexus/analyze/incidents.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "analyze/relations.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr std::string_view kSource = "incidents";
constexpr std::size_t kMostNamed = 5;  // in the sentence; the record has them all
constexpr std::string_view kCauseLabel = "finding";

/// What has the same cause, that cause included where it fires.
struct Group {
  const Finding* cause = nullptr;  // null: the book has forgotten it
  std::vector<const Finding*> firing;
};
using Groups = std::map<std::string, Group>;  // by the cause's fingerprint

bool fires(const Finding& finding) {
  return finding.state == FindingState::kFiring;
}

bool counts(const Finding& finding) {
  const bool is_trouble = finding.kind == FindingKind::kAlert ||
                          finding.kind == FindingKind::kVital ||
                          finding.kind == FindingKind::kService;
  return is_trouble && finding.severity != Severity::kInfo;
}

Groups groups_of(const Findings& findings) {
  Groups out;
  for (const Finding& finding : findings) {
    if (!fires(finding) || !relates(finding.kind)) continue;
    if (const std::string& cause = record_of(finding).cause; !cause.empty())
      out[cause].firing.push_back(&finding);
  }
  for (const Finding& finding : findings) {
    const auto found = relates(finding.kind) ? out.find(finding.fingerprint) : out.end();
    if (found == out.end()) continue;
    found->second.cause = &finding;
    if (fires(finding)) found->second.firing.push_back(&finding);
  }
  return out;
}

bool begins(const Group& group) {
  if (group.cause == nullptr || !fires(*group.cause) || !counts(*group.cause)) return false;
  const auto number = static_cast<std::size_t>(
      std::ranges::count_if(group.firing, [](const Finding* one) { return counts(*one); }));
  const bool of_service = group.cause->kind == FindingKind::kService;
  return number >= (of_service ? Incidents::kFewestOfService : Incidents::kFewest);
}

/// Before it: what has ended since it belonged to the incident.
std::vector<std::string> symptoms_of(const Group& group, std::vector<std::string> before) {
  for (const Finding* one : group.firing) {
    if (one != group.cause && std::ranges::find(before, one->fingerprint) == before.end())
      before.push_back(one->fingerprint);
  }
  if (before.size() > FindingRecord::kMostSymptoms) before.resize(FindingRecord::kMostSymptoms);
  return before;
}

std::string name_of(const Finding& finding) {
  return fmt::format("{} {}", finding.name, finding.subject);
}

std::string sentence(const Group& group, std::string_view cause) {
  std::string out(cause);
  if (group.cause == nullptr || !fires(*group.cause)) out += " (over)";
  std::size_t others = 0;
  for (const Finding* one : group.firing) {
    if (one == group.cause) continue;
    if (++others <= kMostNamed) out += (others == 1 ? ", and with it " : ", ") + name_of(*one);
  }
  if (others > kMostNamed) out += fmt::format(" and {} more", others - kMostNamed);
  return out;
}

Observation observe(const std::string& cause, const Group& group, const Finding* live) {
  Observation seen;
  seen.kind = FindingKind::kIncident;
  seen.name = Incidents::kName;
  seen.severity = Severity::kInfo;
  if (group.cause != nullptr) {
    seen.subject = group.cause->subject;
    seen.labels = {{"cause", group.cause->name}, {std::string(kCauseLabel), cause}};
  }
  if (live != nullptr) {  // what it is called does not depend on what the book still knows
    seen.subject = live->subject;
    seen.labels = live->labels;
  }
  seen.began = (*std::ranges::min_element(group.firing, {}, &Finding::started))->started;
  seen.evidence.source = "relations";
  seen.evidence.value = static_cast<double>(group.firing.size());
  seen.evidence.text = sentence(group, fmt::format("{} {}", seen.labels["cause"], seen.subject));
  seen.annotations = {{"summary", seen.evidence.text}};
  const auto known = live != nullptr ? record_of(*live).symptoms : std::vector<std::string>();
  seen.members = std::make_shared<const Members>(Members{cause, symptoms_of(group, known)});
  return seen;
}

}  // namespace

void Incidents::tick() {
  auto findings = book_.snapshot();
  if (findings == seen_) return;
  seen_ = findings;
  Groups groups = groups_of(*findings);
  std::unordered_map<std::string, Finding> live;  // by the cause's fingerprint
  for (Finding& one : book_.of(kSource)) {
    std::string cause = record_of(one).cause;
    live.insert_or_assign(std::move(cause), std::move(one));
  }
  // One whose symptoms are over goes on while its cause fires.
  for (const Finding& finding : *findings) {
    const bool goes_on = fires(finding) && live.contains(finding.fingerprint);
    if (goes_on && record_of(finding).cause.empty())
      groups.try_emplace(finding.fingerprint, Group{&finding, {&finding}});
  }
  std::vector<Observation> seen;
  for (const auto& [cause, group] : groups) {
    const auto known = live.find(cause);
    const Finding* const is_live = known == live.end() ? nullptr : &known->second;
    const bool goes_on = is_live != nullptr &&
                         std::ranges::any_of(group.firing, [](auto* one) { return counts(*one); });
    if (goes_on || begins(group)) seen.push_back(observe(cause, group, is_live));
  }
  if (!seen.empty() || !live.empty()) book_.observe(kSource, seen);
}

}  // namespace nexus::analyze
