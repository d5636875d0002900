// What the parts of the detector share: detector.cpp scores and publishes, training.cpp learns what
// is usual, grows forests when they are needed and keeps them within their memory.
//
// Thread safety: one thread, but for what `mutex` guards.
#pragma once

#include <map>
#include <mutex>
#include <unordered_map>

#include "analyze/anomaly/episodes.hpp"
#include "analyze/anomaly/features.hpp"
#include "analyze/anomaly/host_watch.hpp"
#include "analyze/anomaly/minutes.hpp"
#include "analyze/anomaly/model.hpp"
#include "analyze/anomaly/model_store.hpp"
#include "analyze/cadence.hpp"

namespace nexus::analyze {

/// Which of all series it is.
struct Rank {
  std::uint32_t ordinal = 0;  // of the series within its vital
  std::uint32_t vital = 0;
};

inline constexpr int kStrangeTicks = 3;  // in a row, before it is told

/// A window as rows of features.
struct TrainingRows {
  std::vector<FeatureRow> rows;
  Millis span{0};
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
  Millis span{0};  // of what it was trained on
  int strange_ticks = 0;
  std::optional<std::uint64_t> episode;
  MinuteMean minute;
  VitalDetector rows;      // of minutes
  RowScore last;           // of the last minute
  std::int64_t noted = 0;  // the minute of the last note in its memory of patterns
  SteadyTime last_strange{};
  std::uint64_t pass = 0;  // the last tick whose snapshot had it
  Rank rank;
  std::uint64_t answered = 0;  // the last tick in which its forest was asked
};

/// What a forest is grown on, of a series that asked lately.
struct Lately {
  knowledge::SeriesId id = 0;
  WallTime trained{};
  SteadyTime used{};
  std::vector<float> training;
};

using Known = std::unordered_map<knowledge::SeriesId, Watched>;

struct AnomalyDetector::Impl {
  Impl(Clock& c, const knowledge::Queryable& d, Book& b, knowledge::SelfMetrics& self,
       knowledge::StateDb* db)
      : clock(c),
        data(d),
        book(b),
        ready(self.gauge("nexus_anomaly_models", "Series watched for anomalies by state",
                         {{"state", "ready"}})),
        warming(self.gauge("nexus_anomaly_models", "Series watched for anomalies by state",
                           {{"state", "warming_up"}})),
        detector_bytes(self.gauge("nexus_anomaly_detector_bytes",
                                  "Memory of what is learnt of all series for anomalies, and of "
                                  "the host's models")),
        trainings(self.counter("nexus_anomaly_trainings_total",
                               "Windows that models of single series were learnt from")),
        forests(self.counter("nexus_anomaly_forests_total",
                             "Isolation forests measured, for values that only they can judge")),
        answers(self.counter("nexus_anomaly_forest_scores_total",
                             "Values that only an isolation forest could judge, and it did")),
        found(self.counter("nexus_anomalies_total", "Episodes of anomalies")),
        known_before(self.counter("nexus_anomaly_known_total",
                                  "Strange, but seen before or called noise: not told")),
        over_budget(self.counter("nexus_anomaly_over_budget_total",
                                 "Episodes not told because of the budget of alarms a day")),
        rate(self.gauge("nexus_anomaly_rate_ratio",
                        "Share of vitals whose last minutes were unusual, over ten minutes")),
        verdicts_given(self.counter("nexus_anomaly_verdicts_total", "Verdicts of people")),
        save_errors(self.counter("nexus_anomaly_save_errors_total",
                                 "Detectors that could not be written to the state database")),
        begun_anew(self.counter("nexus_anomaly_models_anew_total",
                                "Saved detectors that could not be used and began anew")),
        refused(self.counter("nexus_anomaly_series_refused_total",
                             "Series not watched for anomalies because there are too many")),
        seconds(self.counter("nexus_anomaly_seconds_total", "Time spent on anomalies")) {
    open_store(db);
  }

