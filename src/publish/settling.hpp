// Settling: an end is told once it lasts, so that what crosses its threshold all day is told twice:
// that it began, and that it is over.
//
// What ends, or gets less severe, is held back for twice as long as it was there, at most `most`;
// when it comes back meanwhile, nothing has happened but that it is flapping. For a day it is
// remembered how long it was there and away, so that peaks far apart are caught the second time.
// What was there for longer than `most` is no flapping: its end is told at once. So is that of what
// happens by itself (a failed service): only findings that are looked at again and again settle.
//
// Timers run on the steady clock. Bounded by kMost findings; of more, ends are told at once. Thread
// safety: one thread.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "nexus/publish/alert.hpp"

namespace nexus::publish {

class Settling {
 public:
  static constexpr std::size_t kMost = 20'000;
  static constexpr Millis kRemembered{24 * 3'600'000};

  /// 0: nothing is held back.
  void set_most(Millis most) { most_ = most; }

  /// Whether `finding`, which fires or has ended, is to be told later: `told` is what was told of
  /// it (null: nothing). It is kept until it is due.
  [[nodiscard]] bool holds(const analyze::Finding& finding, const Alert* told, const Now& now);
  /// Whether it came back while its end was held back: it is to be told as flapping.
  [[nodiscard]] bool flaps(const std::string& finding) const;
  [[nodiscard]] bool is_held(const std::string& finding) const;

  /// What has lasted: to be told now. It is held no longer.
  [[nodiscard]] std::vector<analyze::Finding> due(const Now& now);
  /// When due() has something next.
  [[nodiscard]] SteadyTime next() const noexcept;
  [[nodiscard]] std::size_t held() const noexcept { return due_.size(); }
  /// Forgets what was quiet for kRemembered.
  void tidy(const Now& now);

 private:
  struct Spell {
    SteadyTime begin{};               // of what is there now, or was last
    std::optional<SteadyTime> ended;  // it is away
    std::optional<SteadyTime> due;    // its end is held back until then
    Millis longest{0};                // that it was there or away, at most `most_`
    bool flaps = false;
    analyze::Finding last;  // while it is held back
  };

  void came_back(Spell& spell, const std::string& print, SteadyTime now);
  [[nodiscard]] bool went_away(Spell& spell, const analyze::Finding& finding, SteadyTime at,
                               SteadyTime now);
  void learn(Spell& spell, Millis lasted) const;
  void release(Spell& spell, const std::string& print);

  Millis most_{0};
  std::unordered_map<std::string, Spell> spells_;  // by finding
  std::set<std::pair<SteadyTime, std::string>> due_;
};

}  // namespace nexus::publish
