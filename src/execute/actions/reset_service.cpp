#include "execute/actions.hpp"
#include "execute/service_step.hpp"

namespace nexus::execute {

const ActionDescriptor kResetService{
    .name = "reset_service",
    .help = "Has systemd forget that a unit failed, its start limit with it.",
    .target_help = kServiceTargetHelp,
    .parameters = {},
    .make = [] { return make_service_step(ServiceVerb::kReset); },
    .check_remedy = check_service_remedy<ServiceVerb::kReset>,
    .targets_units = true,
};

}  // namespace nexus::execute
