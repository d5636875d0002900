#include "analyze/rules/vitals.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "nexus/base/text.hpp"

namespace nexus::analyze {

using knowledge::SeriesId;

namespace {

/// `value` to so many significant digits, the nearest; what is before the point stays whole.
double to_digits(double value, int digits, int magnitude) noexcept {
  const double tens = std::pow(10, std::max(0, digits - 1 - magnitude));
  return std::nearbyint(value * tens) / tens;
}

}  // namespace

double told(double value) noexcept {
  constexpr int kDigits = 7;
  constexpr int kShort = 12;      // what has no more is as somebody wrote it or counted it
  constexpr int kSmallest = -10;  // power of ten; below, tens would not be exact
  if (!std::isfinite(value) || value == std::nearbyint(value)) return value;
  const auto magnitude = static_cast<int>(std::floor(std::log10(std::fabs(value))));
  if (magnitude < kSmallest) return value;
  const double written = to_digits(value, kShort, magnitude);
  // A sum of such numbers is one but for the last bits.
  constexpr double kNoise = 8 * std::numeric_limits<double>::epsilon();
  if (std::fabs(value - written) <= kNoise * std::fabs(value)) return written;
  return to_digits(value, kDigits, magnitude);
}

std::optional<Severity> severity_of(const config::VitalConfig& vital, double value) {
  const auto reached = [&](const std::optional<double>& threshold) {
    if (!threshold) return false;
    return vital.direction == config::Direction::kAbove ? value >= *threshold : value <= *threshold;
  };
  if (reached(vital.critical)) return Severity::kCritical;
  if (reached(vital.warning)) return Severity::kWarning;
  return std::nullopt;
}

Vitals::Vitals(Clock& clock, const knowledge::Queryable& data, knowledge::SeriesRegistry& registry,
               std::shared_ptr<knowledge::SampleRing> ring, Book& book,
               knowledge::SelfMetrics& self)
    : clock_(clock),
      registry_(registry),
      ring_(std::move(ring)),
      book_(book),
      evaluator_(clock, data, self, "vital"),
      refused_(self.counter("nexus_vital_samples_refused_total",
                            "Samples of vitals that the full ring refused")),
      rules_(std::make_shared<RuleSet>()) {
  auto empty = std::make_shared<VitalsSnapshot>();
  empty->definitions = std::make_shared<std::vector<config::VitalConfig>>();
  snapshot_ = std::move(empty);
}

void Vitals::adopt(std::shared_ptr<const RuleSet> rules) {
  std::vector<Live> next(rules->vitals.size());
  for (std::size_t i = 0; i < next.size(); ++i) {
    const config::VitalConfig& vital = rules->vitals[i].definition;
    next[i].family = registry_.family(vital.name, knowledge::MetricType::kGauge, vital.help);
    next[i].status.name = vital.name;
  }
  for (std::size_t old = 0; old < live_.size(); ++old) {
    const std::string& name = rules_->vitals[old].definition.name;
    const auto same = std::find_if(next.begin(), next.end(),
                                   [&](const Live& live) { return live.status.name == name; });
    if (same != next.end()) {
      same->series = std::move(live_[old].series);
      same->presence = std::move(live_[old].presence);
      continue;
    }
    for (const SeriesId id : live_[old].series) {  // the vital is gone, its series end
      ids_.push_back(id);
      values_.push_back(knowledge::stale_marker());
    }
  }
  live_ = std::move(next);
  rules_ = std::move(rules);
}

void Vitals::tick() {
  const WallTime now = clock_.wall();
  auto next = std::make_shared<VitalsSnapshot>();
  next->definitions = rules_->definitions;
  next->time = now;
  std::vector<RuleStatus> status;
  for (std::uint32_t i = 0; i < live_.size(); ++i) {
    evaluate(i, now, next->values);
    status.push_back(live_[i].status);
  }
  if (!next->definitions) next->definitions = std::make_shared<std::vector<config::VitalConfig>>();
  push(now);
  const std::lock_guard guard(mutex_);
  snapshot_ = std::move(next);
  status_ = std::move(status);
}

void Vitals::evaluate(std::uint32_t index, WallTime now, std::vector<VitalValue>& out) {
  const RuleSet::CompiledVital& vital = rules_->vitals[index];
  Live& live = live_[index];
  const auto result = evaluator_.run(vital.query, now, live.status);
  if (!result) return;
  const std::size_t first = out.size();
  std::vector<knowledge::LabelView> views;
  for (const auto& element : *result) {
    if (std::isnan(element.value)) continue;
    views.clear();
    for (const knowledge::Label& label : element.labels) {
      if (label.name != knowledge::kMetricName) views.push_back({label.name, label.value});
    }
    const auto id = registry_.intern(live.family, views);
    if (!id) {
      evaluator_.complain(live.status, id.error().message());
      continue;
    }
    const double value = told(element.value);
    out.push_back(
        {*id, registry_.labels(*id), value, now, index, severity_of(vital.definition, value)});
  }
  const auto begin = out.begin() + static_cast<std::ptrdiff_t>(first);
  std::sort(begin, out.end(),
            [](const VitalValue& a, const VitalValue& b) { return a.labels < b.labels; });
  const auto twice = std::unique(begin, out.end(), [](const VitalValue& a, const VitalValue& b) {
    return a.series == b.series;
  });
  if (twice != out.end()) {
    out.erase(twice, out.end());
    evaluator_.complain(live.status, "several elements of the result have the same labels");
  }
  record(out, first, live);
  report(vital, std::span(out).subspan(first), live);
}

/// Puts the values into the batch, and the end of what was there before.
void Vitals::record(const std::vector<VitalValue>& values, std::size_t first, Live& live) {
  std::vector<SeriesId> now;
  for (std::size_t i = first; i < values.size(); ++i) {
    ids_.push_back(values[i].series);
    values_.push_back(values[i].value);
    now.push_back(values[i].series);
  }
  std::sort(now.begin(), now.end());
  for (const SeriesId id : live.series) {
    if (std::binary_search(now.begin(), now.end(), id)) continue;
    ids_.push_back(id);
    values_.push_back(knowledge::stale_marker());
  }
  live.series = std::move(now);
}

void Vitals::report_gaps(const config::VitalConfig& vital, std::span<const VitalValue> values,
                         Live& live, std::vector<Observation>& seen,
                         std::vector<Book::Held>& held) {
  const bool fires = vital.on_missing == config::OnMissing::kFire;
  if (!vital.clear && vital.on_missing == config::OnMissing::kResolve) return;
  std::map<StringMap, double> present;
  for (const VitalValue& value : values) present.emplace(to_map(value.labels), value.value);
  const Findings known = book_.of("vital:" + vital.name);
  for (const Finding& finding : known) {
    if (finding.state != FindingState::kFiring) continue;
    const auto value = present.find(finding.labels);
    if (value == present.end()) {
      const bool lately = clock_.wall() - finding.last_seen < Presence::kForget;
      if (vital.on_missing == config::OnMissing::kHold && lately)
        held.push_back({finding.fingerprint, true});
    } else if (vital.clear &&
               (vital.direction == config::Direction::kAbove ? value->second >= *vital.clear
                                                             : value->second <= *vital.clear)) {
      held.push_back({finding.fingerprint, false});
    }
  }
  if (!fires) return;
  std::vector<StringMap> labels;
  for (const auto& [one, value] : present) labels.push_back(one);
  for (const auto& gone : live.presence.update(labels, clock_.steady())) {
    Observation observation;
    observation.kind = FindingKind::kVital;
    observation.name = vital.name;
    observation.labels = *gone.labels;
    observation.subject = subject_of(observation.labels);
    observation.missing = true;
    observation.pending = vital.pending;
    observation.keep_firing_for = vital.keep_firing_for;
    for (const Finding& finding : known) {
      if (finding.labels == observation.labels) observation.severity = finding.severity;
    }
    observation.evidence.source = vital.expr.text;
    observation.evidence.value = std::nan("");
    observation.evidence.text =
        fmt::format("{} of {} has given no value for {} s", vital.name, observation.subject,
                    std::chrono::duration_cast<std::chrono::seconds>(gone.since).count());
    observation.annotations = {{"summary", observation.evidence.text}};
    seen.push_back(std::move(observation));
  }
}

void Vitals::report(const RuleSet::CompiledVital& vital, std::span<const VitalValue> values,
                    Live& live) {
  const config::VitalConfig& definition = vital.definition;
  if (!definition.warning && !definition.critical) return;
  std::vector<Observation> seen;
  for (const VitalValue& value : values) {
    if (!value.severity) continue;
    Observation observation;
    observation.kind = FindingKind::kVital;
    observation.name = definition.name;
    observation.severity = *value.severity;
    observation.labels = to_map(value.labels);
    observation.subject = subject_of(observation.labels);
    observation.pending = definition.pending;
    observation.keep_firing_for = definition.keep_firing_for;
    Evidence& evidence = observation.evidence;
    evidence.source = definition.expr.text;
    evidence.value = value.value;
    evidence.threshold =
        *value.severity == Severity::kCritical ? definition.critical : definition.warning;
    evidence.text = fmt::format(
        "{} is {:.6g} {}, {} the {} threshold of {:.6g}", to_string(value.labels), value.value,
        definition.unit,
        definition.direction == config::Direction::kAbove ? "at or above" : "at or below",
        to_string(*value.severity), evidence.threshold.value_or(0));
    observation.annotations = {{"summary", evidence.text}};
    if (!definition.help.empty()) observation.annotations["description"] = definition.help;
    seen.push_back(std::move(observation));
  }
  std::vector<Book::Held> held;
  report_gaps(definition, values, live, seen, held);
  book_.observe("vital:" + definition.name, seen, held);
}

void Vitals::push(WallTime now) {
  if (!ids_.empty() && !ring_->push({kVitalsGroup, base::to_unix_millis(now), ids_, values_})) {
    refused_.add(static_cast<double>(ids_.size()));
  }
  ids_.clear();
  values_.clear();
}

std::shared_ptr<const VitalsSnapshot> Vitals::snapshot() const {
  const std::lock_guard guard(mutex_);
  return snapshot_;
}

std::vector<RuleStatus> Vitals::status() const {
  const std::lock_guard guard(mutex_);
  return status_;
}

}  // namespace nexus::analyze
