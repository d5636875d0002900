// Shutdown: one deadline for all stages of the agent's stop, so that the last ones, which flush
// what must last, are reached whatever hangs in those before them.
//
// A stage that has not ended when its time is over is left behind on its thread; the process then
// leaves by _Exit. Thread safety: one thread.
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

#include "nexus/base/clock.hpp"

namespace nexus::agent {

class Shutdown {
 public:
  static constexpr Millis kLeast{250};

  Shutdown(Clock& clock, Millis limit) : clock_(clock), deadline_(clock.steady() + limit) {}

  /// What is left of the limit once `reserved` is kept for the stages that follow, at most `most`;
  /// never below 0.
  [[nodiscard]] Millis grace(Millis most, Millis reserved) const;
  /// Runs a stage, which stops by itself within `grace`; waits for it until all but `reserved` of
  /// the limit is over, and for kLeast in any case: one that came late and is quick is not given
  /// up for it. False, and it is logged and counted, when it was left behind.
  bool run(std::string_view name, Millis reserved, std::function<void()> stage);
  [[nodiscard]] std::size_t left_behind() const noexcept { return left_behind_; }

 private:
  Clock& clock_;
  const SteadyTime deadline_;
  std::size_t left_behind_ = 0;
};

}  // namespace nexus::agent
