#include "analyze/rules/groups.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "nexus/base/log.hpp"

namespace nexus::analyze {
namespace {

/// Of groups that name none; Prometheus has it as a setting.
constexpr Millis kDefaultInterval{15'000};

Millis interval_of(const RuleGroup& group) {
  return group.interval.value_or(kDefaultInterval);
}

/// Counts rules of one name only, so that a reload which adds or takes away others changes nothing.
std::string source_of(const RuleGroup& group, std::size_t rule) {
  const auto& name = group.rules[rule].name;
  const auto before = std::ranges::count(group.rules.begin(),
                                         group.rules.begin() + static_cast<std::ptrdiff_t>(rule),
                                         name, &Rule::name);
  return fmt::format("{}{};{};{}#{}", kRuleSource, group.file, group.name, name, before);
}

/// The words that rule files use for how bad it is.
Severity severity_of(const StringMap& labels) {
  const auto found = labels.find("severity");
  if (found == labels.end()) return Severity::kWarning;
  static const std::set<std::string_view> kCritical = {"critical", "page",      "error",
                                                       "fatal",    "emergency", "high"};
  static const std::set<std::string_view> kInfo = {"info", "information", "notice", "none", "low"};
  if (kCritical.contains(found->second)) return Severity::kCritical;
  return kInfo.contains(found->second) ? Severity::kInfo : Severity::kWarning;
}

Observation to_observation(const Rule& rule, const RuleAlert& alert) {
  Observation seen;
  seen.kind = FindingKind::kAlert;
  seen.name = rule.name;
  seen.labels = to_map(alert.labels);
  seen.labels.erase("alertname");
  seen.annotations = alert.annotations;
  seen.severity = severity_of(seen.labels);
  seen.subject = subject_of(seen.labels);
  seen.pending = rule.pending;
  seen.keep_firing_for = rule.keep_firing_for;
  seen.evidence.source = rule.expression;
  seen.evidence.value = alert.value;
  for (const auto name : {"summary", "message", "description"}) {
    const auto text = alert.annotations.find(name);
    if (seen.evidence.text.empty() && text != alert.annotations.end())
      seen.evidence.text = text->second;
  }
  if (seen.evidence.text.empty()) {
    seen.evidence.text =
        fmt::format("{} on {}: the expression gives {:.6g}", rule.name, seen.subject, alert.value);
  }
  return seen;
}

}  // namespace

Groups::Groups(Clock& clock, const knowledge::Queryable& data, knowledge::SeriesRegistry& registry,
               std::shared_ptr<knowledge::SampleRing> ring, Book& book,
               knowledge::SelfMetrics& self)
    : clock_(clock),
      registry_(registry),
      ring_(std::move(ring)),
      book_(book),
      overlay_(data),
      evaluator_(clock, overlay_, self, "rule"),
      refused_(self.counter("nexus_rule_samples_refused_total",
                            "Samples of rule files' rules that the full ring refused")),
      reports_(std::make_shared<GroupReports>()) {}

Groups::~Groups() = default;

void Groups::adopt(const RuleSet& rules) {
  std::vector<std::unique_ptr<Live>> next;
  for (const auto& definition : rules.groups) {
    const auto [number, fresh] =
        numbers_.try_emplace({definition->file, definition->name},
                             kFirstRuleGroup + static_cast<std::uint32_t>(numbers_.size()));
    auto live = std::make_unique<Live>(definition, number->second);
    const auto old = std::ranges::find_if(live_, [&](const auto& other) {
      return other && other->number_in_history == live->number_in_history;
    });
    if (old != live_.end()) {
      live->group.inherit((*old)->group);
      live->cadence = (*old)->cadence;
      live->report.evaluated = (*old)->report.evaluated;
      old->reset();
    }
    next.push_back(std::move(live));
  }
  const auto here = world();
  for (const auto& gone : live_) {
    if (!gone) continue;
    gone->group.end(clock_.wall(), here);
    push(gone->number_in_history);
  }
  live_ = std::move(next);
  publish();
}

GroupWorld Groups::world() {
  GroupWorld out;
  out.query = [this](const knowledge::promql::Query& query, WallTime time) {
    RuleStatus status;
    return evaluator_.run(query, time, status);
  };
  out.append = [this](const knowledge::Labels& labels, WallTime time, double value) {
    return append(labels, time, value);
  };
  out.recall = [this](const knowledge::Labels& labels,
                      WallTime time) -> std::optional<knowledge::Sample> {
    constexpr std::int64_t kOutage = 3'600'000;
    std::vector<knowledge::Matcher> matchers;
    for (const auto& label : labels) {
      auto matcher = knowledge::Matcher::make(label.name, knowledge::MatchOp::kEqual, label.value);
      if (matcher) matchers.push_back(std::move(*matcher));
    }
    const auto end = base::to_unix_millis(time);
    for (const auto id : overlay_.select(matchers, end - kOutage, end)) {
      if (overlay_.labels(id) == labels) return overlay_.last(id, end - kOutage, end);
    }
    return std::nullopt;
  };
  out.seconds = [this] {
    return std::chrono::duration<double>(clock_.steady().time_since_epoch()).count();
  };
  return out;
}

Status Groups::append(const knowledge::Labels& labels, WallTime time, double value) {
  const auto millis = base::to_unix_millis(time);
  if (millis != time_ || ids_.empty()) {
    time_ = millis;
    overlay_.begin(millis);
  }
  std::vector<knowledge::LabelView> views;
  for (const auto& label : labels) {
    if (label.name != knowledge::kMetricName) views.push_back({label.name, label.value});
  }
  const auto family = registry_.family(labels.metric(), knowledge::MetricType::kGauge,
                                       "Recorded by the rules of a rule file.");
  const auto id = registry_.intern(family, views);
  if (!id) return std::unexpected(id.error());
  if (!overlay_.add(*id, registry_.labels(*id), value)) {
    // Two rules of a group give the same series; as in Prometheus the first one stands.
    if (knowledge::is_stale_marker(value)) return {};
    return fail(Errc::kConflict, "{} has a sample of this evaluation already", to_string(labels));
  }
  ids_.push_back(*id);
  values_.push_back(value);
  return {};
}

void Groups::push(std::uint32_t number) {
  if (!ids_.empty() && !ring_->push({number, time_, ids_, values_}))
    refused_.add(static_cast<double>(ids_.size()));
  ids_.clear();
  values_.clear();
  overlay_.begin(0);
}

void Groups::evaluate(Live& live) {
  const SteadyTime begin = clock_.steady();
  const WallTime now = clock_.wall();
  live.group.evaluate(now, world());
  push(live.number_in_history);
  observe(live);
  live.report.duration_seconds = std::chrono::duration<double>(clock_.steady() - begin).count();
  live.report.evaluated = now;
}

void Groups::observe(const Live& live) {
  const auto& definition = live.group.definition();
  for (std::size_t i = 0; i < definition.rules.size(); ++i) {
    const Rule& rule = definition.rules[i];
    if (rule.kind != Rule::Kind::kAlerting) continue;
    if (!live.group.error(i).empty()) {
      book_.doubt(source_of(definition, i));
      continue;
    }
    std::vector<Observation> seen;
    for (const auto& alert : live.group.alerts(i)) {
      if (alert.seen) seen.push_back(to_observation(rule, alert));
    }
    book_.observe(source_of(definition, i), seen);
  }
}

void Groups::tick() {
  bool any = false;
  for (const auto& live : live_) {
    if (!live->cadence.due(clock_.steady(), interval_of(live->group.definition()))) continue;
    evaluate(*live);
    any = true;
  }
  if (any) publish();
}

void Groups::publish() {
  auto all = std::make_shared<GroupReports>();
  for (const auto& live : live_) {
    const auto& definition = live->group.definition();
    GroupReport report = live->report;
    report.name = definition.name;
    report.file = definition.file;
    report.interval = interval_of(definition);
    report.limit = definition.limit;
    for (std::size_t i = 0; i < definition.rules.size(); ++i)
      report.rules.push_back(live->group.report(i));
    all->push_back(std::move(report));
  }
  const std::lock_guard guard(mutex_);
  reports_ = std::move(all);
}

GroupReports Groups::reports() const {
  const std::lock_guard guard(mutex_);
  return *reports_;
}

bool Groups::is_gone(const RuleSet& rules, std::string_view source) {
  for (const auto& group : rules.groups) {
    for (std::size_t i = 0; i < group->rules.size(); ++i) {
      const bool alerts = group->rules[i].kind == Rule::Kind::kAlerting;
      if (alerts && source_of(*group, i) == source) return false;
    }
  }
  return true;
}

}  // namespace nexus::analyze
