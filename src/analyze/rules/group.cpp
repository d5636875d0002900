#include "analyze/rules/group.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

using knowledge::Labels;
using knowledge::promql::Query;
using knowledge::promql::Vector;

constexpr std::string_view kAlertName = "alertname";
constexpr std::string_view kAlertState = "alertstate";
constexpr std::string_view kAlerts = "ALERTS";
constexpr std::string_view kForState = "ALERTS_FOR_STATE";

double unix_seconds(WallTime time) {
  return static_cast<double>(base::to_unix_millis(time) / 1000);
}

/// Labels with others set over them; an empty value takes a label away.
Labels over(const Labels& labels, const config::StringMap& others) {
  std::vector<knowledge::Label> all;
  for (const auto& label : labels) {
    if (!others.contains(label.name)) all.push_back(label);
  }
  for (const auto& [name, value] : others) all.push_back({name, value});
  return Labels(std::move(all));
}

}  // namespace

Group::Group(std::shared_ptr<const RuleGroup> definition)
    : definition_(std::move(definition)), rules_(definition_->rules.size()) {}

void Group::inherit(Group& old) {
  restores_ = false;
  ended_ = std::move(old.ended_);
  std::vector<bool> taken(old.rules_.size(), false);
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const Rule& rule = definition_->rules[i];
    for (std::size_t k = 0; k < old.rules_.size(); ++k) {
      const Rule& other = old.definition_->rules[k];
      const bool same =
          rule.kind == other.kind && rule.name == other.name && rule.labels == other.labels;
      if (!same || taken[k]) continue;
      taken[k] = true;
      rules_[i] = std::move(old.rules_[k]);
      break;
    }
  }
  for (std::size_t k = 0; k < old.rules_.size(); ++k) {
    if (!taken[k]) ended_.merge(old.rules_[k].series);
  }
}

void Group::evaluate(WallTime now, const GroupWorld& world) {
  const WallTime time = now - definition_->query_offset.value_or(Millis(0));
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    Live& live = rules_[i];
    const double begin = world.seconds ? world.seconds() : 0;
    const auto outputs = run(i, time, world);
    live.duration_seconds = world.seconds ? world.seconds() - begin : 0;
    live.evaluated = now;
    live.error = outputs ? std::string() : outputs.error().message();
    if (outputs) write(live, *outputs, time, world);
  }
  for (const auto& labels : ended_) {
    const bool again =
        std::ranges::any_of(rules_, [&](const Live& live) { return live.series.contains(labels); });
    if (!again) (void)world.append(labels, time, knowledge::stale_marker());
  }
  ended_.clear();
  restores_ = false;
}

void Group::end(WallTime now, const GroupWorld& world) {
  const WallTime time = now - definition_->query_offset.value_or(Millis(0));
  for (const auto& live : rules_) {
    for (const auto& labels : live.series)
      (void)world.append(labels, time, knowledge::stale_marker());
  }
}

Result<std::vector<Group::Output>> Group::run(std::size_t index, WallTime time,
                                              const GroupWorld& world) {
  const Rule& rule = definition_->rules[index];
  auto result = world.query(*rule.query, time);
  if (!result) return std::unexpected(result.error());
  if (rule.kind == Rule::Kind::kRecording) return record(index, std::move(*result));
  return alert(index, std::move(*result), time, world);
}

config::StringMap Group::labels_of(const Rule& rule) const {
  auto labels = definition_->labels;
  for (const auto& [name, value] : rule.labels) labels.insert_or_assign(name, value);
  return labels;
}

Result<std::vector<Group::Output>> Group::record(std::size_t index, Vector result) const {
  const Rule& rule = definition_->rules[index];
  auto labels = labels_of(rule);
  labels.insert_or_assign(std::string(knowledge::kMetricName), rule.name);
  std::vector<Output> out;
  std::set<Labels> known;
  for (const auto& element : result) {
    out.push_back({over(element.labels, labels), element.value});
    if (!known.insert(out.back().labels).second) {
      return fail(Errc::kConflict,
                  "vector contains metrics with the same labelset after applying rule labels");
    }
  }
  if (definition_->limit > 0 && out.size() > definition_->limit)
    return fail(Errc::kExhausted, "exceeded limit of {} with {} series", definition_->limit,
                out.size());
  return out;
}

Result<std::map<Labels, RuleAlert>> Group::expand(std::size_t index, const Vector& result,
                                                  WallTime time, const GroupWorld& world) const {
  const Rule& rule = definition_->rules[index];
  TemplateData data;
  data.external_labels = world.external_labels;
  data.external_url = world.external_url;
  data.time = time;
  data.query = [&](std::string_view expression) -> Result<Vector> {
    const auto query = Query::parse(expression);
    if (!query) return std::unexpected(query.error());
    return world.query(*query, time);
  };
  std::map<Labels, RuleAlert> out;
  for (const auto& element : result) {
    data.labels.clear();
    for (const auto& label : element.labels) data.labels.emplace(label.name, label.value);
    data.value = element.value;
    auto labels = definition_->labels;
    labels.insert_or_assign(std::string(knowledge::kMetricName), "");
    for (const auto& [name, text] : *rule.label_templates)
      labels.insert_or_assign(name, text.expand_or_say(data));
    labels.insert_or_assign(std::string(kAlertName), rule.name);
    RuleAlert alert;
    alert.labels = over(element.labels, labels);
    for (const auto& [name, text] : *rule.annotation_templates)
      alert.annotations.insert_or_assign(name, text.expand_or_say(data));
    alert.value = element.value;
    alert.active_at = time;
    auto key = alert.labels;
    if (!out.emplace(std::move(key), std::move(alert)).second) {
      return fail(Errc::kConflict,
                  "vector contains metrics with the same labelset after applying alert labels");
    }
  }
  return out;
}

