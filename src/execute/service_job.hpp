// What restarting, starting, stopping and reloading a unit have in common: one job of systemd over
// D-Bus.
//
// The unit is looked at anew just before the job: one that does not exist, is masked, is protected
// under any of its names (an alias does not hide sshd) or runs the agent itself is refused. A start
// limit that was hit is reset, once, and said. A restart that is given up (time limit, cancelled)
// and has stopped the unit starts it again; when the agent ends, the job is left to systemd. Thread
// safety: as nexus/execute/step.hpp says.
#pragma once

#include <memory>

#include "nexus/drivers/systemd.hpp"
#include "nexus/execute/step.hpp"
#include "nexus/host/unit_change.hpp"

namespace nexus::execute {

/// With kRestart, the parameter `only_if_running` makes it a kTryRestart.
[[nodiscard]] std::unique_ptr<Step> make_unit_job_step(host::UnitJob job);

/// Refuses a unit that does not exist, is masked, protected under any of its names, or runs this
/// agent.
[[nodiscard]] Status check_unit(std::string_view action_type, const drivers::UnitStatus& status,
                                const config::Config& config);

/// Whether a unit in this state is what the job was meant to bring about. `now` decides whether it
/// has settled.
[[nodiscard]] bool is_achieved(host::UnitJob job, const drivers::UnitStatus& status, WallTime now);
/// What became of a job that nobody waited for, from the evidence taken before it and the state
/// now.
[[nodiscard]] Recovered what_became(host::UnitJob job, std::string_view before,
                                    const drivers::UnitStatus& now, std::string& what);
/// Whether a restart that was given up has left a unit stopped, or stopping, that was up before it.
[[nodiscard]] bool left_stopped(const drivers::UnitStatus& before, const drivers::UnitStatus& now);
[[nodiscard]] std::string unit_evidence(const drivers::UnitStatus& status);

}  // namespace nexus::execute
