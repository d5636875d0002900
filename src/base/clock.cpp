#include "nexus/base/clock.hpp"

#include <fmt/format.h>

#include <ctime>

namespace nexus::base {

WallTime SystemClock::wall() const noexcept {
  return std::chrono::time_point_cast<Millis>(std::chrono::system_clock::now());
}

SteadyTime SystemClock::steady() const noexcept {
  return std::chrono::steady_clock::now();
}

bool SystemClock::wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& condition,
                             SteadyTime deadline, const std::function<bool()>& done) {
  if (deadline == kForever) {
    condition.wait(lock, done);
    return true;
  }
  return condition.wait_until(lock, deadline, done);
}

ManualClock::ManualClock(WallTime start) : wall_(start) {}

WallTime ManualClock::wall() const noexcept {
  const std::lock_guard guard(mutex_);
  return wall_;
}

SteadyTime ManualClock::steady() const noexcept {
  const std::lock_guard guard(mutex_);
  return SteadyTime(steady_);
}

bool ManualClock::wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& condition,
                             SteadyTime deadline, const std::function<bool()>& done) {
  // A test clock may be advanced from another thread that does not know our condition: poll in
  // short real waits. Only tests pay for it.
  while (!done()) {
    if (steady() >= deadline) return done();
    condition.wait_for(lock, Millis(1));
  }
  return true;
}

void ManualClock::advance(Nanos by) {
  const std::lock_guard guard(mutex_);
  steady_ += by;
  wall_ += std::chrono::duration_cast<Millis>(steady_) -
           std::chrono::duration_cast<Millis>(steady_ - by);
}

void ManualClock::step_wall(Millis by) {
  const std::lock_guard guard(mutex_);
  wall_ += by;
}

std::string to_rfc3339(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const auto millis = (time - seconds).count();
  const std::time_t unix_seconds = seconds.time_since_epoch().count();
  std::tm utc{};
  gmtime_r(&unix_seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, millis);
}

}  // namespace nexus::base
