#include "execute/actions.hpp"
#include "execute/service_step.hpp"

namespace nexus::execute {

const ActionDescriptor kStartService{
    .name = "start_service",
    .help = "Starts a service and checks that it stays up.",
    .target_help = kServiceTargetHelp,
    .parameters = {},
    .make = [] { return make_service_step(ServiceVerb::kStart); },
    .check_remedy = check_service_remedy<ServiceVerb::kStart>,
    .targets_units = true,
};

}  // namespace nexus::execute
