// TimeInterval: a named set of times by which routes are muted or active, with Alertmanager's
// notation and meaning: ranges of minutes, weekdays, days of the month (negative: from its end),
// months and years, all of which must hold; an absent part always does. Several sets of one name
// count together.
//
// Time zones are the system's tzdata (date's tz library reads them). Thread safety: immutable.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/publish.hpp"

namespace nexus::publish {

class TimeInterval {
 public:
  /// Problems go to `problems` at their places; what is left is usable all the same.
  static TimeInterval compile(const config::TimeIntervalConfig& written,
                              std::vector<config::Problem>& problems);
  [[nodiscard]] bool contains(WallTime time) const;

 private:
  struct Range {
    int first = 0;
    int last = 0;  // included
  };
  std::vector<Range> minutes_;   // of the day; the last one is left out
  std::vector<Range> weekdays_;  // Sunday is 0
  std::vector<Range> days_;
  std::vector<Range> months_;
  std::vector<Range> years_;
  std::string location_;  // as the tz library knows it

  friend struct TimeIntervalReader;
};

}  // namespace nexus::publish
