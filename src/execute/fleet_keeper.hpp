// FleetKeeper: while a place is held, its server is told of it again and again, so that one that
// has lost its memory (a restart, a flush) learns of it before it gives a place to anybody.
//
// How often is a quarter of the time for which a server that has just started gives
// no places. Thread safety: one owner; `tell` runs on the keeper's thread.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>

#include "nexus/base/loop_thread.hpp"

namespace nexus::execute {

class FleetKeeper {
 public:
  FleetKeeper(Clock& clock, Millis settle, std::function<void()> tell)
      : loop_(clock, "fleet",
              [&clock, every = std::clamp(settle / 4, Millis(100), Millis(2500)),
               tell = std::move(tell), first = true]() mutable {
                // It has just been given.
                if (!std::exchange(first, false)) tell();
                return clock.steady() + every;
              }) {}
  /// Ends the telling; a turn under way ends first.
  void stop() { loop_.stop(); }

 private:
  base::LoopThread loop_;
};

}  // namespace nexus::execute