void Group::see(const Rule& rule, Live& live, std::map<Labels, RuleAlert> seen, WallTime time,
                const GroupWorld& world) {
  for (auto& [labels, alert] : live.alerts) alert.seen = false;
  for (auto& [labels, fresh] : seen) {
    const auto known = live.alerts.find(labels);
    if (known != live.alerts.end() && known->second.state != FindingState::kResolved) {
      Alert& alert = known->second;
      alert.seen = true;
      alert.shown.value = fresh.value;
      alert.shown.annotations = std::move(fresh.annotations);
      continue;
    }
    if (restores_ && world.recall) {
      const auto before = world.recall(labels.with(knowledge::kMetricName, kForState), time);
      if (before && !knowledge::is_stale_marker(before->value)) {
        const auto began = base::from_unix_millis(static_cast<std::int64_t>(before->value * 1000));
        const auto last = base::from_unix_millis(before->time);
        // Of what was not firing yet, the time that the agent was away does not count; what fired
        // began when it began. As Prometheus restores them.
        const auto away = last - began < rule.pending ? time - last : WallTime::duration{0};
        fresh.active_at = std::min(time, began + away);
      }
    }
    Alert alert;
    alert.shown = std::move(fresh);
    alert.seen = true;
    live.alerts.insert_or_assign(labels, std::move(alert));
  }
}

bool Group::settle(const Rule& rule, Alert& alert, WallTime time) {
  constexpr Millis kKeepResolved{15 * 60'000};
  if (alert.seen) {
    alert.shown.keep_firing_since.reset();
  } else {
    if (alert.state == FindingState::kPending) return false;
    if (alert.state == FindingState::kResolved) return time - *alert.resolved <= kKeepResolved;
    if (rule.keep_firing_for.count() > 0 && !alert.shown.keep_firing_since)
      alert.shown.keep_firing_since = time;
    const bool keeps = alert.shown.keep_firing_since &&
                       time - *alert.shown.keep_firing_since < rule.keep_firing_for;
    if (!keeps) {
      alert.state = FindingState::kResolved;
      alert.resolved = time;
      return true;
    }
  }
  if (alert.state == FindingState::kPending && time - alert.shown.active_at >= rule.pending)
    alert.state = FindingState::kFiring;
  return true;
}

Result<std::vector<Group::Output>> Group::alert(std::size_t index, Vector result, WallTime time,
                                                const GroupWorld& world) {
  const Rule& rule = definition_->rules[index];
  Live& live = rules_[index];
  auto seen = expand(index, result, time, world);
  if (!seen) return std::unexpected(seen.error());
  see(rule, live, std::move(*seen), time, world);
  for (auto entry = live.alerts.begin(); entry != live.alerts.end();)
    entry = settle(rule, entry->second, time) ? std::next(entry) : live.alerts.erase(entry);
  std::vector<Output> out;
  std::size_t active = 0;
  for (auto& [labels, alert] : live.alerts) {
    alert.shown.state = alert.state;
    if (alert.state == FindingState::kResolved) continue;
    ++active;
    out.push_back(
        {labels.with(kAlertState, to_string(alert.state)).with(knowledge::kMetricName, kAlerts),
         1});
    out.push_back(
        {labels.with(knowledge::kMetricName, kForState), unix_seconds(alert.shown.active_at)});
  }
  if (definition_->limit > 0 && active > definition_->limit) {
    live.alerts.clear();
    return fail(Errc::kExhausted, "exceeded limit of {} with {} alerts", definition_->limit,
                active);
  }
  return out;
}

void Group::write(Live& live, const std::vector<Output>& outputs, WallTime time,
                  const GroupWorld& world) {
  std::set<Labels> now;
  for (const auto& output : outputs) {
    if (const Status done = world.append(output.labels, time, output.value); !done)
      live.error = done.error().message();
    now.insert(output.labels);
  }
  for (const auto& labels : live.series) {
    if (!now.contains(labels)) (void)world.append(labels, time, knowledge::stale_marker());
  }
  live.series = std::move(now);
}

std::vector<RuleAlert> Group::alerts(std::size_t rule) const {
  std::vector<RuleAlert> out;
  for (const auto& [labels, alert] : rules_[rule].alerts) {
    if (alert.state == FindingState::kResolved) continue;
    out.push_back(alert.shown);
    out.back().seen = alert.seen;
  }
  return out;
}

RuleReport Group::report(std::size_t rule) const {
  const Rule& definition = definition_->rules[rule];
  const Live& live = rules_[rule];
  RuleReport out;
  out.alerting = definition.kind == Rule::Kind::kAlerting;
  out.name = definition.name;
  out.query = definition.expression;
  out.pending = definition.pending;
  out.keep_firing_for = definition.keep_firing_for;
  out.labels = labels_of(definition);
  out.annotations = definition.annotations;
  out.alerts = alerts(rule);
  out.error = live.error;
  out.duration_seconds = live.duration_seconds;
  out.evaluated = live.evaluated;
  return out;
}

}  // namespace nexus::analyze
