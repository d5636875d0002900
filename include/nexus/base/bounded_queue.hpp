// BoundedQueue: hands values from any thread to one or more others, never more than `capacity` of
// them.
//
// Policy when full: push() refuses and says so; the caller counts it. close() wakes every waiter:
// what is queued can still be popped, pushes are refused. Thread safety: all members, any thread.
// Not for the sample path (see knowledge/ring.hpp): it locks.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "nexus/base/clock.hpp"

namespace nexus::base {

template <typename T>
class BoundedQueue {
 public:
  BoundedQueue(Clock& clock, std::size_t capacity) : clock_(clock), capacity_(capacity) {}

  [[nodiscard]] bool push(T value) {
    {
      const std::lock_guard guard(mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(value));
    }
    ready_.notify_one();
    return true;
  }

  /// The oldest value, or nothing once `deadline` passed or the queue was closed and emptied.
  [[nodiscard]] std::optional<T> pop(SteadyTime deadline = kForever) {
    std::unique_lock lock(mutex_);
    clock_.wait_until(lock, ready_, deadline, [this] { return closed_ || !items_.empty(); });
    if (items_.empty()) return std::nullopt;
    std::optional<T> value(std::move(items_.front()));
    items_.pop_front();
    return value;
  }

  void close() {
    {
      const std::lock_guard guard(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
  }

  [[nodiscard]] bool closed() const {
    const std::lock_guard guard(mutex_);
    return closed_;
  }
  [[nodiscard]] std::size_t size() const {
    const std::lock_guard guard(mutex_);
    return items_.size();
  }

 private:
  Clock& clock_;
  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<T> items_;
  bool closed_ = false;
};

}  // namespace nexus::base
