// One process, told from every other that has had or will have its pid: by pid and start time.
//
// Thread safety: functions without state, plain values.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::host {

struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start = 0;  // ticks after boot: field 22 of /proc/PID/stat
  bool operator==(const ProcessId&) const = default;
};
[[nodiscard]] std::string to_string(const ProcessId& id);  // "1234:567890"
/// "1234:567890"; `start` is 0 when only a pid was given. kInvalidArgument names what was expected.
[[nodiscard]] Result<ProcessId> parse_process(std::string_view text);

struct ProcessFacts {
  ProcessId id;
  std::string name;                // comm
  std::string unit;                // of systemd, from its control group: the innermost; empty: none
  std::vector<std::string> units;  // all that it is in, slices too, the outermost first
  std::string program;             // the file that it runs; empty: not to be read
  char state = '?';                // as in /proc/PID/stat, of its first thread
  std::uint64_t threads = 1;
  pid_t parent = 0;
  pid_t session = 0;
  bool has_terminal = false;
  bool is_kernel_thread = false;
  int nice = 0;
  std::uint64_t resident = 0;  // bytes
};

/// kNotFound: there is no such process (any more), or its pid belongs to another one now.
[[nodiscard]] Result<ProcessFacts> process_facts(const ProcessId& id,
                                                 const std::string& procfs = "/proc");
/// Whether it has ended, reaped or not. One whose first thread has left while others run has not.
[[nodiscard]] bool has_ended(const ProcessId& id, const std::string& procfs = "/proc");
/// Its arguments, blank between them, shortened; empty when they cannot be read. Not for a thread
/// that must go on: the kernel makes the reader wait for a process that is stuck in its memory.
[[nodiscard]] std::string process_command(const ProcessId& id, const std::string& procfs = "/proc");
/// Whether a signal would be caught or ignored, and not end the process (SigCgt and SigIgn of
/// /proc/PID/status).
[[nodiscard]] Result<bool> heeds_signal(const ProcessId& id, int number,
                                        const std::string& procfs = "/proc");

}  // namespace nexus::host
