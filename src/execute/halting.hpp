// The kill switch, as a step sees it that has several parts (containers, instances): the part that
// is under way comes to its end, for a service stopped half-way is worse, and no other is begun.
// For all other steps StepRun::cancelled says it.
//
// A step runs on its worker's thread from begin to end, and what it may ask is kept by that thread.
// Thread safety: each thread has its own.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "execute/waiting.hpp"

namespace nexus::execute {

class HaltScope {
 public:
  explicit HaltScope(std::function<bool()> halted)
      : before_(std::exchange(here(), std::move(halted))) {}
  ~HaltScope() { here() = std::move(before_); }
  HaltScope(const HaltScope&) = delete;
  HaltScope& operator=(const HaltScope&) = delete;

  /// Whether operations were stopped; false outside of a run.
  [[nodiscard]] static bool is_halted() { return here() && here()(); }

 private:
  static std::function<bool()>& here() {
    thread_local std::function<bool()> halted;
    return halted;
  }
  std::function<bool()> before_;
};

/// Why the next of several parts is not to be begun: as why_to_end(), or operations were stopped.
[[nodiscard]] inline std::optional<Errc> why_to_begin_no_more(Clock& clock, const StepRun& run) {
  if (HaltScope::is_halted()) return Errc::kCancelled;
  return why_to_end(clock, run);
}

}  // namespace nexus::execute
