#include "execute/actions.hpp"
#include "execute/service_job.hpp"

namespace nexus::execute {

const ActionDescriptor kStopService{
    .name = "stop_service",
    .help = "Stops a systemd unit over D-Bus and checks that it is down.",
    .target_help = kUnitTargetHelp,
    .parameters = {},
    .make = [] { return make_service_step(drivers::UnitJob::kStop); },
    .check_remedy = check_unit_remedy,
    .targets_units = true,
};

}  // namespace nexus::execute
