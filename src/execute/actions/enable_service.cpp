#include "execute/actions.hpp"
#include "execute/service_step.hpp"

namespace nexus::execute {

const ActionDescriptor kEnableService{
    .name = "enable_service",
    .help = "Has a service come up with the host (the [Install] section of its unit).",
    .target_help = kServiceTargetHelp,
    .parameters = {},
    .make = [] { return make_service_step(ServiceVerb::kEnable); },
    .check_remedy = check_service_remedy<ServiceVerb::kEnable>,
    .undo_help = "it is disabled again",
    .targets_units = true,
};

}  // namespace nexus::execute
