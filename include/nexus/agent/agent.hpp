// Agent: the rooms wired together, and their life cycle.
//
// start(): data directory and lock, state database, recovery of unfinished actions, collectors,
// analysis, planning, workers, HTTP, watched services; ready once every collector has run and the
// vitals stand. reload(): a bad configuration changes nothing and is said; a good one is applied at
// once, but for what needs_restart() names. stop(): readiness off, stop accepting, stop acting,
// stop collecting, drain, flush, join; within 20 s, whatever hangs: that is left behind.
//
// Threads: collect-N, ingest, analyze, plan, execute-N, serve-io and its pool, unit-watch. See
// src/README.md. Thread safety: reload() and healthy() from any thread; the rest from one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/load.hpp"

namespace nexus::agent {

class Agent {
 public:
  /// Checks the configuration and opens what lasts; nothing runs yet. The error holds every
  /// problem, one a line.
  [[nodiscard]] static Result<std::unique_ptr<Agent>> make(Clock& clock,
                                                           config::LoadOptions options);
  ~Agent();

  [[nodiscard]] Status start();
  void stop();
  /// As SIGHUP asks for it; in the audit log with the actor "signal".
  [[nodiscard]] Status reload();

  [[nodiscard]] bool ready() const;
  /// Whether no loop is in one turn, or late for its next, for a minute: what the watchdog and
  /// /-/healthy ask. Names the one that is.
  [[nodiscard]] bool healthy(std::string& why) const;
  [[nodiscard]] std::vector<std::string> addresses() const;
  /// The one in use: what a reload says of it holds from the next start on.
  [[nodiscard]] std::string data_dir() const;
  /// After stop(): whether a collector hangs in the kernel still, or a request's handler. Their
  /// threads use the agent: leave by _Exit, destroy nothing.
  [[nodiscard]] bool left_threads_behind() const;

 private:
  struct Impl;
  explicit Agent(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::agent
