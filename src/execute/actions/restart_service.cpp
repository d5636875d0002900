#include "execute/actions.hpp"
#include "execute/service_job.hpp"

namespace nexus::execute {

const ActionDescriptor kRestartService{
    .name = "restart_service",
    .help =
        "Restarts a systemd unit (starts it when it is down), over D-Bus, and checks that it stays "
        "up.",
    .target_help = kUnitTargetHelp,
    .parameters = {},
    .make = [] { return make_service_step(drivers::UnitJob::kRestart); },
    .check_remedy = check_unit_remedy,
    .targets_units = true,
};

}  // namespace nexus::execute
