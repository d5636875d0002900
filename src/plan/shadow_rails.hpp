// ShadowRails: the counters that acting would have left behind, while a remedy only observes, so
// that the shadow ledger holds no more than the rails would have let through: cool-down, attempts,
// breaker and hourly rates. Left out is the blast radius: how long the actions would have been
// under way nobody knows.
//
// In memory, from the ledger's last hour after a restart; bounded to kMost pairs, the one that was
// quiet for the longest goes first. Thread safety: one thread at a time (the planner's mutex).
#pragma once

#include <deque>
#include <map>
#include <vector>

#include "nexus/plan/shadow.hpp"
#include "plan/planner_store.hpp"

namespace nexus::plan {

class ShadowRails {
 public:
  static constexpr std::size_t kMost = 1000;

  /// Entries of the last hour, in any order.
  void restore(const std::vector<ShadowEntry>& entries);
  /// The trouble of this pair is there at `now`: what the rails would know of it.
  void add_to(Situation& situation, const PairKey& key, const Rails& rails);
  /// It would have been acted on.
  void act(const PairKey& key, const Rails& rails, WallTime now);
  /// Its attempts would have been used up.
  void give_up(const PairKey& key, WallTime now);
  /// The wall clock was set.
  void shift(Millis by);

 private:
  struct Entry {
    PairState state;
    WallTime last_trouble{};
  };
  Entry& entry_of(const PairKey& key);

  std::map<PairKey, Entry> pairs_;
  std::deque<RecentAction> recent_;  // oldest first
};

}  // namespace nexus::plan
