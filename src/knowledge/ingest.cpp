#include "nexus/knowledge/ingest.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>

namespace nexus::knowledge {
namespace {

/// The metrics of ring, ingest and history.
class Instruments {
 public:
  explicit Instruments(SelfMetrics& m)
      : samples(m.counter("nexus_ingest_samples_total", "Samples taken from the rings.")),
        batches(m.counter("nexus_ingest_batches_total", "Batches taken from the rings.")),
        series_(m.gauge("nexus_history_series", "Series with at least one sample in the history.")),
        held_(m.gauge("nexus_history_samples", "Samples in the history.")),
        bytes_(m.gauge("nexus_history_bytes", "Bytes of all blocks in memory.")),
        open_bytes_(
            m.gauge("nexus_history_open_bytes", "Bytes of blocks that are not yet compressed.")),
        blocks_(m.gauge("nexus_history_blocks", "Compressed blocks in memory.")),
        oldest_(m.gauge("nexus_history_oldest_timestamp_seconds",
                        "Time of the oldest sample in the history, 0 when it is empty.")),
        newest_(m.gauge("nexus_history_newest_timestamp_seconds",
                        "Time of the newest sample in the history, 0 when it is empty.")),
        out_of_order_(m.counter("nexus_history_out_of_order_samples_total",
                                "Samples refused because they were not newer than the last.")),
        by_age_(m.counter("nexus_history_dropped_samples_total", "Samples dropped, by reason.",
                          {{"reason", "age"}})),
        by_size_(m.counter("nexus_history_dropped_samples_total", "Samples dropped, by reason.",
                           {{"reason", "size"}})),
        by_clock_(m.counter("nexus_history_dropped_samples_total", "Samples dropped, by reason.",
                            {{"reason", "clock"}})),
        by_limit_(m.counter("nexus_history_dropped_samples_total", "Samples dropped, by reason.",
                            {{"reason", "series_limit"}})),
        unknown_(m.counter("nexus_history_unknown_series_samples_total",
                           "Samples refused because their series had been forgotten.")),
        known_(m.gauge("nexus_series", "Series that are known.")),
        limit_(m.gauge("nexus_series_limit", "Most series that may be known: collect.max_series.")),
        forgotten_(m.counter("nexus_series_forgotten_total",
                             "Series forgotten because they ended or nothing of them is held.")),
        series_refused_(m.counter("nexus_series_refused_total",
                                  "Times a new series was refused because of the limit.")),
        disk_bytes_(m.gauge("nexus_history_disk_bytes", "Bytes of the history's files.")),
        disk_writable_(m.gauge("nexus_history_disk_writable",
                               "Whether the history is written to disk: 1 or 0.")),
        disk_errors_(
            m.counter("nexus_history_disk_errors_total", "Failures to write the history to disk.")),
        disk_damaged_(m.counter("nexus_history_disk_damaged_records_total",
                                "Records of the history's files that could not be read.")),
        disk_unusable_(m.gauge("nexus_history_disk_unusable_files",
                               "Files of the history with another key or a later format.")),
        disk_dropped_(m.counter("nexus_history_disk_dropped_segments_total",
                                "Files of the history dropped by age or size.")),
        disk_checkpoints_(m.counter("nexus_history_disk_checkpoints_total",
                                    "Times that everything was on disk.")),
        refused_batches_(m.counter("nexus_ring_refused_batches_total",
                                   "Batches refused because a ring was full.")),
        refused_samples_(m.counter("nexus_ring_refused_samples_total",
                                   "Samples refused because a ring was full.")) {}

