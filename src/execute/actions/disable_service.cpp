#include "execute/actions.hpp"
#include "execute/service_step.hpp"

namespace nexus::execute {

const ActionDescriptor kDisableService{
    .name = "disable_service",
    .help = "Has a service not come up with the host any more; what runs goes on.",
    .target_help = kServiceTargetHelp,
    .parameters = {},
    .make = [] { return make_service_step(ServiceVerb::kDisable); },
    .check_remedy = check_service_remedy<ServiceVerb::kDisable>,
    .undo_help = "it is enabled again",
    .targets_units = true,
};

}  // namespace nexus::execute
