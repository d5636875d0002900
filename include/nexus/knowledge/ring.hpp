// SampleRing: from one producer thread to the ingest thread without a lock.
//
// A bounded single-producer single-consumer ring of batches. A batch is one time, and n (series,
// value) pairs; all of it becomes visible with one atomic store. push() never blocks: when the
// batch does not fit it is refused whole and counted. After folly's ProducerConsumerQueue, with the
// peer's index cached on each side.
//
// Rings gives each producer thread a ring of its own and lets one consumer drain them all; a ring
// whose producer left is removed once it is empty. Thread safety: push() by the ring's producer
// only, drain() by one consumer only, add()/refused() by any thread. Steady state: no allocation.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "nexus/knowledge/series.hpp"

namespace nexus::knowledge {

/// Samples of one collector run. All share one time, in milliseconds since the epoch. `group` names
/// the producer (a collector, the vitals, ...): series of one group are stored with one shared time
/// column.
struct BatchView {
  std::uint32_t group = 0;
  std::int64_t time = 0;
  std::span<const SeriesId> ids;
  std::span<const double> values;
};

/// Wakes the consumer that has gone to sleep, once, by the first push after that. While it is awake
/// a push costs one atomic load more.
class Bell {
 public:
  /// Called by a producer; it does not block for long. Empty: nobody is woken.
  void set(std::function<void()> wake) {
    const std::lock_guard guard(mutex_);
    wake_ = std::move(wake);
  }
  /// By the consumer, before it looks for the last time whether there is something.
  void arm() noexcept { armed_.store(true); }
  void disarm() noexcept { armed_.store(false); }
  void ring() {
    if (!armed_.load() || !armed_.exchange(false)) return;
    const std::lock_guard guard(mutex_);
    if (wake_) wake_();
  }

 private:
  std::atomic<bool> armed_{false};
  std::mutex mutex_;
  std::function<void()> wake_;  // guarded by mutex_
};

class SampleRing {
 public:
  /// `capacity` in samples, rounded up to a power of two: a batch of that size fits into an empty
  /// ring, and about a third more samples fit in smaller ones.
  explicit SampleRing(std::size_t capacity, std::shared_ptr<Bell> bell = nullptr);
  ~SampleRing();

  /// False when the batch was refused. An empty batch is accepted and dropped.
  [[nodiscard]] bool push(const BatchView& batch) noexcept;
  /// Calls `sink` for every batch that is there; the spans are valid during the call. Returns the
  /// number of samples.
  std::size_t drain(const std::function<void(const BatchView&)>& sink);

  [[nodiscard]] std::uint64_t refused_batches() const noexcept;
  [[nodiscard]] std::uint64_t refused_samples() const noexcept;
  [[nodiscard]] bool empty() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Rings {
 public:
  explicit Rings(std::size_t capacity_per_ring) : capacity_(capacity_per_ring) {}
  /// A new ring for one producer thread. Dropping the pointer retires the ring.
  [[nodiscard]] std::shared_ptr<SampleRing> add();
  std::size_t drain(const std::function<void(const BatchView&)>& sink);
  /// Who wakes the consumer.
  void on_push(std::function<void()> wake) { bell_->set(std::move(wake)); }
  /// By the consumer: true when there is nothing to drain; the next push, of whatever ring, wakes
  /// it.
  [[nodiscard]] bool may_sleep();
  [[nodiscard]] std::uint64_t refused_batches() const;
  [[nodiscard]] std::uint64_t refused_samples() const;
  /// Rings not yet removed.
  [[nodiscard]] std::size_t size() const;

 private:
  struct Entry {
    Entry(std::size_t capacity, std::shared_ptr<Bell> bell) : ring(capacity, std::move(bell)) {}
    SampleRing ring;
    std::atomic<bool> retired{false};  // set once the producer let go of it
  };

  const std::size_t capacity_;
  const std::shared_ptr<Bell> bell_ = std::make_shared<Bell>();
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Entry>> rings_;  // guarded by mutex_
  std::uint64_t retired_batches_ = 0;          // counters of rings that are gone; guarded by mutex_
  std::uint64_t retired_samples_ = 0;          // guarded by mutex_
  std::vector<std::shared_ptr<Entry>> draining_;  // the consumer's own, kept for its capacity
};

}  // namespace nexus::knowledge
