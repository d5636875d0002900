// Waiting in a step, by the injected clock. Thread safety: functions without state.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>

#include "nexus/execute/step.hpp"

namespace nexus::execute {

inline void pause_until(Clock& clock, SteadyTime until) {
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  clock.wait_until(lock, never, until, [] { return false; });
}

/// Why a step has to end now: cancelled, the agent ends, or its time is over.
[[nodiscard]] inline std::optional<Errc> why_to_end(Clock& clock, const StepRun& run) {
  if (run.cancelled() || run.leaving()) return Errc::kCancelled;
  if (clock.steady() >= run.deadline) return Errc::kTimeout;
  return std::nullopt;
}

}  // namespace nexus::execute