  void update(const HistoryStats& stats, const Rings& rings) const {
    series_.set(static_cast<double>(stats.series));
    held_.set(static_cast<double>(stats.samples));
    bytes_.set(static_cast<double>(stats.bytes));
    open_bytes_.set(static_cast<double>(stats.open_bytes));
    blocks_.set(static_cast<double>(stats.blocks));
    oldest_.set(static_cast<double>(stats.oldest) / 1000);
    newest_.set(static_cast<double>(stats.newest) / 1000);
    raise(out_of_order_, stats.out_of_order);
    raise(by_age_, stats.dropped_by_age);
    raise(by_size_, stats.dropped_by_size);
    raise(by_clock_, stats.dropped_by_clock);
    raise(by_limit_, stats.dropped_by_limit);
    raise(unknown_, stats.unknown);
    known_.set(static_cast<double>(stats.registered));
    limit_.set(static_cast<double>(stats.registered_limit));
    raise(forgotten_, stats.series_forgotten);
    raise(series_refused_, stats.series_refused);
    disk_bytes_.set(static_cast<double>(stats.disk_bytes));
    disk_writable_.set(stats.on_disk && stats.disk_writable ? 1 : 0);
    raise(disk_errors_, stats.disk_errors);
    raise(disk_damaged_, stats.disk_damaged);
    disk_unusable_.set(static_cast<double>(stats.disk_unusable));
    raise(disk_dropped_, stats.disk_dropped);
    raise(disk_checkpoints_, stats.disk_checkpoints);
    raise(refused_batches_, rings.refused_batches());
    raise(refused_samples_, rings.refused_samples());
  }

  const Counter samples, batches;

 private:
  static void raise(const Counter& counter, std::uint64_t total) {
    counter.add(static_cast<double>(total) - counter.value());
  }

  const Gauge series_, held_, bytes_, open_bytes_, blocks_, oldest_, newest_;
  const Counter out_of_order_, by_age_, by_size_, by_clock_, by_limit_, unknown_;
  const Gauge known_, limit_;
  const Counter forgotten_, series_refused_;
  const Gauge disk_bytes_, disk_writable_;
  const Counter disk_errors_, disk_damaged_;
  const Gauge disk_unusable_;
  const Counter disk_dropped_, disk_checkpoints_;
  const Counter refused_batches_, refused_samples_;
};

}  // namespace

struct Ingest::State {
  State(Clock& clock_, Rings& rings_, History& history_, SelfMetrics& metrics)
      : clock(clock_),
        rings(rings_),
        history(history_),
        instruments(metrics),
        sink([this](const BatchView& batch) {
          history.append(batch);
          ++batches;
        }),
        thread(clock_, "ingest", [this] { return turn(); }) {}

  std::size_t drain() {
    batches = 0;
    const std::size_t samples = rings.drain(sink);
    instruments.samples.add(static_cast<double>(samples));
    instruments.batches.add(static_cast<double>(batches));
    return samples;
  }

  SteadyTime turn() {
    // The first push after a pause has woken it: the others of the moment follow shortly.
    if (woken.exchange(false)) return clock.steady() + kDrainInterval;
    const std::lock_guard guard(writer);
    drain();
    const SteadyTime now = clock.steady();
    if (now >= next_maintain) {
      history.maintain(base::to_unix_millis(clock.wall()));
      next_maintain = now + kMaintainInterval;
    }
    if (now >= next_metrics) {
      instruments.update(history.stats(), rings);
      next_metrics = now + kMetricsInterval;
    }
    if (!may_sleep.load() || !rings.may_sleep()) return clock.steady() + kDrainInterval;
    return std::min(next_maintain, next_metrics);
  }

  Clock& clock;
  Rings& rings;
  History& history;
  const Instruments instruments;
  std::mutex writer;           // whoever holds it is the rings' consumer and the history's writer
  SteadyTime next_maintain{};  // guarded by writer, and so is what follows
  SteadyTime next_metrics{};
  std::size_t batches = 0;
  std::atomic<bool> may_sleep{false};  // once there is somebody to wake it
  std::atomic<bool> woken{false};
  const std::function<void(const BatchView&)> sink;
  base::LoopThread thread;  // last: it starts when everything else is there
};

Ingest::Ingest(Clock& clock, Rings& rings, History& history, SelfMetrics& metrics)
    : state_(std::make_unique<State>(clock, rings, history, metrics)) {
  rings.on_push([state = state_.get()] {
    state->woken.store(true);
    state->thread.wake();
  });
  state_->may_sleep.store(true);
}

Ingest::~Ingest() {
  stop();
}

std::size_t Ingest::flush() {
  const std::lock_guard guard(state_->writer);
  const std::size_t samples = state_->drain();
  state_->history.adopt_past();
  state_->instruments.update(state_->history.stats(), state_->rings);
  return samples;
}

void Ingest::stop() {
  state_->rings.on_push(nullptr);
  state_->thread.stop();
  flush();
}

const base::LoopThread& Ingest::thread() const noexcept {
  return state_->thread;
}

}  // namespace nexus::knowledge
