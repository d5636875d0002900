#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "analyze/anomaly/advice.hpp"
#include "analyze/anomaly/episodes.hpp"
#include "analyze/anomaly/features.hpp"
#include "analyze/anomaly/model.hpp"
#include "analyze/cadence.hpp"
#include "analyze/rules/evaluator.hpp"
#include "nexus/analyze/anomaly.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr std::string_view kSource = "anomaly";
constexpr int kStrangeTicks = 3;          // in a row, before it is told
constexpr Millis kHold{5 * 60'000};       // quiet for so long before an episode is over
constexpr std::size_t kTrainPerTick = 4;  // a training takes some milliseconds
constexpr std::size_t kMaxSeries = 2000;
constexpr std::size_t kMaxBytes = 48U << 20;  // of all forests

/// One series under watch.
struct Watched {
  std::string metric;
  knowledge::Labels labels;  // without __name__
  FeatureTracker tracker;
  std::optional<Model> model;
  std::string waiting;  // why there is no model
  SteadyTime next_training{};
  WallTime trained{};
  int strange_ticks = 0;
  std::optional<std::uint64_t> episode;
  SteadyTime last_strange{};
  std::uint64_t pass = 0;  // the last tick whose snapshot had it
};

using Known = std::unordered_map<knowledge::SeriesId, Watched>;

/// Samples after the last stale marker as rows of features.
struct TrainingRows {
  std::vector<FeatureRow> rows;
  Millis span{0};
};

TrainingRows rows_of(const knowledge::Column& column) {
  TrainingRows out;
  FeatureTracker tracker;
  std::int64_t first = 0;
  std::int64_t last = 0;
  for (std::size_t i = 0; i < column.size(); ++i) {
    if (knowledge::is_stale_marker(column.values[i])) {
      tracker = FeatureTracker();
      out.rows.clear();
      continue;
    }
    const auto row = tracker.push(column.times[i], column.values[i]);
    if (!row) continue;
    if (out.rows.empty()) first = column.times[i];
    last = column.times[i];
    out.rows.push_back(*row);
  }
  out.span = Millis(last - first);
  return out;
}

}  // namespace

struct AnomalyDetector::Impl {
  Impl(Clock& c, const knowledge::Queryable& d, Book& b, knowledge::SelfMetrics& self)
      : clock(c),
        data(d),
        book(b),
        ready(self.gauge("nexus_anomaly_models", "Series watched for anomalies by state",
                         {{"state", "ready"}})),
        warming(self.gauge("nexus_anomaly_models", "Series watched for anomalies by state",
                           {{"state", "warming_up"}})),
        model_bytes(self.gauge("nexus_anomaly_model_bytes", "Memory of all isolation forests")),
        trainings(self.counter("nexus_anomaly_trainings_total", "Isolation forests grown")),
        found(self.counter("nexus_anomalies_total", "Episodes of anomalies")),
        refused(self.counter("nexus_anomaly_series_refused_total",
                             "Series not watched for anomalies because there are too many")),
        seconds(self.counter("nexus_anomaly_seconds_total", "Time spent on anomalies")) {}

  void turn(const VitalsSnapshot& vitals);
  void score(const VitalValue& value, const config::VitalConfig& vital, Watched& watched);
  Anomaly describe(const VitalValue& value, const config::VitalConfig& vital,
                   const Watched& watched, const Judgement& judgement) const;
  void train_due();
  void train(knowledge::SeriesId id, Watched& watched);
  void wait_for_samples(Watched& watched, const TrainingRows& training);
  void forget_absent();
  void publish();

  Clock& clock;
  const knowledge::Queryable& data;
  Book& book;
  knowledge::Gauge ready;
  knowledge::Gauge warming;
  knowledge::Gauge model_bytes;
  knowledge::Counter trainings;
  knowledge::Counter found;
  knowledge::Counter refused;
  knowledge::Counter seconds;

  // Of the ticking thread.
  Cadence cadence;
  config::AnomalySection section;
  Known known;
  Episodes episodes;
  std::size_t bytes = 0;
  std::uint64_t pass = 0;
  std::vector<Observation> seen;
  knowledge::Column column;

  mutable std::mutex mutex;  // guards what follows
  std::optional<config::AnomalySection> next_section;
  std::shared_ptr<const std::vector<Anomaly>> listed =
      std::make_shared<const std::vector<Anomaly>>();
  std::vector<ModelStatus> statuses;
};

void AnomalyDetector::Impl::turn(const VitalsSnapshot& vitals) {
  static const std::string kName(knowledge::kMetricName);
  ++pass;
  seen.clear();
  if (section.enabled && vitals.definitions) {
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
      }
      place->second.pass = pass;
      score(value, vital, place->second);
    }
    train_due();
  }
  forget_absent();
  episodes.forget(clock.wall());
  book.observe(kSource, seen);
}

