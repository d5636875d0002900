// Subprocess: runs one argv array, never a shell, in a process group and session of its own, under
// a time limit that really ends what was started.
//
// Between the agent and the command stands a small forked process, the reaper of all that descends
// from the command (PR_SET_CHILD_SUBREAPER, see src/host/supervisor.hpp).
//
// Invariants: (1) standard input is /dev/null, no other descriptor is inherited, signals are as a
// fresh process has them; (2) output beyond `max_output` is read and thrown away, and said so; (3)
// at the deadline, on cancellation and when the agent dies, the whole group gets SIGTERM and, after
// `grace` of real time, SIGKILL, and so does every descendant that left the group or the session;
// (4) nothing outlives run(): what the command left running when it exited is ended in the same
// way, as systemd does with a oneshot service; (5) no zombie stays. A descendant that does not end
// although it was killed (uninterruptible sleep on a dead disk or mount, another user's) is left
// behind `give_up` after the SIGKILL: run() returns, its reaper stays and goes on, and is reaped
// itself by commands_left_behind().
//
// Thread safety: run() may be called by several threads. The command has a copy of the caller's
// credentials and limits.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"

namespace nexus::host {

struct Command {
  std::vector<std::string> argv;  // argv[0] is an absolute path
  std::vector<std::string> environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"};
  std::string working_directory = "/";
  std::size_t max_output = 64U << 10;  // bytes kept of standard output and standard error together
  Millis grace{2000};
  Millis give_up{5000};  // real time, after the SIGKILL
};

struct Exit {
  int status = 0;             // exit code, or 128 + signal
  std::optional<int> signal;  // that ended it
  std::string output;         // interleaved, invalid UTF-8 replaced
  bool output_truncated = false;
  bool left_behind = false;  // something that it started does not end although killed
};

/// kInvalidArgument: argv[0] is no absolute path, or a string holds a NUL; kNotFound,
/// kPermissionDenied, ...: it could not be executed. Why run() ended early is the error's code:
/// kTimeout or kCancelled; its message holds the end of the output. `cancelled` is asked at least
/// every 100 ms; `started` is called with the pid once it runs.
[[nodiscard]] Result<Exit> run(const Command& command, Clock& clock, SteadyTime deadline,
                               const std::function<bool()>& cancelled = {},
                               const std::function<void(int pid)>& started = {});

/// How many commands run() has left behind and that still are there; those that have ended by now
/// are reaped. Any thread.
[[nodiscard]] std::size_t commands_left_behind();

}  // namespace nexus::host
