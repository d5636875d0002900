// kill_process: ends one process, known by its pid and start time, or sends it another signal.
#include <array>

#include "execute/actions.hpp"
#include "execute/process_guard.hpp"
#include "execute/signal_step.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<ParameterDescriptor, 3> kParameters{{
    {.name = "signal",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "TERM",
     .help = "TERM, KILL, INT or QUIT, which are to end it, or HUP, USR1 or USR2"},
    {.name = "kill_after",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "10s",
     .help = "what was to end it and has not by then is followed by KILL; 0s: it is not"},
    {.name = "name",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "refuse to when the process is called otherwise (/proc/PID/comm)"},
}};

}  // namespace

const ActionDescriptor kKillProcess{
    .name = "kill_process",
    .help =
        "Ends one process, or sends it a signal. It is known by pid and start time, and looked at "
        "again just before.",
    .target_help = kProcessTargetHelp,
    .parameters = kParameters,
    .make = [] { return make_signal_step(); },
    .check_remedy = check_process_remedy,
};

}  // namespace nexus::execute