  // minute.cpp
  void open_store(knowledge::StateDb* db);
  /// What is known of a series that is new here: by an earlier process, or nothing.
  void restore(Watched& watched);
  std::string saved(const std::string& key);
  /// The vital's minute, if one is over; true when it was told.
  bool minute(const VitalValue& value, const config::VitalConfig& vital, Watched& watched);
  void tell_minute(const VitalValue& value, const config::VitalConfig& vital, Watched& watched,
                   const MinuteMean::Row& row, double usual, double distance);
  void close_minute(WallTime time);
  void tell_anew();
  void tell_host(const HostWatch::Alarm& alarm, WallTime time);
  [[nodiscard]] std::string near_in_time(WallTime time, WallTime begun) const;
  /// Adds to the description what else is known: processes that changed, findings near in time, and
  /// what changed before it began (`episode`: the one that goes on).
  void explain(Anomaly& anomaly, std::string_view metric, std::optional<std::uint64_t> episode);
  void share_budget();
  /// Whether the forest may begin an episode.
  bool afford(SteadyTime now);
  void apply_verdicts();
  void apply_verdict(Episodes::Entry& entry, bool real);
  Status save_some(std::size_t most);

  void turn(const VitalsSnapshot& vitals);
  void score(const VitalValue& value, const config::VitalConfig& vital, Watched& watched);
  Anomaly describe(const VitalValue& value, const config::VitalConfig& vital,
                   const Watched& watched, const Judgement& judgement) const;
  void train_due();
  /// Its window as a forest takes it: read once while it goes on asking.
  [[nodiscard]] std::span<const float> training_of(knowledge::SeriesId id, const Watched& watched);
  [[nodiscard]] TrainingRows window_of(knowledge::SeriesId id, WallTime end_time);
  void train(knowledge::SeriesId id, Watched& watched);
  /// What the forest says of a row; nothing when it is another's turn, or there is none.
  [[nodiscard]] std::optional<double> ask_forest(knowledge::SeriesId id, Watched& watched,
                                                 const FeatureRow& row);
  void wait_for_samples(Watched& watched, std::size_t have, Millis span);
  void forget_absent();
  /// Makes new lists only of what has changed.
  void publish();
  void publish_statuses();

  Clock& clock;
  const knowledge::Queryable& data;
  Book& book;
  knowledge::Gauge ready;
  knowledge::Gauge warming;
  knowledge::Gauge detector_bytes;
  knowledge::Counter trainings;
  knowledge::Counter forests;
  knowledge::Counter answers;
  knowledge::Counter found;
  knowledge::Counter known_before;
  knowledge::Counter over_budget;
  knowledge::Gauge rate;
  knowledge::Counter verdicts_given;
  knowledge::Counter save_errors;
  knowledge::Counter begun_anew;
  knowledge::Counter refused;
  knowledge::Counter seconds;

  // Of the ticking thread.
  Cadence cadence;
  config::AnomalySection section;
  Known known;
  Episodes episodes;
  std::size_t asked = 0;         // for a forest, in this tick
  std::size_t asked_before = 0;  // in the tick before
  std::size_t unsure = 0;        // asked and were strange, but not often enough to be told
  std::size_t unsure_before = 0;
  std::size_t answered = 0;  // those that go on, in this tick
  std::size_t answered_others = 0;
  std::uint64_t pass = 0;
  std::vector<std::uint32_t> ordinals;  // by vital: its series so far in this turn
  bool statuses_changed = true;
  std::vector<Observation> seen;
  std::vector<Lately> lately;  // at most as many as may ask in a tick
  knowledge::Column column;
  std::optional<ModelStore> store;
  std::size_t anew = 0;  // saved detectors that could not be used, not told yet
  HostWatch host;
  std::map<std::string, std::pair<std::uint64_t, SteadyTime>> host_episodes;  // by scope: id, seen
  // Processes by what they were asked for, of this minute: looking them up takes a while.
  std::map<std::string, std::vector<ProcessPart>, std::less<>> explained;
  std::int64_t explained_minute = 0;
  std::int64_t closed = 0;  // the last minute that the host's detectors have seen
  double unusual = 0;       // smoothed share of unusual vitals
  double tokens = 10;       // episodes that the forest may begin
  std::optional<SteadyTime> tokens_at;
  std::vector<knowledge::SeriesId> unsaved;  // of this round of saving
  SteadyTime next_save{};

  mutable std::mutex mutex;  // guards what follows
  std::optional<config::AnomalySection> next_section;
  std::vector<std::pair<std::uint64_t, bool>> verdicts;  // id, real
  std::shared_ptr<const std::vector<Anomaly>> listed =
      std::make_shared<const std::vector<Anomaly>>();
  std::vector<std::uint64_t> withdrawn;  // called noise: not listed, but the verdict may change
  std::shared_ptr<const std::vector<ModelStatus>> statuses =
      std::make_shared<const std::vector<ModelStatus>>();
};

}  // namespace nexus::analyze
