// Hold: a person's "not now" for remedies, on some targets, of some remedies, until it expires.
// Findings go on, and people may act.
//
// Thread safety: plain values.
#pragma once

#include <string>
#include <vector>

#include "nexus/base/clock.hpp"

namespace nexus::plan {

struct Hold {
  std::string id;
  std::vector<std::string> targets;  // globs; "web" is also "web.service"
  std::string remedy;                // glob over names of remedies; empty: all
  std::string who;
  std::string reason;
  WallTime created{};
  WallTime until{};
  bool operator==(const Hold&) const = default;
};

struct HoldRequest {
  static constexpr Millis kLongest{90LL * 24 * 3'600'000};

  std::vector<std::string> targets;
  std::string remedy;
  Millis lasts{};  // a second to kLongest
  std::string who;
  std::string reason;
};

}  // namespace nexus::plan
