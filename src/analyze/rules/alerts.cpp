#include "analyze/rules/alerts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "analyze/templates/template.hpp"

namespace nexus::analyze {
namespace {

Observation observe(const RuleSet::CompiledAlert& compiled, TemplateData& data,
                    const knowledge::promql::VectorElement& element) {
  const config::AlertConfig& alert = compiled.definition;
  Observation seen;
  seen.kind = FindingKind::kAlert;
  seen.name = alert.name;
  seen.severity = alert.severity;
  seen.labels = to_map(element.labels);
  data.labels = seen.labels;
  data.value = element.value;
  for (const auto& [name, text] : *compiled.labels) seen.labels[name] = text.expand_or_say(data);
  for (const auto& [name, text] : *compiled.annotations)
    seen.annotations[name] = text.expand_or_say(data);
  seen.subject = subject_of(seen.labels);
  seen.pending = alert.pending;
  seen.keep_firing_for = alert.keep_firing_for;
  seen.evidence.source = alert.expr.text;
  seen.evidence.value = element.value;
  const auto summary = seen.annotations.find("summary");
  seen.evidence.text = summary != seen.annotations.end()
                           ? summary->second
                           : fmt::format("{} on {}: the expression gives {:.6g}", alert.name,
                                         seen.subject, element.value);
  return seen;
}

/// Whether an element says something about this finding: none of its labels is another.
bool is_about(const knowledge::Labels& element, const Finding& finding,
              const Rule::Templates& replaced) {
  return std::ranges::all_of(element, [&](const knowledge::Label& label) {
    if (label.name == knowledge::kMetricName) return true;
    const bool own =
        std::ranges::any_of(replaced, [&](const auto& one) { return one.first == label.name; });
    const auto found = finding.labels.find(label.name);
    return own || (found != finding.labels.end() && found->second == label.value);
  });
}

/// Elements differ by their labels; what a rule writes over them, and names that are left out, may
/// make some alike.
bool stay_unlike(const RuleSet::CompiledAlert& alert, const knowledge::promql::Vector& all) {
  return alert.labels->empty() && std::ranges::all_of(all, [&](const auto& element) {
           return element.labels.get(knowledge::kMetricName) ==
                  all.front().labels.get(knowledge::kMetricName);
         });
}

}  // namespace

Alerts::Alerts(Clock& clock, const knowledge::Queryable& data, Book& book,
               knowledge::SelfMetrics& self)
    : clock_(clock),
      book_(book),
      evaluator_(clock, data, self, "alert"),
      rules_(std::make_shared<RuleSet>()) {}

void Alerts::adopt(std::shared_ptr<const RuleSet> rules) {
  rules_ = std::move(rules);
  std::erase_if(presence_, [&](const auto& one) {
    return std::ranges::none_of(rules_->alerts, [&](const RuleSet::CompiledAlert& alert) {
      return alert.definition.name == one.first;
    });
  });
}

void Alerts::tick() {
  const WallTime now = clock_.wall();
  std::vector<RuleStatus> all;
  for (const RuleSet::CompiledAlert& alert : rules_->alerts) {
    RuleStatus status;
    status.name = alert.definition.name;
    evaluate(alert, now, status);
    all.push_back(std::move(status));
  }
  const std::lock_guard guard(mutex_);
  status_ = std::move(all);
}

bool Alerts::fill_gaps(const RuleSet::CompiledAlert& alert, WallTime now, RuleStatus& status,
                       TemplateData& data, std::vector<Observation>& seen,
                       std::vector<Book::Held>& held) {
  if (!alert.clear && !alert.data) return true;
  const config::AlertConfig& definition = alert.definition;
  const auto known = book_.of("alert:" + definition.name);
  const bool fires = std::ranges::any_of(
      known, [](const Finding& one) { return one.state == FindingState::kFiring; });
  if (!fires && definition.on_missing != config::OnMissing::kFire) return true;
  knowledge::promql::Vector over;
  knowledge::promql::Vector present;
  if (alert.clear) {
    auto result = evaluator_.run(*alert.clear, now, status);
    if (!result) return false;
    const bool scalar = alert.clear->type() == knowledge::promql::ValueType::kScalar;
    if (!scalar || result->front().value != 0) over = *std::move(result);
  }
  if (alert.data) {
    auto result = evaluator_.run(*alert.data, now, status);
    if (!result) return false;
    present = *std::move(result);
  }
  const auto says = [&](const knowledge::promql::Vector& some, const Finding& finding) {
    return std::ranges::any_of(some, [&](const auto& element) {
      return is_about(element.labels, finding, *alert.labels);
    });
  };
  for (const Finding& finding : known) {
    if (finding.state != FindingState::kFiring) continue;
    const bool missing = alert.data && !says(present, finding);
    const bool lately = now - finding.last_seen < Presence::kForget;
    if (missing) {
      if (definition.on_missing == config::OnMissing::kHold && lately)
        held.push_back({finding.fingerprint, true});
    } else if (alert.clear && !says(over, finding)) {
      held.push_back({finding.fingerprint, false});
    }
  }
  if (!alert.data || definition.on_missing != config::OnMissing::kFire) return true;
  std::vector<StringMap> labels;
  for (const auto& element : present) labels.push_back(to_map(element.labels));
  for (const auto& gone : presence_[definition.name].update(labels, clock_.steady())) {
    std::vector<knowledge::Label> list;
    for (const auto& [name, value] : *gone.labels) list.push_back({name, value});
    knowledge::promql::VectorElement element;
    element.labels = knowledge::Labels(std::move(list));
    element.value = std::nan("");
    Observation observation = observe(alert, data, element);
    observation.missing = true;
    observation.evidence.text =
        fmt::format("{} on {}: no value for {} s", definition.name, observation.subject,
                    std::chrono::duration_cast<std::chrono::seconds>(gone.since).count());
    seen.push_back(std::move(observation));
  }
  return true;
}

void Alerts::evaluate(const RuleSet::CompiledAlert& alert, WallTime now, RuleStatus& status) {
  auto result = evaluator_.run(alert.query, now, status);
  if (!result) {  // what fires goes on firing: an error says nothing about the host
    book_.doubt("alert:" + alert.definition.name);
    return;
  }
  if (alert.query.type() == knowledge::promql::ValueType::kScalar && result->front().value == 0) {
    result->clear();
  }
  TemplateData data;
  data.time = now;
  data.query = [&](std::string_view expression) -> Result<knowledge::promql::Vector> {
    const auto query = knowledge::promql::Query::parse(expression);
    if (!query) return std::unexpected(query.error());
    RuleStatus ignored;
    return evaluator_.run(*query, now, ignored);
  };
  std::vector<Observation> seen;
  const bool unlike = stay_unlike(alert, *result);
  std::set<StringMap> labels;
  for (const auto& element : *result) {
    Observation observation = observe(alert, data, element);
    if (unlike || labels.insert(observation.labels).second) {
      seen.push_back(std::move(observation));
    } else {
      evaluator_.complain(status, "several elements of the result have the same labels");
    }
  }
  std::vector<Book::Held> held;
  if (!fill_gaps(alert, now, status, data, seen, held)) {
    book_.doubt("alert:" + alert.definition.name);
    return;
  }
  book_.observe("alert:" + alert.definition.name, seen, held);
}

std::vector<RuleStatus> Alerts::status() const {
  const std::lock_guard guard(mutex_);
  return status_;
}

}  // namespace nexus::analyze
