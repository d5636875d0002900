#include <fmt/format.h>

#include <algorithm>

#include "analyze/anomaly/advice.hpp"
#include "analyze/anomaly/detector_impl.hpp"
#include "analyze/anomaly/wording.hpp"
#include "analyze/rules/evaluator.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr std::string_view kSource = "anomaly";
constexpr Millis kHold{5 * 60'000};  // quiet for so long before an episode is over
constexpr std::size_t kMaxSeries = 2000;
constexpr std::size_t kMostVerdicts = 1000;

}  // namespace

void AnomalyDetector::Impl::turn(const VitalsSnapshot& vitals) {
  static const std::string kName(knowledge::kMetricName);
  ++pass;
  asked_before = std::exchange(asked, 0);
  unsure_before = std::exchange(unsure, 0);
  answered = answered_others = 0;
  seen.clear();
  apply_verdicts();
  if (section.enabled && vitals.definitions) {
    ordinals.assign(vitals.definitions->size(), 0);
    const std::size_t before = known.size();
    for (const VitalValue& value : vitals.values) {
      const config::VitalConfig& vital = (*vitals.definitions)[value.vital];
      if (!vital.anomaly) continue;
      auto place = known.find(value.series);
      if (place == known.end()) {
        if (known.size() >= kMaxSeries) {
          refused.add();
          continue;
        }
        place = known.try_emplace(value.series).first;
        place->second.metric = vital.name;
        place->second.labels = value.labels.without(std::span(&kName, 1));
        restore(place->second);
      }
      place->second.rank = {ordinals[value.vital]++, value.vital};
      place->second.pass = pass;
      score(value, vital, place->second);
    }
    if (known.size() != before) {
      share_budget();
      statuses_changed = true;
    }
    train_due();
    close_minute(vitals.time);
  }
  forget_absent();
  episodes.forget(clock.steady());
  book.observe(kSource, seen);
}

void AnomalyDetector::Impl::score(const VitalValue& value, const config::VitalConfig& vital,
                                  Watched& watched) {
  const std::int64_t time = base::to_unix_millis(value.time);
  const auto row = watched.tracker.look(time, value.value);
  if (!row) return;
  const bool told = minute(value, vital, watched);
  if (!watched.model) {
    watched.tracker.learn(time, value.value);
    return;
  }
  Judgement judgement = watched.model->judge(*row, vital);
  const SteadyTime now = clock.steady();
  if (judgement.needs_forest) {
    const auto forest_score = ask_forest(value.series, watched, *row);
    if (!forest_score) {  // with many at once: some ticks later
      if (watched.strange_ticks >= kStrangeTicks) watched.tracker.learn(time, value.value);
      return;
    }
    judgement = watched.model->judge(*row, vital, forest_score);
  }
  watched.strange_ticks = judgement.strange ? watched.strange_ticks + 1 : 0;
  unsure += judgement.strange && watched.strange_ticks < kStrangeTicks ? 1 : 0;
  // A spike that is too short to be told is not learned: else what follows it would look like a
  // fall.
  if (!judgement.strange || watched.strange_ticks >= kStrangeTicks) {
    watched.tracker.learn(time, value.value);
  }
  if (!judgement.strange) {
    if (watched.episode && now - watched.last_strange >= kHold) watched.episode.reset();
    return;
  }
  if (!watched.episode && watched.strange_ticks < kStrangeTicks) return;
  const bool news = watched.episode || !watched.rows.knows(value.value, time);
  if (constexpr std::int64_t kMinute = 60'000; time / kMinute != watched.noted) {
    watched.noted = time / kMinute;
    watched.rows.note(value.value, time);
  }
  if (!news) {
    if (watched.strange_ticks == kStrangeTicks) known_before.add();
    return;
  }
  if (!watched.episode && !afford(now)) {
    if (watched.strange_ticks == kStrangeTicks) over_budget.add();
    return;
  }
  watched.last_strange = now;
  if (told) return;
  Anomaly anomaly = describe(value, vital, watched, judgement);
  explain(anomaly, vital.name, watched.episode);
  Observation observation;
  observation.kind = FindingKind::kAnomaly;
  observation.name = vital.name + "_anomaly";
  observation.severity = judgement.severity;
  observation.labels = to_map(watched.labels);
  observation.subject = subject_of(observation.labels);
  observation.annotations = {{"summary", anomaly.description}};
  observation.evidence = {"isolation_forest", value.value, std::nullopt, anomaly.description};
  observation.keep_firing_for = kHold;
  seen.push_back(std::move(observation));
  if (watched.episode) {
    episodes.update(*watched.episode, std::move(anomaly), now);
  } else {
    watched.episode = episodes.begin(std::move(anomaly), now);
    found.add();
  }
}