void AnomalyDetector::Impl::score(const VitalValue& value, const config::VitalConfig& vital,
                                  Watched& watched) {
  const std::int64_t time = base::to_unix_millis(value.time);
  const auto row = watched.tracker.look(time, value.value);
  if (!row) return;
  if (!watched.model) {
    watched.tracker.learn(time, value.value);
    return;
  }
  const Judgement judgement = watched.model->judge(*row, vital);
  const SteadyTime now = clock.steady();
  watched.strange_ticks = judgement.strange ? watched.strange_ticks + 1 : 0;
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
  watched.last_strange = now;
  Anomaly anomaly = describe(value, vital, watched, judgement);
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
    episodes.update(*watched.episode, std::move(anomaly));
  } else {
    watched.episode = episodes.begin(std::move(anomaly));
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
  anomaly.description = fmt::format(
      "{}{} is {:.6g} {}; the model of the last {} knows {:.6g} to {:.6g}", vital.name,
      to_string(watched.labels), value.value, vital.unit, base::format_duration(section.window),
      watched.model->lowest_value(), watched.model->highest_value());
  anomaly.recommended_actions = advice_for(vital.name);
  return anomaly;
}

void AnomalyDetector::Impl::train_due() {
  const SteadyTime now = clock.steady();
  std::vector<Known::iterator> due;
  for (auto place = known.begin(); place != known.end(); ++place) {
    if (place->second.pass == pass && place->second.next_training <= now) due.push_back(place);
  }
  const std::size_t count = std::min(due.size(), kTrainPerTick);
  std::partial_sort(due.begin(), due.begin() + static_cast<std::ptrdiff_t>(count), due.end(),
                    [](const auto& a, const auto& b) {
                      return std::pair(a->second.next_training, a->first) <
                             std::pair(b->second.next_training, b->first);
                    });
  for (std::size_t i = 0; i < count; ++i) train(due[i]->first, due[i]->second);
}

void AnomalyDetector::Impl::train(knowledge::SeriesId id, Watched& watched) {
  const WallTime wall = clock.wall();
  const std::int64_t end = base::to_unix_millis(wall);
  column.clear();
  data.read(id, end - section.window.count(), end, column);
  const TrainingRows training = rows_of(column);
  if (training.rows.size() < std::max<std::size_t>(section.minimum_samples, 2)) {
    wait_for_samples(watched, training);
    return;
  }
  // While the window fills up the range of what is normal still grows: train again each time it is
  // a sixth longer.
  watched.next_training = clock.steady() + std::clamp(training.span / 6, section.interval,
                                                      std::max(section.interval, section.retrain));
  auto model = Model::train(training.rows, {.trees = section.trees,
                                            .subsample = section.subsample,
                                            .contamination = section.contamination,
                                            .seed = base::fnv1a(to_string(data.labels(id)))});
  const std::size_t before = watched.model ? watched.model->bytes() : 0;
  bytes -= before;
  watched.model.reset();
  if (!model) {
    watched.waiting = model.error().message();
  } else if (bytes + model->bytes() > kMaxBytes) {
    watched.waiting = "no room: the forests of all series have reached their limit";
    refused.add();
  } else {
    bytes += model->bytes();
    watched.model = std::move(*model);
    watched.trained = wall;
    trainings.add();
  }
}

void AnomalyDetector::Impl::wait_for_samples(Watched& watched, const TrainingRows& training) {
  const std::size_t have = training.rows.size();
  const std::size_t want = std::max<std::size_t>(section.minimum_samples, 2);
  watched.waiting = fmt::format("warming up: {} of {} samples", have, want);
  // Often enough that the number shown is fresh, seldom enough to cost nothing.
  const Millis spacing =
      have > 1 ? training.span / static_cast<std::int64_t>(have - 1) : section.interval;
  const Millis missing = spacing * static_cast<std::int64_t>(want - have);
  watched.next_training = clock.steady() + std::clamp(missing, section.interval,
                                                      std::max(section.interval, Millis(30'000)));
  if (watched.model) bytes -= watched.model->bytes();
  watched.model.reset();
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
    if (watched.model) bytes -= watched.model->bytes();
    return true;
  });
}

void AnomalyDetector::Impl::publish() {
  std::vector<ModelStatus> next;
  next.reserve(known.size());
  double count = 0;
  for (const auto& [id, watched] : known) {
    ModelStatus status{watched.metric, watched.labels, watched.model.has_value(), watched.waiting,
                       watched.trained};
    if (watched.model)
      status.state = watched.model->constant() ? "ready: constant so far" : "ready";
    if (!watched.model && status.state.empty()) status.state = "warming up";
    count += watched.model ? 1 : 0;
    next.push_back(std::move(status));
  }
  std::sort(next.begin(), next.end(), [](const ModelStatus& a, const ModelStatus& b) {
    return std::tie(a.metric_name, a.labels) < std::tie(b.metric_name, b.labels);
  });
  ready.set(count);
  warming.set(static_cast<double>(known.size()) - count);
  model_bytes.set(static_cast<double>(bytes));
  auto list = episodes.snapshot();
  const std::lock_guard guard(mutex);
  statuses = std::move(next);
  listed = std::move(list);
}

AnomalyDetector::AnomalyDetector(Clock& clock, const knowledge::Queryable& data, Book& book,
                                 knowledge::SelfMetrics& self)
    : impl_(std::make_unique<Impl>(clock, data, book, self)) {}

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
  }
  if (!impl_->cadence.due(begin, impl_->section.interval)) return;
  impl_->turn(vitals);
  impl_->publish();
  impl_->seconds.add(std::chrono::duration<double>(impl_->clock.steady() - begin).count());
}

std::shared_ptr<const std::vector<Anomaly>> AnomalyDetector::anomalies() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->listed;
}

std::vector<ModelStatus> AnomalyDetector::models() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->statuses;
}

}  // namespace nexus::analyze
