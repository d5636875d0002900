#include "nexus/analyze/incidents.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "analyze/relations.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr std::string_view kSource = "incidents";
constexpr std::size_t kMostNamed = 5;  // in the sentence; the record has them all
constexpr std::string_view kCauseLabel = "finding";

bool fires(const Finding& finding) {
  return finding.state == FindingState::kFiring;
}

bool counts(const Finding& finding) {
  const bool hurts = finding.kind == FindingKind::kAlert || finding.kind == FindingKind::kVital ||
                     finding.kind == FindingKind::kService;
  return hurts && finding.severity != Severity::kInfo;
}

bool any_counts(const std::vector<const Finding*>& some) {
  return std::ranges::any_of(some, [](const Finding* one) { return counts(*one); });
}

/// Incidents that fire, by the fingerprint of their cause.
using Live = std::unordered_map<std::string_view, const Finding*>;

/// What has the same cause, that cause included where it fires.
struct Group {
  const Finding* cause = nullptr;  // null: the book has forgotten it
  std::vector<const Finding*> firing;
  const Finding* live = nullptr;  // the incident that it is already
};
using Groups = std::map<std::string_view, Group>;  // by the cause's fingerprint

/// A finding keeps its cause for as long as it fires, also when that is over and fires again for
/// another reason: only what fired in the cause's present episode, or since the incident began,
/// belongs to it. So do the members of one that it takes over, with its cause.
void keep_present(Group& group, const Live& live) {
  std::optional<WallTime> since;
  const auto heed = [&](const Finding& one) {
    since = since ? std::min(*since, one.started) : one.started;
  };
  if (group.cause != nullptr) heed(*group.cause);
  if (group.live != nullptr) heed(*group.live);
  for (const Finding* one : group.firing) {
    if (const auto known = live.find(one->fingerprint); known != live.end()) heed(*known->second);
  }
  std::erase_if(group.firing, [&](const Finding* one) {
    return one != group.cause && (!since || one->fired.value_or(one->started) < *since - kTogether);
  });
}

/// Findings that count, have no cause and explain nothing.
using Loners = std::vector<const Finding*>;

/// What the book explains, by its cause.
Groups explained(const Findings& findings, const Live& live) {
  Groups out;
  for (const Finding& finding : findings) {
    if (!fires(finding) || !is_trouble(finding.kind)) continue;
    const std::string& cause = record_of(finding).cause;
    if (!cause.empty()) {
      out[cause].firing.push_back(&finding);
    } else if (live.contains(finding.fingerprint)) {  // it goes on without symptoms too
      out.try_emplace(finding.fingerprint);
    }
  }
  return out;
}

/// The first that fired comes first.
Loners loners_of(const Findings& findings, const Groups& groups) {
  Loners out;
  for (const Finding& finding : findings) {
    if (fires(finding) && counts(finding) && record_of(finding).cause.empty() &&
        !groups.contains(finding.fingerprint))
      out.push_back(&finding);
  }
  std::ranges::sort(out, {}, [](const Finding* one) {
    return std::pair(one->started, std::string_view(one->fingerprint));
  });
  return out;
}

/// Those that belong to an incident since they began with it go where its cause goes.
void keep_members(const Findings& findings, const Live& live, Loners& loners, Groups& groups) {
  if (live.empty() || loners.empty()) return;
  std::unordered_map<std::string_view, std::string_view> cause_of;
  for (const Finding& finding : findings) {
    if (fires(finding) && !record_of(finding).cause.empty())
      cause_of.emplace(finding.fingerprint, record_of(finding).cause);
  }
  std::unordered_map<std::string_view, std::string_view> belongs;
  for (const auto& [cause, incident] : live) {
    const auto further_up = cause_of.find(cause);
    const auto now = further_up != cause_of.end() ? further_up->second : cause;
    for (const std::string& member : record_of(*incident).symptoms) belongs.emplace(member, now);
  }
  std::erase_if(loners, [&](const Finding* one) {
    const auto found = belongs.find(one->fingerprint);
    if (found == belongs.end()) return false;
    groups[found->second].firing.push_back(one);
    return true;
  });
}

bool began_together(const Finding& a, const Finding& b) {
  const auto apart = a.started - b.started;
  return apart <= kTogether && apart >= -kTogether;
}

/// Others join what they began together with; or each other, and the first stands for the cause.
void join(const Loners& loners, Groups& groups, WallTime from) {
  std::vector<Group*> open;
  for (auto& [print, group] : groups) {
    if (group.cause != nullptr && fires(*group.cause) && counts(*group.cause))
      open.push_back(&group);
  }
  const auto begun = [](const Group* group) { return group->cause->started; };
  std::ranges::sort(open, {}, begun);
  Loners together;
  const auto close = [&] {
    if (together.size() >= Incidents::kFewest) {
      Group& made = groups[together.front()->fingerprint];
      made.cause = together.front();
      made.firing = together;
    }
    together.clear();
  };
  for (const Finding* one : loners) {
    if (one->started < from) continue;
    const auto near = std::ranges::lower_bound(open, one->started - kTogether, {}, begun);
    if (near != open.end() && began_together(*one, *(*near)->cause)) {
      (*near)->firing.push_back(one);
      continue;
    }
    if (!together.empty() && !began_together(*one, *together.front())) close();
    together.push_back(one);
  }
  close();
}

