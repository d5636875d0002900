// The shadow ledger: what remedies that only observe would have done, and what happened without
// them, so that people can judge a remedy before they let it act.
//
// An entry begins when nothing but the mode `observe` held an action back, and ends when its
// finding resolves. The cool-down, the attempts and the rates that acting would have used up are
// kept beside, so that what flaps or storms is counted no more often than the rails would have let
// act; the blast radius is not. Units: seconds. Thread safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "nexus/base/clock.hpp"

namespace nexus::plan {

struct ShadowEntry {
  std::int64_t id = 0;
  std::string remedy;
  std::string action_type;
  std::string target;
  std::string finding;
  std::string fingerprint;
  WallTime time{};
  std::optional<WallTime> resolved;  // when the trouble had gone away by itself
  bool lost = false;  // nobody saw how it ended: the agent was away, or the remedy went
};

struct ShadowSummary {
  std::string remedy;
  std::string action_type;
  std::uint64_t would_have_acted = 0;
  std::uint64_t resolved_by_itself = 0;
  std::uint64_t still_there = 0;
  std::uint64_t unknown = 0;
  std::optional<double> median_seconds;  // that the trouble lasted without the action
  std::optional<double> longest_seconds;
  /// What an action of this type has taken so far on this host, from start to verified, in the
  /// median; absent: none has helped yet.
  std::optional<double> action_seconds;
  /// The time of trouble beyond what acting takes, summed; a trouble that is still there counts up
  /// to now. An estimate: it supposes that acting helps.
  double saved_seconds = 0;
  WallTime first{};
  WallTime last{};
};

}  // namespace nexus::plan
