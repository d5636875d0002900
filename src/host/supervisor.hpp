// Supervisor: the small process that stands between the agent and a command, so that nothing of the
// command can stay behind, whatever it forks, daemonizes or moves into a session of its own.
//
// It is forked (not executed) from the agent, makes itself the subreaper of its descendants
// (prctl(2), PR_SET_CHILD_SUBREAPER), spawns the command, and exits once the last descendant is
// reaped. Every orphan of the command is its child then, so it signals only processes that nobody
// else can reap: a recycled pid is never hit.
//
// End: when the command itself has exited, or when the control pipe is closed (the time limit, a
// cancellation, and the death of the agent are one path), the group and adopted orphans get
// SIGTERM, and SIGKILL after the grace time.
//
// Invariants: (1) after the fork only async-signal-safe calls, no allocation: the agent has
// threads; (2) all signals are blocked in it, only SIGKILL ends it early.
#pragma once

#include <spawn.h>

#include <chrono>

namespace nexus::host {

/// What it tells through the report pipe; written whole (smaller than PIPE_BUF).
struct Report {
  enum class Kind : int { kSpawned, kSpawnFailed, kExited };
  Kind kind;
  int value;  // pid, errno, or the wait status
};

/// Everything that it needs, prepared before the fork.
struct Launch {
  const char* path = nullptr;
  char* const* argv = nullptr;
  char* const* environment = nullptr;
  const posix_spawn_file_actions_t* actions = nullptr;
  const posix_spawnattr_t* attributes = nullptr;
  int output = -1;   // kept open until the command is spawned
  int control = -1;  // read end; end of file means: end it
  int report = -1;   // write end
  std::chrono::milliseconds grace{};
};

/// Runs in the forked process, all signals blocked.
[[noreturn]] void supervise(const Launch& launch) noexcept;

}  // namespace nexus::host
