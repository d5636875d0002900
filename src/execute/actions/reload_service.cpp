#include "execute/actions.hpp"
#include "execute/service_job.hpp"

namespace nexus::execute {

const ActionDescriptor kReloadService{
    .name = "reload_service",
    .help =
        "Asks a systemd unit to reload its configuration, over D-Bus, and checks that it is "
        "active.",
    .target_help = kUnitTargetHelp,
    .parameters = {},
    .make = [] { return make_service_step(drivers::UnitJob::kReload); },
    .check_remedy = check_unit_remedy,
    .targets_units = true,
};

}  // namespace nexus::execute
