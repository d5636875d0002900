// Change: something that was done to the host, or happened to it, that may explain what is seen
// afterwards: a boot, a unit that was started or reloaded, packages that were installed, a
// configuration that was applied, a clock that was set, a deployment. Nothing is wrong with it.
//
// Thread safety: plain values.
#pragma once

#include <string>
#include <vector>

#include "nexus/base/clock.hpp"

namespace nexus::analyze {

struct Change {
  WallTime time{};      // when it happened, as far as that is known
  std::string kind;     // boot, unit, packages, configuration, clock, agent, deploy, ...
  std::string subject;  // "web.service", "host"
  std::string text;     // one sentence for people
};
using Changes = std::vector<Change>;

}  // namespace nexus::analyze
