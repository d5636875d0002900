// Outbox: one ring for all sources whose batches come from several threads, and a bounded store for
// what the ring has no room for at the moment (a scrape of 100,000 samples comes at once).
//
// Batches of one group keep their order. What is over the bound is refused and counted
// (`nexus_source_refused_samples_total`). Thread safety: all members, any thread. The mutex is held
// for bounded copies only.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "monitor/allowance.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/base/loop_thread.hpp"
#include "nexus/knowledge/ring.hpp"
#include "nexus/knowledge/self_metrics.hpp"

namespace nexus::monitor {

/// Numbers of groups for sources; given back ones are used again, oldest first. Any thread.
class GroupNumbers {
 public:
  static constexpr std::uint32_t kFirst = 1'000'000'000;
  /// Of a series whose samples bring their own times: this and the series' place.
  static constexpr std::uint32_t kTimed = 2'000'000'000;

  [[nodiscard]] std::uint32_t take();
  void give(std::uint32_t group);

 private:
  std::mutex mutex_;
  std::deque<std::uint32_t> free_;
  std::uint32_t next_ = kFirst;
};

class Outbox {
 public:
  static constexpr std::size_t kMaxWaiting = 4'000'000;  // samples: 48 MB
  /// Well below the capacity of the agent's rings: batches need some room of their own.
  static constexpr std::size_t kMostInRing = 40'000;

  Outbox(Clock& clock, std::shared_ptr<knowledge::SampleRing> ring, knowledge::SelfMetrics& self);

  /// False: refused.
  bool push(const knowledge::BatchView& batch);
  [[nodiscard]] GroupNumbers& groups() noexcept { return groups_; }
  [[nodiscard]] Allowance& series() noexcept { return allowance_; }
  /// Of a probe, statsd or a log: samples of series over a limit (scrapes and pushes have counters
  /// of their own).
  void count_dropped(std::uint64_t samples) const {
    if (samples > 0) dropped_.add(static_cast<double>(samples));
  }

 private:
  struct Batch {
    std::uint32_t group;
    std::int64_t time;
    std::vector<knowledge::SeriesId> ids;
    std::vector<double> values;
  };
  bool flush();
  [[nodiscard]] bool fits_now(std::size_t samples);
  SteadyTime turn();

  Clock& clock_;
  const knowledge::Counter refused_;
  const knowledge::Counter dropped_;
  GroupNumbers groups_;
  Allowance allowance_;
  std::mutex mutex_;
  const std::shared_ptr<knowledge::SampleRing> ring_;  // pushed under mutex_
  std::deque<Batch> waiting_;                          // guarded by mutex_
  std::size_t samples_ = 0;                            // waiting; guarded by mutex_
  std::size_t in_ring_ = 0;                            // since it was seen empty; guarded by mutex_
  base::LoopThread loop_;                              // empties `waiting_`; last: it uses the rest
};

}  // namespace nexus::monitor
