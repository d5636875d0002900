// Pool: the threads that run the jobs, and the watch that leaves hung runs behind.
//
// One idle worker waits for the next job that is due, the others wait for that worker to find one:
// one wake-up a moment, not one a thread. The watch sleeps until the earliest deadline of a running
// job. Everything a worker touches when it wakes up late is in the Pool itself, which every worker
// co-owns.
//
// One ring for all workers, pushed under a mutex of its own: a collector's batches come from
// different threads, and rings of their own could not keep them in order. The push is bounded and
// there is one a run. A run of a remote job has a thread besides the `threads`, made when it begins
// and ended after it: however long others take to answer, the host's collectors do not wait. Thread
// safety: all members, any thread; start() and stop() once.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "monitor/job.hpp"
#include "nexus/base/loop_thread.hpp"

namespace nexus::monitor {

inline constexpr std::size_t kMaxAbandoned = 16;

class Pool : public std::enable_shared_from_this<Pool> {
 public:
  /// `new_sink` makes the sink of a job whose old one was left behind.
  struct Parts {
    Clock& clock;
    std::shared_ptr<knowledge::SampleRing> ring;
    std::vector<std::unique_ptr<Job>> jobs;
    std::function<std::shared_ptr<RunSink>()> new_sink;
    knowledge::Gauge threads_stuck;
    std::size_t threads;
  };
  explicit Pool(Parts parts);

  /// Before start(), from a pool that was stopped: series that are not measured any more end, and
  /// threads that are still stuck there count here.
  void inherit(Pool& old);
  void start();
  void stop();
  [[nodiscard]] std::vector<CollectorStatus> status() const;
  void hurry(std::span<const Scheduler::Hurry> collectors);
  [[nodiscard]] bool warmed_up() const;
  /// Threads of this pool and those before it.
  [[nodiscard]] std::size_t abandoned() const;

 private:
  /// What a worker takes with it. The sink is co-owned: the job gets another when this run is left
  /// behind.
  struct Run {
    Job* job = nullptr;  // null: no more runs
    std::shared_ptr<RunSink> sink;
  };
  /// A run that was written off a moment ago.
  struct LeftBehind {
    Job* job;
    std::shared_ptr<RunSink> sink;
    std::vector<knowledge::SeriesId> live;
    std::int64_t stamp;
  };

  /// Series whose stale markers the ring refused.
  struct Unmarked {
    const Job* job;  // that is stuck: once it runs again its sink owes the markers; null: removed
                     // by a reload
    std::uint32_t group;
    std::int64_t after;  // time of the last batch
    std::vector<knowledge::SeriesId> ids;
  };

  static void work(const std::shared_ptr<Pool>& pool, const std::shared_ptr<Worker>& me);
  [[nodiscard]] Run next(const std::shared_ptr<Worker>& me);
  [[nodiscard]] Job* pick(SteadyTime now);
  [[nodiscard]] SteadyTime next_due() const;
  void begin(Job& job, const std::shared_ptr<Worker>& me, SteadyTime now);
  [[nodiscard]] bool claim(Job& job, const Worker& me);
  void publish(Job& job, const Status& status, Nanos cpu);
  /// What a run took of the clock and of a processor.
  struct Cost {
    double seconds;
    double cpu_seconds;
  };
  void settle(Job& job, const Verdict& verdict, const Cost& cost, std::uint64_t dropped,
              bool differs);
  [[nodiscard]] bool push(std::uint32_t group, std::int64_t stamp,
                          std::span<const knowledge::SeriesId> ids, std::span<const double> values);

  void hand_on(Unmarked&& gone);
  [[nodiscard]] SteadyTime watch();
  [[nodiscard]] LeftBehind write_off(Job& job, SteadyTime now);
  void report(LeftBehind& left);
  void mark_unmarked();
  void report_skipped();
  void spawn_missing();
  [[nodiscard]] std::size_t alive_threads() const;
  [[nodiscard]] std::size_t wanted_threads() const;
  [[nodiscard]] std::vector<std::shared_ptr<Worker>> take_exited();
  [[nodiscard]] std::size_t stuck_threads() const;

  Clock& clock_;
  const std::vector<std::unique_ptr<Job>> jobs_;
  const std::function<std::shared_ptr<RunSink>()> new_sink_;
  const knowledge::Gauge threads_stuck_;
  const std::size_t threads_;

  std::mutex push_mutex_;
  const std::shared_ptr<knowledge::SampleRing> ring_;  // pushed under push_mutex_

  mutable std::mutex mutex_;
  std::condition_variable due_;     // the worker that waits for time to pass
  std::condition_variable follow_;  // the workers that wait for that one to leave
  std::condition_variable exited_;
  bool has_leader_ = false;          // guarded by mutex_, as all below
  const Worker* serving_ = nullptr;  // runs what is due now, one job after the other
  SteadyTime served_until_{};        // later than that others help it
  bool replanned_ = false;           // a job may be due earlier than the leader believes
  bool stopping_ = false;
  std::size_t threads_made_ = 0;
  std::vector<std::shared_ptr<Worker>> workers_;
  std::vector<std::shared_ptr<const Pool>> predecessors_;  // with stuck threads
  std::vector<Unmarked> unmarked_;         // the watch's, and before it starts inherit()'s
  std::optional<base::LoopThread> watch_;  // touched by start() and stop() only
};

}  // namespace nexus::monitor
