// Jumps of a level: changes within a few hours that stand out of what the same hour of the other
// days brings. A package run, a large file, a clean-up. What comes back every day is none, nor is
// what comes three times in three and a half days: that is how the series grows.
//
// Method: changes from hour to hour, less their median over all days at that hour; beyond six
// robust deviations of what is left, and beyond four hours of usual growth, it is a jump; it takes
// in the hours beside it that lean the same way (two deviations), three hours in all, so that a
// ramp of two hours is one. Memory and time are those of the hours given (168).
// Thread safety: pure.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace nexus::analyze {

/// Between two hours that have none of it: `before` and `after` are hours ago, before > after.
struct LevelJump {
  std::size_t before = 0;
  std::size_t after = 0;
  double size = 0;          // beyond what is usual then
  double usual = 0;         // what these hours bring without it
  bool undone = false;      // with another one: what came went again
  std::size_t partner = 0;  // that one
};

struct LevelChanges {
  std::vector<LevelJump> jumps;  // that are no growth, the newest first
  std::size_t leans = 0;         // hours for which it goes another way than usual; 0: it does not
  double lean = 0;               // by so much an hour
  double usual = 0;              // what an hour of the days before brings
};

/// Of hourly means, the newest first. Three days are the least that say what is usual.
LevelChanges find_level_changes(std::span<const double> hours, bool and_lean);

}  // namespace nexus::analyze
