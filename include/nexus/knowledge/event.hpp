// Things that happened to the host, told by monitor to analyze.
//
// Thread safety: plain values.
#pragma once

#include <string>

#include "nexus/base/clock.hpp"

namespace nexus::knowledge {

/// A watched service changed its state.
struct ServiceEvent {
  std::string service;    // "web.service"
  std::string kind;       // systemd
  std::string state;      // active, activating, deactivating, inactive, failed, reloading, unknown
  std::string detail;     // sub-state and result, e.g. "failed/signal"
  std::string instance;   // what runs: systemd's invocation id, a container id
  std::uint32_t pid = 0;  // main process
  bool job = false;       // a job of the manager for it is under way: somebody asked
  bool restarts_itself =
      false;              // its manager starts it again after a failure (Restart= of systemd)
  WallTime time{};        // of the change
  SteadyTime received{};  // when the agent learned of it
};

}  // namespace nexus::knowledge
