// What the parts of the detector share: detector.cpp scores and publishes, training.cpp grows the
// forests and keeps them within their memory.
//
// Thread safety: one thread, but for what `mutex` guards.
#pragma once

#include <mutex>
#include <unordered_map>

#include "analyze/anomaly/episodes.hpp"
#include "analyze/anomaly/features.hpp"
#include "analyze/anomaly/model.hpp"
#include "analyze/cadence.hpp"

namespace nexus::analyze {

/// Who keeps a forest when there is no room for all: the first series of every vital, then the
/// second of every vital, and so on; among equals the vital that is defined first. It depends on
/// what there is, never on who came first.
struct Rank {
  std::uint32_t ordinal = 0;  // of the series within its vital
  std::uint32_t vital = 0;
  auto operator<=>(const Rank&) const = default;
};

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
  Rank rank;
  std::size_t refused_bytes = 0;  // of the forest that there was no room for
};

using Known = std::unordered_map<knowledge::SeriesId, Watched>;

struct AnomalyDetector::Impl {
  Impl(Clock& c, const knowledge::Queryable& d, Book& b, knowledge::SelfMetrics& self,
       std::size_t the_most_bytes)
      : clock(c),
        data(d),
        book(b),
        most_bytes(the_most_bytes),
        ready(self.gauge("nexus_anomaly_models", "Series watched for anomalies by state",
                         {{"state", "ready"}})),
        warming(self.gauge("nexus_anomaly_models", "Series watched for anomalies by state",
                           {{"state", "warming_up"}})),
        no_room(self.gauge("nexus_anomaly_models", "Series watched for anomalies by state",
                           {{"state", "no_room"}})),
        model_bytes(self.gauge("nexus_anomaly_model_bytes", "Memory of all isolation forests")),
        trainings(self.counter("nexus_anomaly_trainings_total", "Isolation forests grown")),
        found(self.counter("nexus_anomalies_total", "Episodes of anomalies")),
        refused(self.counter("nexus_anomaly_series_refused_total",
                             "Series not watched for anomalies because there are too many")),
        dropped(self.counter("nexus_anomaly_models_dropped_total",
                             "Isolation forests dropped or not kept for want of room")),
        seconds(self.counter("nexus_anomaly_seconds_total", "Time spent on anomalies")) {}

  void turn(const VitalsSnapshot& vitals);
  void score(const VitalValue& value, const config::VitalConfig& vital, Watched& watched);
  Anomaly describe(const VitalValue& value, const config::VitalConfig& vital,
                   const Watched& watched, const Judgement& judgement) const;
  void train_due();
  void train(knowledge::SeriesId id, Watched& watched);
  void wait_for_samples(Watched& watched, std::size_t have, Millis span);
  /// Makes room for a forest of this rank at the cost of lower ones; false when that is not enough.
  [[nodiscard]] bool make_room(const Rank& rank, std::size_t need);
  void go_without(Watched& watched, std::size_t need);
  void drop_model(Watched& watched);
  void forget_absent();
  /// Makes new lists only of what has changed.
  void publish();
  void publish_statuses();

  Clock& clock;
  const knowledge::Queryable& data;
  Book& book;
  const std::size_t most_bytes;  // of all forests
  knowledge::Gauge ready;
  knowledge::Gauge warming;
  knowledge::Gauge no_room;
  knowledge::Gauge model_bytes;
  knowledge::Counter trainings;
  knowledge::Counter found;
  knowledge::Counter refused;
  knowledge::Counter dropped;
  knowledge::Counter seconds;

  // Of the ticking thread.
  Cadence cadence;
  config::AnomalySection section;
  Known known;
  Episodes episodes;
  std::size_t bytes = 0;
  std::uint64_t pass = 0;
  std::vector<std::uint32_t> ordinals;  // by vital: its series so far in this turn
  bool statuses_changed = true;
  bool complained = false;  // that there is no room
  std::vector<Observation> seen;
  knowledge::Column column;

  mutable std::mutex mutex;  // guards what follows
  std::optional<config::AnomalySection> next_section;
  std::shared_ptr<const std::vector<Anomaly>> listed =
      std::make_shared<const std::vector<Anomaly>>();
  std::shared_ptr<const std::vector<ModelStatus>> statuses =
      std::make_shared<const std::vector<ModelStatus>>();
};

}  // namespace nexus::analyze
