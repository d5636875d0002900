#include <array>

#include "execute/actions.hpp"
#include "execute/service_step.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<ParameterDescriptor, 2> kParameters{{
    {.name = "timeout",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "",
     .help = "of a container and of a process: killed when it has not ended by then; without it "
             "the container's own time, 10s of a process"},
    {.name = "kill",
     .type = ParameterType::kBool,
     .required = false,
     .default_value = "false",
     .help = "of a container: at once (SIGKILL), without asking it to end"},
}};

}  // namespace

const ActionDescriptor kStopService{
    .name = "stop_service",
    .help = "Stops a service and checks that it is down.",
    .target_help = kServiceTargetHelp,
    .parameters = kParameters,
    .make = [] { return make_service_step(ServiceVerb::kStop); },
    .check_remedy = check_service_remedy<ServiceVerb::kStop>,
    .undo_help = "what ran before is started again; a process is not",
    .targets_units = true,
};

}  // namespace nexus::execute
