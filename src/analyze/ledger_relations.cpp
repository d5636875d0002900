// What the ledger asks of relations, and what it does with the answer.
#include <algorithm>
#include <functional>
#include <utility>

#include "analyze/ledger.hpp"

namespace nexus::analyze {
namespace {

using Happened = nexus::analyze::Changes;  // not the ledger's own

bool is_news(const Happened& before, const Happened& known) {
  const auto newest = [](const Happened& some) { return some.empty() ? WallTime{} : some[0].time; };
  return before.size() != known.size() || newest(before) != newest(known);
}

}  // namespace

std::optional<Question> Ledger::ask(
    const std::shared_ptr<const Dependencies>& needs,
    const std::shared_ptr<const nexus::analyze::Changes>& happened) {
  if (related_ == transitions_ && needs_ == needs && happened_ == happened) return std::nullopt;
  related_ = transitions_;
  needs_ = needs;
  happened_ = happened;
  std::vector<const Entry*> firing;
  std::vector<const Entry*> others;  // of which there may be hundreds after a boot
  for (const auto& [print, entry] : entries_) {
    if (entry->finding.state != FindingState::kFiring) continue;
    (is_trouble(entry->finding.kind) ? firing : others).push_back(entry.get());
  }
  for (auto* some : {&firing, &others}) {
    std::ranges::sort(*some, std::greater(), &Entry::transition);
    if (some->size() > kMostRelated) some->resize(kMostRelated);
  }
  firing.insert(firing.end(), others.begin(), others.end());
  Question question{{}, needs, happened};
  question.firing.reserve(firing.size());
  for (const Entry* entry : firing) {
    const Finding& full = entry->finding;
    Finding& brief = question.firing.emplace_back();
    brief.fingerprint = full.fingerprint;
    brief.kind = full.kind;
    brief.name = full.name;
    brief.subject = full.subject;
    brief.started = full.started;
    brief.fired = full.fired;
    brief.record = full.record;
  }
  return question;
}

void Ledger::heed(const Question& question, Answer answer) {
  std::vector<Entry*> firing;  // those that still do
  for (const Finding& asked : question.firing) {
    const auto found = entries_.find(asked.fingerprint);
    if (found != entries_.end() && found->second->finding.state == FindingState::kFiring)
      firing.push_back(found->second.get());
  }
  std::unordered_map<std::string, std::vector<std::string>> symptoms;
  for (Entry* entry : firing) {
    auto& before = answer.before[entry->finding.fingerprint];
    if (is_news(before, record_of(entry->finding).what_changed))
      edit(*entry).what_changed = std::move(before);
    if (!is_trouble(entry->finding.kind)) continue;
    const auto found = answer.causes.find(entry->finding.fingerprint);
    // A cause that has ended meanwhile, or whose link is forgotten, is the cause all the same; not
    // one that this finding turned out to explain.
    const auto is_now = found != answer.causes.end() ? found->second : CauseLink{};
    const std::string& was = record_of(entry->finding).cause;
    const auto other = answer.causes.find(was);
    const bool turned =
        other != answer.causes.end() && other->second.cause == entry->finding.fingerprint;
    if (was != is_now.cause && (!is_now.cause.empty() || turned)) {
      FindingRecord& record = edit(*entry);
      record.cause = is_now.cause;
      record.cause_link = is_now.link;
    }
    if (const auto& cause = record_of(entry->finding).cause; !cause.empty())
      symptoms[cause].push_back(entry->finding.fingerprint);
  }
  for (Entry* entry : firing) {
    if (!is_trouble(entry->finding.kind)) continue;
    auto& its = symptoms[entry->finding.fingerprint];
    std::ranges::sort(its);
    if (its.size() > FindingRecord::kMostSymptoms) its.resize(FindingRecord::kMostSymptoms);
    if (its != record_of(entry->finding).symptoms) edit(*entry).symptoms = std::move(its);
  }
}

}  // namespace nexus::analyze
