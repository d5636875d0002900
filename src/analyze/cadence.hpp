// Cadence: whether it is time again, for work that is offered more often than it is due.
//
// Keeps to a grid; a caller that comes a little early (its own timer jitters) is let through, one
// that comes late does not make the next turn come sooner than half an interval.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <optional>

#include "nexus/base/clock.hpp"

namespace nexus::analyze {

class Cadence {
 public:
  [[nodiscard]] bool due(SteadyTime now, Millis interval) {
    constexpr Millis kJitter{20};
    if (next_ && now + kJitter < *next_) {
      // The interval became shorter: do not wait for the old one.
      if (*next_ - now <= interval) return false;
    }
    next_ = std::max(next_.value_or(now) + interval, now + interval / 2);
    return true;
  }

 private:
  std::optional<SteadyTime> next_;
};

}  // namespace nexus::analyze
