// Gate: counts work in flight so that its owner can close and wait until the last of it has left.
//
// After seastar's gate: enter() fails once the gate is closed; close() refuses newcomers; wait()
// returns when nobody is inside or the deadline passed. Thread safety: all members, any thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>

#include "nexus/base/clock.hpp"

namespace nexus::base {

class Gate {
 public:
  explicit Gate(Clock& clock) : clock_(clock) {}

  /// Held while inside; leaves when destroyed.
  class Pass {
   public:
    explicit Pass(Gate& gate) : gate_(&gate) {}
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&&) = delete;
    ~Pass() {
      if (gate_ != nullptr) gate_->leave();
    }

   private:
    Gate* gate_;
  };

  [[nodiscard]] std::optional<Pass> enter() {
    const std::lock_guard guard(mutex_);
    if (closed_) return std::nullopt;
    ++inside_;
    return std::optional<Pass>(std::in_place, *this);
  }

  void close() {
    const std::lock_guard guard(mutex_);
    closed_ = true;
  }

  /// True when everybody has left before `deadline`.
  [[nodiscard]] bool wait(SteadyTime deadline) {
    std::unique_lock lock(mutex_);
    return clock_.wait_until(lock, empty_, deadline, [this] { return inside_ == 0; });
  }

  [[nodiscard]] std::size_t inside() const {
    const std::lock_guard guard(mutex_);
    return inside_;
  }

 private:
  void leave() {
    // Notified under the lock: the waiter may destroy the gate as soon as it sees zero.
    const std::lock_guard guard(mutex_);
    if (--inside_ == 0) empty_.notify_all();
  }

  Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable empty_;
  std::size_t inside_ = 0;
  bool closed_ = false;
};

}  // namespace nexus::base
