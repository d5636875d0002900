#include <array>

#include "execute/actions.hpp"
#include "execute/service_step.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<ParameterDescriptor, 2> kParameters{{
    {.name = "only_if_running",
     .type = ParameterType::kBool,
     .required = false,
     .default_value = "false",
     .help = "of a unit: leave it alone when it does not run (try-restart)"},
    {.name = "timeout",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "",
     .help = "of a container and of a process: killed when it has not ended by then; without it "
             "the container's own time, 10s of a process"},
}};

}  // namespace

const ActionDescriptor kRestartService{
    .name = "restart_service",
    .help =
        "Restarts a service (starts it when it is down), and checks that it stays up; of Compose "
        "all its containers, one after the other.",
    .target_help = kServiceTargetHelp,
    .parameters = kParameters,
    .make = [] { return make_service_step(ServiceVerb::kRestart); },
    .check_remedy = check_service_remedy<ServiceVerb::kRestart>,
    .targets_units = true,
};

}  // namespace nexus::execute
