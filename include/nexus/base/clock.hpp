// Clock: the only place that knows what time it is and the only way to wait.
//
// Everything with a timer (cool-downs, retention, forecasts, `for:`) takes a Clock, or is told the
// time, so that a test simulates a day in milliseconds. SystemClock is the real one; ManualClock
// moves only when a test says so.
//
// Units: wall time is milliseconds since the Unix epoch (samples, journal); steady time is
// nanoseconds of CLOCK_MONOTONIC (deadlines, durations). Thread safety: all members may be called
// from any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace nexus::base {

using Millis = std::chrono::milliseconds;
using Nanos = std::chrono::nanoseconds;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Millis>;
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, Nanos>;

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual WallTime wall() const noexcept = 0;
  [[nodiscard]] virtual SteadyTime steady() const noexcept = 0;

  /// Waits on `condition` (whose mutex `lock` holds) until `done()` or until steady() reaches
  /// `deadline`. Returns done(). `done` is called with the lock held.
  virtual bool wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& condition,
                          SteadyTime deadline, const std::function<bool()>& done) = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] WallTime wall() const noexcept override;
  [[nodiscard]] SteadyTime steady() const noexcept override;
  bool wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& condition,
                  SteadyTime deadline, const std::function<bool()>& done) override;
};

/// A clock that a test moves. Waiters wake when it is advanced past their deadline.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(WallTime start = WallTime(Millis(1'700'000'000'000)));
  [[nodiscard]] WallTime wall() const noexcept override;
  [[nodiscard]] SteadyTime steady() const noexcept override;
  bool wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& condition,
                  SteadyTime deadline, const std::function<bool()>& done) override;

  void advance(Nanos by);     // moves both clocks
  void step_wall(Millis by);  // moves only the wall clock, as an administrator or NTP would

 private:
  mutable std::mutex mutex_;
  Nanos steady_{0};
  WallTime wall_;
};

inline constexpr SteadyTime kForever = SteadyTime::max();

/// Milliseconds since the epoch as an integer, as samples carry them.
[[nodiscard]] constexpr std::int64_t to_unix_millis(WallTime time) noexcept {
  return time.time_since_epoch().count();
}
[[nodiscard]] constexpr WallTime from_unix_millis(std::int64_t millis) noexcept {
  return WallTime(Millis(millis));
}

/// RFC 3339 in UTC with milliseconds: 2026-11-23T17:32:54.123Z.
[[nodiscard]] std::string to_rfc3339(WallTime time);

}  // namespace nexus::base

namespace nexus {
using base::Clock;
using base::Millis;
using base::Nanos;
using base::SteadyTime;
using base::WallTime;
}  // namespace nexus
