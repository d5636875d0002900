// Presence: which series a rule has had values of, and which of them give none any more.
//
// At most kMost are known, each for kForget after its last value: what is gone for so long is no
// outage. Thread safety: one thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/config/values.hpp"

namespace nexus::analyze {

class Presence {
 public:
  static constexpr std::size_t kMost = 1000;
  static constexpr Millis kForget{24 * 3'600'000};

  struct Gone {
    const config::StringMap* labels;  // until the next update()
    Millis since;                     // its last value
  };

  /// Notes what is there now, and says what was and is not.
  [[nodiscard]] std::vector<Gone> update(const std::vector<config::StringMap>& present,
                                         SteadyTime now) {
    for (const auto& labels : present) {
      const auto known = last_.find(labels);
      if (known != last_.end()) {
        known->second = now;
      } else if (last_.size() < kMost) {
        last_.emplace(labels, now);
      }
    }
    std::erase_if(last_, [&](const auto& one) { return now - one.second >= kForget; });
    std::vector<Gone> out;
    for (const auto& [labels, seen] : last_) {
      if (seen < now) out.push_back({&labels, std::chrono::duration_cast<Millis>(now - seen)});
    }
    return out;
  }

 private:
  std::map<config::StringMap, SteadyTime> last_;
};

}  // namespace nexus::analyze
