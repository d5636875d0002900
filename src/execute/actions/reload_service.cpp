#include "execute/actions.hpp"
#include "execute/service_step.hpp"

namespace nexus::execute {

const ActionDescriptor kReloadService{
    .name = "reload_service",
    .help =
        "Asks a service to read its configuration anew (a container and a process by SIGHUP), and "
        "checks that it is up.",
    .target_help = kServiceTargetHelp,
    .parameters = {},
    .make = [] { return make_service_step(ServiceVerb::kReload); },
    .check_remedy = check_service_remedy<ServiceVerb::kReload>,
    .targets_units = true,
};

}  // namespace nexus::execute
