// Scheduler: runs every collector at its interval on a small pool of threads, each run under a
// deadline.
//
// Invariants: (1) at most one run of a collector is in flight; (2) a run that passes its deadline
// is left behind: it is counted as stuck, its thread is written off and replaced (a bounded number
// of times), and the collector is not started again until that run has returned; (3) a slow
// collector delays no other; (4) one run is one batch of samples with one time, pushed through the
// scheduler's ring; (5) series of the last run that are absent in this one get a stale marker.
//
// Per collector it exports node_exporter's node_scrape_collector_duration_seconds and
// node_scrape_collector_success, and
// nexus_collector_{runs,failures,stuck,skipped,dropped_samples,cpu_seconds}_total,
// nexus_collector_{interval,deadline}_seconds and
// nexus_collector_last_success_timestamp_seconds. Runs are aligned to
// multiples of the interval, and all batches of one moment carry that moment as their time (a run
// that begins noticeably late carries its own start), so that the series of different collectors
// line up. What is due at once is run one after the other by the pool: never more than `threads` at
// a time, and one wake-up for all; a run of a remote collector (see its descriptor) has a thread
// besides those. A collector without data, or one that goes on failing, is run
// more and more rarely, up to once a minute; its status says so.
//
// Abandoned threads: once 16 threads are stuck, those of replaced schedulers included, stuck
// threads are no longer replaced and the pool is smaller until one returns. A stuck thread that
// wakes up touches only its own collector, the clock and the bus it was given: while abandoned() is
// not 0 after stop(), those two must stay (the registry, the ring and the metrics need not).
//
// Groups of batches: 1 + the collector's place in the table, whatever is enabled; 0 is never used.
//
// Thread safety: all members, any thread. stop() is bounded in time: threads stuck in a collector
// are abandoned.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/collect.hpp"
#include "nexus/knowledge/ring.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

struct CollectorStatus {
  std::string name;
  std::string outcome;  // ok, no_data, failed, stuck, pending
  std::string error;    // of the last run, when it was not ok
  std::string note;     // why it does not run at its interval: stuck, backed off, an incident
  WallTime last_run{};
  WallTime last_success{};
  Millis interval{};          // as configured
  Millis present_interval{};  // now: longer after failures, shorter in an incident
  Millis deadline{};
  double duration_seconds = 0;
  double cpu_seconds = 0;      // of the last run
  double cpu_seconds_sum = 0;  // of all runs
  std::uint64_t samples = 0;   // of the last run
  std::uint64_t runs = 0;
  std::uint64_t failures = 0;
  std::uint64_t stuck = 0;
  std::uint64_t skipped = 0;
  std::uint64_t dropped = 0;
  std::uint64_t series_budget = 0;  // samples of a run; more are dropped
};

struct SchedulerContext {
  const host::Roots& roots;
  Clock& clock;
  knowledge::SeriesRegistry& registry;
  knowledge::Rings& rings;
  knowledge::SelfMetrics& self;
  drivers::Systemd* systemd = nullptr;
  Observed* observed = nullptr;  // outlives the scheduler and, as the clock, abandoned threads
  const config::Connections* connections = nullptr;  // copied by who needs them
};

class Scheduler {
 public:
  /// `collect` has passed check_collectors(). `table`: the collectors there are.
  [[nodiscard]] static Result<std::unique_ptr<Scheduler>> make(
      const SchedulerContext& context, const config::CollectSection& collect,
      std::span<const CollectorDescriptor* const> table = collectors());
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Before start(), from the stopped scheduler that this one replaces: series that are not
  /// measured any more get stale markers, and threads still stuck there count against the limit
  /// here.
  void inherit(Scheduler& old);
  void start();
  /// Waits a short while for running collectors, abandons the rest. The destructor calls it.
  void stop();
  [[nodiscard]] std::vector<CollectorStatus> status() const;
  /// From now on these collectors run at these intervals where that is shorter than their own and
  /// they work; all others, and these after the next call that does not name them, at their own.
  struct Hurry {
    std::string collector;
    Millis interval;
  };
  void hurry(std::span<const Hurry> collectors);
  /// Whether every enabled collector has run at least once.
  [[nodiscard]] bool warmed_up() const;
  /// Threads that are inside a collector past its deadline, now; those of the schedulers before
  /// this one included.
  [[nodiscard]] std::size_t abandoned() const;

 private:
  struct Impl;
  explicit Scheduler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Runs the named collectors (all enabled ones when empty) once, on the calling thread, and hands
/// on what they add; used by `collect --once` and by tests. The meta metrics of the scheduler are
/// added too. kNotFound: no collector has that name. A collector that fails does not fail the
/// others: see its status.
struct OnceResult {
  std::vector<CollectorStatus> collectors;
};
[[nodiscard]] Result<OnceResult> collect_once(const SchedulerContext& context,
                                              const config::CollectSection& collect,
                                              std::span<const std::string> names, Sink& sink);

}  // namespace nexus::monitor
