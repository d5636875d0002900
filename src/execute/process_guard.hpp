// Which processes no action touches, whatever the configuration says: pid 1, kernel threads, the
// agent and its ancestors, the init system, sshd and what administrators are logged in with, and
// what belongs to protected units and containers ([guardrails] protected_units, their label, and
// the compiled-in floor); of a container that no engine can be asked about it is not known, and
// held. Thread safety: functions without state.
#pragma once

#include <optional>
#include <string>

#include "nexus/execute/step.hpp"
#include "nexus/host/process.hpp"

namespace nexus::execute {

[[nodiscard]] std::optional<std::string> process_protected(const host::ProcessFacts& process,
                                                           const config::Config& config);
/// What only the engine of the container that it runs in can tell; waits for that. Nothing: it runs
/// in none but the agent's own, or in one that may be touched.
[[nodiscard]] std::optional<std::string> protected_by_container(const host::ProcessFacts& process,
                                                                const StepContext& context);

/// "PID:START" of an action's target, which may begin with "process:".
[[nodiscard]] Result<host::ProcessId> process_of(const plan::Action& action);
/// The process of an action's target, as it is now, if it may be touched as far as can be told
/// without waiting. A target without its start time is refused with the one that it has now.
[[nodiscard]] Result<host::ProcessFacts> target_process(const plan::Action& action,
                                                        const config::Config& config);
/// The same, just before it is touched: its container's engine is asked too.
[[nodiscard]] Result<host::ProcessFacts> touchable_process(const plan::Action& action,
                                                           const StepContext& context);
/// For people: "process 12:345 (web) of web.service, 12 MiB: /usr/bin/web --port 80".
[[nodiscard]] std::string show(const host::ProcessFacts& process);
[[nodiscard]] std::string process_evidence(const plan::Action& action);
/// What the rails count an action on a process on: its unit, or its name. Empty: it is gone.
[[nodiscard]] std::string process_account(const plan::Action& action);
[[nodiscard]] Status check_process_remedy(const config::RemedyConfig& remedy,
                                          const config::Config& config);

inline constexpr std::string_view kProcessTargetHelp =
    "a process as PID:START, its start time being field 22 of /proc/PID/stat, as the labels of "
    "findings about processes have it; never a name";

}  // namespace nexus::execute
