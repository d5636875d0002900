// Change: something that was done to the host, or happened to it, that may explain what is seen
// afterwards: a boot, a unit that was started or reloaded, packages that were installed, a
// configuration that was applied, a clock that was set, a deployment. Nothing is wrong with it.
//
// Thread safety: plain values.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"

namespace nexus::analyze {

struct Change {
  WallTime time{};      // when it happened, as far as that is known
  std::string kind;     // one of kChangeKinds, or what people call it
  std::string subject;  // "web.service", "host"
  std::string text;     // one sentence for people
};
using Changes = std::vector<Change>;

/// What changes are called. People may call what they tell of as they like, but for what the agent
/// alone sees.
struct ChangeKind {
  std::string_view name;
  bool may_be_told = false;    // by people and their pipelines
  bool is_seen_twice = false;  // by two watchers, or by one that looks again
};
inline constexpr std::array<ChangeKind, 7> kChangeKinds{{
    {.name = "agent", .is_seen_twice = true},
    {.name = "boot", .is_seen_twice = true},
    {.name = "clock", .is_seen_twice = true},
    {.name = "configuration", .may_be_told = true},
    {.name = "deploy", .may_be_told = true},
    {.name = "packages"},
    {.name = "unit", .is_seen_twice = true},
}};
/// Null: one that somebody else has thought of.
[[nodiscard]] constexpr const ChangeKind* find_change_kind(std::string_view name) noexcept {
  for (const ChangeKind& kind : kChangeKinds) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

}  // namespace nexus::analyze
