// Ingest: the one thread that carries samples from the rings into the history.
//
// It sleeps until something is pushed, drains 20 ms later, for the batches of one moment come
// together, and then every 20 ms until there is nothing more. It lets the history drop what is too
// old or too much every 5 s, and keeps the `nexus_history_*`, `nexus_series_*`, `nexus_ingest_*`
// and `nexus_ring_*` metrics up to date every second. It is the history's only writer: nobody else
// calls History::append() or maintain() while an Ingest lives.
//
// Thread safety: all members, any thread. Stop order: producers first, then stop(), which drains
// what they left.
#pragma once

#include <cstddef>
#include <memory>

#include "nexus/base/clock.hpp"
#include "nexus/base/loop_thread.hpp"
#include "nexus/knowledge/history.hpp"
#include "nexus/knowledge/ring.hpp"
#include "nexus/knowledge/self_metrics.hpp"

namespace nexus::knowledge {

class Ingest {
 public:
  static constexpr Millis kDrainInterval{20};
  static constexpr Millis kMetricsInterval{1000};
  static constexpr Millis kMaintainInterval{5000};

  /// Starts the thread. Everything given must outlive this object.
  Ingest(Clock& clock, Rings& rings, History& history, SelfMetrics& metrics);
  ~Ingest();
  Ingest(const Ingest&) = delete;
  Ingest& operator=(const Ingest&) = delete;

  /// Drains the rings and adopts what was imported now, on the caller's thread, and updates the
  /// metrics. Returns the number of samples.
  std::size_t flush();
  /// Ends the thread, then flushes. Safe to call twice.
  void stop();
  /// For the watchdog.
  [[nodiscard]] const base::LoopThread& thread() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nexus::knowledge
