// Job: one enabled collector with its timing, its counters and the state of its present run.
//
// Phases: idle -> running -> finishing -> idle, and running -> stuck -> idle for a run that is left
// behind. Whoever moves a job out of idle or running owns its collector and its sink until it moves
// on. Thread safety: members under "guarded" belong to the pool's mutex; the others to the owner of
// the run.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "monitor/run_sink.hpp"
#include "nexus/monitor/scheduler.hpp"

namespace nexus::monitor {

/// A thread of the pool. Guarded by the pool's mutex.
struct Worker {
  std::thread thread;
  bool written_off = false;  // its run passed the deadline; it ends when that run returns
  bool exited = false;       // nothing is left to do but join
};

enum class Phase { kIdle, kRunning, kFinishing, kStuck };

struct JobCounters {
  knowledge::Counter runs;
  knowledge::Counter failures;
  knowledge::Counter stuck;
  knowledge::Counter skipped;
  knowledge::Counter dropped;
  knowledge::Counter cpu;
  knowledge::Gauge interval;
  knowledge::Gauge deadline;
  knowledge::Gauge last_success;
};
[[nodiscard]] JobCounters make_counters(knowledge::SelfMetrics& self, std::string_view collector);

/// What a run left to tell.
struct Verdict {
  std::string_view outcome;  // ok, no_data, failed
  std::string error;
};
[[nodiscard]] Verdict judge(const Status& status);

/// Names and ids of the scheduler's own two series about a collector.
struct MetaFamilies {
  FamilyId duration;
  FamilyId success;
};
[[nodiscard]] MetaFamilies make_meta_families(knowledge::SeriesRegistry& registry);

struct Job {
  std::string name;
  std::unique_ptr<Collector> collector;
  std::shared_ptr<RunSink> sink;  // replaced when a run is left behind with the old one
  JobCounters counters;
  MetaSeries duration;
  MetaSeries success;
  std::uint32_t group = 0;
  Millis interval{};
  Millis deadline{};
  bool remote = false;

  // Guarded.
  CollectorStatus status;
  Phase phase = Phase::kIdle;
  SteadyTime due{};
  WallTime planned{};
  WallTime began{};  // of the present run
  SteadyTime started{};
  std::int64_t stamp = 0;                 // time of the present run's batch
  std::shared_ptr<Worker> worker;         // that runs it
  std::vector<knowledge::SeriesId> live;  // series of the last finished run
  std::uint32_t streak = 0;               // runs in a row without data, or failed
  Millis hurried{};                       // the interval in an incident; 0 outside of one
  std::uint64_t skipped_reported = 0;     // of status.skipped, by the counter

  /// Sets `due` and `planned` to the next multiple of the interval, backed off as the streak
  /// demands; never to the moment that the present or last run stands for.
  void plan(WallTime wall, SteadyTime steady);
  /// The interval now, longer after a streak of runs that brought nothing, shorter in an incident.
  [[nodiscard]] Millis effective_interval() const;
  /// The time of a batch whose run began at `wall`: the planned time unless the run began
  /// noticeably late.
  [[nodiscard]] WallTime batch_time(WallTime wall) const;
  /// How far from its moment a run may begin and still stand for it.
  [[nodiscard]] Millis tolerance() const;
  void note_finished(const Verdict& verdict, double seconds, double cpu_seconds);
  /// Says in the status how it runs now.
  void note_interval();
};

}  // namespace nexus::monitor
