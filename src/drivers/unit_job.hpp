// One job of systemd, from queueing it to its end. Thread safety: none, one thread and one
// connection a job.
#pragma once

#include "drivers/bus.hpp"

namespace nexus::drivers {

/// Systemd::job() on a connection that nobody else uses. `unit` is normalized.
[[nodiscard]] Result<JobOutcome> run_job(sd_bus* bus, Clock& clock, UnitJob job,
                                         const std::string& unit, const JobWait& wait);

/// All properties of a unit. The caller judges a load state of "not-found".
[[nodiscard]] Result<UnitStatus> read_status(sd_bus* bus, const std::string& unit);

}  // namespace nexus::drivers
