// Waiting in a step, by the injected clock. Thread safety: functions without state.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "nexus/execute/step.hpp"
#include "nexus/host/privileged.hpp"

namespace nexus::execute {

inline void pause_until(Clock& clock, SteadyTime until) {
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  clock.wait_until(lock, never, until, [] { return false; });
}

/// A run that nobody can end, for what is looked at and put back: only its deadline counts.
[[nodiscard]] inline StepRun unattended_run(SteadyTime deadline) {
  return {.deadline = deadline,
          .cancelled = [] { return false; },
          .leaving = [] { return false; },
          .begun = [] {}};
}

/// Why a step has to end now: cancelled, the agent ends, or its time is over.
[[nodiscard]] inline std::optional<Errc> why_to_end(Clock& clock, const StepRun& run) {
  if (run.cancelled() || run.leaving()) return Errc::kCancelled;
  if (clock.steady() >= run.deadline) return Errc::kTimeout;
  return std::nullopt;
}

/// Why the next of several parts (containers, instances) is not to be begun: as why_to_end(), or
/// operations were stopped. The part that is under way comes to its end, for a service that was
/// stopped half-way is worse.
[[nodiscard]] inline std::optional<Errc> why_to_begin_no_more(const StepContext& context,
                                                              const StepRun& run) {
  if (context.halted && context.halted()) return Errc::kCancelled;
  return why_to_end(context.clock, run);
}

/// For what is spawned as a child of the agent: it ends with the agent.
[[nodiscard]] inline host::SpawnWait as_child(const StepRun& run) {
  return {.deadline = run.deadline,
          .cancelled = [&run] { return run.cancelled() || run.leaving(); },
          .started = run.begun};
}

/// Waits until then, or until the step has to end: why.
[[nodiscard]] inline std::optional<Errc> pause_in_step(Clock& clock, const StepRun& run,
                                                       SteadyTime until) {
  constexpr Millis kAskEvery{200};
  while (true) {
    if (auto why = why_to_end(clock, run)) return why;
    const auto now = clock.steady();
    if (now >= until) return std::nullopt;
    pause_until(clock, std::min({until, run.deadline, now + kAskEvery}));
  }
}

}  // namespace nexus::execute
