#include "execute/actions.hpp"
#include "execute/service_job.hpp"

namespace nexus::execute {

const ActionDescriptor kStartService{
    .name = "start_service",
    .help = "Starts a systemd unit over D-Bus and checks that it stays up.",
    .target_help = kUnitTargetHelp,
    .parameters = {},
    .make = [] { return make_service_step(drivers::UnitJob::kStart); },
    .check_remedy = check_unit_remedy,
    .targets_units = true,
};

}  // namespace nexus::execute