Groups groups_of(const Findings& findings, const Live& live, WallTime from) {
  auto out = explained(findings, live);
  auto loners = loners_of(findings, out);
  keep_members(findings, live, loners, out);
  for (const Finding& finding : findings) {
    const auto found = is_trouble(finding.kind) ? out.find(finding.fingerprint) : out.end();
    if (found == out.end()) continue;
    found->second.cause = &finding;
    if (fires(finding)) found->second.firing.push_back(&finding);
  }
  join(loners, out, from);
  for (auto& [cause, group] : out) {
    if (const auto known = live.find(cause); known != live.end()) group.live = known->second;
    keep_present(group, live);
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

/// Those that belonged to it before, also when they have ended, and those that have come since; of
/// more than a record has, what fires takes the places of what has ended.
std::vector<std::string> symptoms_of(const Group& group) {
  constexpr std::size_t kMost = FindingRecord::kMostSymptoms;
  const auto before =
      group.live != nullptr ? record_of(*group.live).symptoms : std::vector<std::string>();
  const std::unordered_set<std::string_view> old(before.begin(), before.end());
  std::unordered_set<std::string_view> still;
  std::vector<std::string_view> fresh;
  for (const Finding* one : group.firing) {
    if (one == group.cause) continue;
    if (old.contains(one->fingerprint)) {
      still.insert(one->fingerprint);
    } else if (fresh.size() < kMost) {
      fresh.push_back(one->fingerprint);
    }
  }
  fresh.resize(std::min(fresh.size(), kMost - std::min(kMost, still.size())));
  std::size_t ended = kMost - std::min(kMost, still.size() + fresh.size());  // that have a place
  ended = std::min(ended, old.size() - still.size());
  std::size_t passed_over = old.size() - still.size() - ended;  // the oldest of them
  std::vector<std::string> out;
  for (const std::string& print : before) {
    if (!still.contains(print) && passed_over > 0) {
      --passed_over;
    } else {
      out.push_back(print);
    }
  }
  out.insert(out.end(), fresh.begin(), fresh.end());
  return out;
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

Observation observe(std::string_view cause, const Group& group) {
  Observation seen;
  seen.kind = FindingKind::kIncident;
  seen.name = Incidents::kName;
  seen.severity = Severity::kInfo;
  seen.keep_firing_for = Incidents::kCalm;
  if (group.cause != nullptr) {
    seen.subject = group.cause->subject;
    seen.labels = {{"cause", group.cause->name}, {std::string(kCauseLabel), std::string(cause)}};
  }
  if (group.live != nullptr) {  // what it is called does not depend on what the book still knows
    seen.subject = group.live->subject;
    seen.labels = group.live->labels;
  }
  seen.began = (*std::ranges::min_element(group.firing, {}, &Finding::started))->started;
  seen.evidence.source = "relations";
  seen.evidence.value = static_cast<double>(group.firing.size());
  seen.evidence.text = sentence(group, fmt::format("{} {}", seen.labels["cause"], seen.subject));
  seen.annotations = {{"summary", seen.evidence.text}};
  seen.members = std::make_shared<const Members>(Members{std::string(cause), symptoms_of(group)});
  return seen;
}

/// Seen for the last time: it ends as soon as it is not.
Observation last_of(const Finding& live) {
  Observation seen;
  seen.kind = live.kind;
  seen.name = live.name;
  seen.severity = live.severity;
  seen.subject = live.subject;
  seen.labels = live.labels;
  seen.annotations = live.annotations;
  seen.evidence = live.evidence;
  return seen;
}

/// Those of `over` whose cause has become a symptom: others go on with their members, and nobody
/// waits for a calm.
std::vector<Observation> handed_on_of(const Findings& findings, const Live& over) {
  std::vector<Observation> out;
  if (over.empty()) return out;
  for (const Finding& finding : findings) {
    if (!fires(finding) || record_of(finding).cause.empty()) continue;
    if (const auto found = over.find(finding.fingerprint); found != over.end())
      out.push_back(last_of(*found->second));
  }
  return out;
}

bool is_known(const Observation& seen, const Finding* live) {
  if (live == nullptr || !live->seen_now) return false;
  const FindingRecord& record = record_of(*live);
  return seen.evidence.text == live->evidence.text && seen.evidence.value == live->evidence.value &&
         seen.members->cause == record.cause && seen.members->symptoms == record.symptoms;
}

}  // namespace

void Incidents::tick() {
  auto findings = book_.snapshot();
  if (findings == seen_) return;
  seen_ = std::move(findings);
  Live live;
  for (const Finding& one : *seen_) {
    if (one.kind == FindingKind::kIncident && fires(one)) live.emplace(record_of(one).cause, &one);
  }
  std::vector<Observation> seen;
  bool is_news = false;  // else the book has it as it is, and is left alone
  Live over = live;
  for (const auto& [cause, group] : groups_of(*seen_, live, from_)) {
    const bool goes_on = group.live != nullptr && any_counts(group.firing);
    if (!goes_on && !begins(group)) continue;
    over.erase(cause);
    seen.push_back(observe(cause, group));
    is_news |= !is_known(seen.back(), group.live);
  }
  for (const auto& [cause, one] : over) is_news |= one->seen_now;
  if (const auto handed_on = handed_on_of(*seen_, over); !handed_on.empty()) {
    is_news = true;
    book_.observe(kSource, handed_on);
  }
  if (is_news) book_.observe(kSource, seen);
}

}  // namespace nexus::analyze
