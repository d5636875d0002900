#include "analyze/rules/alerts.hpp"

#include <fmt/format.h>

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

}  // namespace

Alerts::Alerts(Clock& clock, const knowledge::Queryable& data, Book& book,
               knowledge::SelfMetrics& self)
    : clock_(clock),
      book_(book),
      evaluator_(clock, data, self, "alert"),
      rules_(std::make_shared<RuleSet>()) {}

void Alerts::adopt(std::shared_ptr<const RuleSet> rules) {
  rules_ = std::move(rules);
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
  std::set<StringMap> labels;
  for (const auto& element : *result) {
    Observation observation = observe(alert, data, element);
    if (labels.insert(observation.labels).second) {
      seen.push_back(std::move(observation));
    } else {
      evaluator_.complain(status, "several elements of the result have the same labels");
    }
  }
  book_.observe("alert:" + alert.definition.name, seen);
}

std::vector<RuleStatus> Alerts::status() const {
  const std::lock_guard guard(mutex_);
  return status_;
}

}  // namespace nexus::analyze
