// Settling: for how long the end of an alert is not yet told, so that what crosses its threshold
// all day is told twice: that it began, and that it is over.
//
// An end is told once it has lasted half as long again as what it ends; once that has come back
// before its end was told, four times as long as it was ever there or away; at most `most`. What
// was there for longer than `most` is no flapping: its end is told at once. For a day it is
// remembered how long it was there and away, so that peaks far apart are caught the second time.
//
// An alert is its fingerprint, which has the severity in it: one that gets less severe has ended,
// and another one has begun. Timers run on the steady clock. Bounded by kMost alerts; ends of more
// are told at once. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>

#include "nexus/publish/alert.hpp"

namespace nexus::publish {

class Settling {
 public:
  static constexpr std::size_t kMost = 20'000;
  static constexpr Millis kRemembered{24 * 3'600'000};

  struct End {
    SteadyTime at{};
    SteadyTime told{};  // not before
  };

  /// 0: every end is told at once.
  void set_most(Millis most) { most_ = most; }

  /// It fires, since `since` if that was not known.
  void fires(std::uint64_t alert, SteadyTime since, SteadyTime now);
  /// It has ended at `at`; the first of several that say so counts. When that is to be told.
  SteadyTime ended(std::uint64_t alert, SteadyTime since, SteadyTime at, SteadyTime now);
  /// The end that was noted of it, if it has ended.
  [[nodiscard]] std::optional<End> end_of(std::uint64_t alert) const;
  /// Whether it came back before its end was told, and has not been steady for `most` since.
  [[nodiscard]] bool flaps(std::uint64_t alert, SteadyTime now) const;
  void forget(std::uint64_t alert) { spells_.erase(alert); }

  /// Forgets what was quiet for kRemembered, and what fires no more and never said that it ended.
  void tidy(const std::function<bool(std::uint64_t)>& fires, SteadyTime now);
  /// Ends that are not told yet.
  [[nodiscard]] std::size_t held(SteadyTime now) const;

 private:
  struct Spell {
    SteadyTime begin{};  // of what is there now, or was last
    std::optional<End> end;
    Millis longest{0};  // that it was there or away, of what was not longer than `most_`
    bool came_back = false;
  };

  Spell* find_or_begin(std::uint64_t alert, SteadyTime since);
  void learn(Spell& spell, SteadyTime from, SteadyTime to) const;

  Millis most_{0};
  std::unordered_map<std::uint64_t, Spell> spells_;
};

}  // namespace nexus::publish
