// One job of systemd, from queueing it to its end. Thread safety: none, one thread and one
// connection a job.
#pragma once

#include "drivers/bus.hpp"
#include "nexus/host/unit_change.hpp"

namespace nexus::drivers {

/// Privileged::unit_job() on a connection that nobody else uses. `unit` is normalized.
[[nodiscard]] Result<host::JobOutcome> run_job(sd_bus* bus, Clock& clock, host::UnitJob job,
                                               const std::string& unit, const host::JobWait& wait);

/// All properties of a unit. The caller judges a load state of "not-found".
[[nodiscard]] Result<UnitStatus> read_status(sd_bus* bus, const std::string& unit);

}  // namespace nexus::drivers