Anomaly AnomalyDetector::Impl::describe(const VitalValue& value, const config::VitalConfig& vital,
                                        const Watched& watched, const Judgement& judgement) const {
  Anomaly anomaly;
  anomaly.metric_name = vital.name;
  anomaly.labels = watched.labels;
  anomaly.time = value.time;
  anomaly.value = value.value;
  anomaly.anomaly_score = judgement.decision;
  anomaly.severity = judgement.severity;
  anomaly.description =
      fmt::format("{} is {}; its model of the {} before knows {} to {}",
                  series_text(vital.name, watched.labels), amount_text(value.value, vital.unit),
                  base::format_duration(std::chrono::floor<std::chrono::seconds>(watched.span)),
                  amount_text(watched.model->lowest_value(), vital.unit),
                  amount_text(watched.model->highest_value(), vital.unit));
  anomaly.recommended_actions = advice_for(vital.name);
  return anomaly;
}

/// Models of series that are gone are kept for a while: an interface may come back.
void AnomalyDetector::Impl::forget_absent() {
  const std::uint64_t kept =
      section.enabled && section.interval.count() > 0
          ? static_cast<std::uint64_t>(section.retrain / section.interval) + 1
          : 0;
  std::erase_if(known, [&](const auto& item) {
    const Watched& watched = item.second;
    if (watched.pass + kept >= pass && section.enabled) return false;
    statuses_changed = true;
    return true;
  });
}

void AnomalyDetector::Impl::publish() {
  if (statuses_changed) publish_statuses();
  statuses_changed = false;
  if (!episodes.changed()) return;
  auto list = episodes.snapshot();
  auto gone = episodes.withdrawn();
  const std::lock_guard guard(mutex);
  listed = std::move(list);
  withdrawn = std::move(gone);
}

void AnomalyDetector::Impl::publish_statuses() {
  auto next = std::make_shared<std::vector<ModelStatus>>();
  next->reserve(known.size());
  double count = 0;
  for (const auto& [id, watched] : known) {
    ModelStatus status{watched.metric,  watched.labels,  watched.model.has_value(),
                       watched.waiting, watched.trained, watched.last.progress};
    if (status.ready) status.state = watched.model->constant() ? "ready: constant so far" : "ready";
    if (!watched.model && status.state.empty()) status.state = "warming up";
    count += status.ready ? 1 : 0;
    next->push_back(std::move(status));
  }
  for (const auto& scope : host.status()) {
    next->push_back(
        {"host_anomaly", knowledge::Labels(std::vector<knowledge::Label>{{"scope", scope.scope}}),
         scope.ready,
         scope.ready
             ? "ready"
             : fmt::format("warming up: {} of {} minutes", scope.rows, HostDetector::kTrusted),
         WallTime{}, scope.progress});
  }
  std::sort(next->begin(), next->end(), [](const ModelStatus& a, const ModelStatus& b) {
    return std::tie(a.metric_name, a.labels) < std::tie(b.metric_name, b.labels);
  });
  ready.set(count);
  warming.set(static_cast<double>(known.size()) - count);
  const std::lock_guard guard(mutex);
  statuses = std::move(next);
}

AnomalyDetector::AnomalyDetector(Clock& clock, const knowledge::Queryable& data, Book& book,
                                 knowledge::SelfMetrics& self, knowledge::StateDb* db)
    : impl_(std::make_unique<Impl>(clock, data, book, self, db)) {}

AnomalyDetector::~AnomalyDetector() = default;

void AnomalyDetector::configure(const config::AnomalySection& section) {
  const std::lock_guard guard(impl_->mutex);
  impl_->next_section = section;
}

void AnomalyDetector::tick(const VitalsSnapshot& vitals) {
  std::optional<config::AnomalySection> next;
  {
    const std::lock_guard guard(impl_->mutex);
    next.swap(impl_->next_section);
  }
  const SteadyTime begin = impl_->clock.steady();
  if (next) {
    if (!(*next == impl_->section)) {
      for (auto& [id, watched] : impl_->known) watched.next_training = begin;
    }
    impl_->section = *next;
    impl_->share_budget();
  }
  if (!impl_->cadence.due(begin, impl_->section.interval)) return;
  impl_->turn(vitals);
  impl_->publish();
  impl_->seconds.add(std::chrono::duration<double>(impl_->clock.steady() - begin).count());
}

Status AnomalyDetector::judge(std::uint64_t id, bool real) {
  const std::lock_guard guard(impl_->mutex);
  if (std::ranges::none_of(*impl_->listed, [id](const Anomaly& a) { return a.id == id; }) &&
      std::ranges::find(impl_->withdrawn, id) == impl_->withdrawn.end())
    return fail(Errc::kNotFound, "there was no anomaly {} in the last hour", id);
  if (impl_->verdicts.size() >= kMostVerdicts)
    return fail(Errc::kExhausted, "{} verdicts wait already", kMostVerdicts);
  impl_->verdicts.emplace_back(id, real);
  return {};
}

Status AnomalyDetector::save() {
  return impl_->save_some(impl_->known.size() + 1);
}

std::shared_ptr<const std::vector<Anomaly>> AnomalyDetector::anomalies() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->listed;
}

std::shared_ptr<const std::vector<ModelStatus>> AnomalyDetector::models() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->statuses;
}

}  // namespace nexus::analyze
