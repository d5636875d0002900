// What the manager of units (systemd) can be asked to change, as values: jobs, and properties that
// hold at run time. Privileged (privileged.hpp) asks it; what can be read of units is
// nexus/drivers/systemd.hpp.
//
// Thread safety: plain values. Documents: org.freedesktop.systemd1(5), systemd.resource-control(5).
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>

#include "nexus/base/clock.hpp"

namespace nexus::host {

/// kTryRestart: restarts what runs, and leaves alone what does not.
enum class UnitJob { kStart, kStop, kRestart, kReload, kTryRestart };
[[nodiscard]] std::string_view to_string(
    UnitJob job) noexcept;  // start stop restart reload try-restart

struct JobOutcome {
  /// "done"; "left": the job goes on; "asked": left before systemd has acknowledged it. Every other
  /// word of systemd's is an error that quotes it.
  std::string result;
  Millis took{};
};

/// How long a job is waited for, and what is asked and told meanwhile, on the caller's thread.
struct JobWait {
  SteadyTime deadline{};
  std::function<bool()> cancelled = {};  // asked every 100 ms; true: the job is cancelled
  std::function<void()> queued = {};     // called as soon as systemd has accepted the job
  /// Asked every 100 ms; true: the wait ends, a job there is goes on.
  std::function<bool()> leaving = {};
};

inline constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

struct NumberProperty {
  std::string_view name;  // "MemoryMax"
  std::uint64_t value;    // kNoLimit: "infinity"
};

}  // namespace nexus::host
