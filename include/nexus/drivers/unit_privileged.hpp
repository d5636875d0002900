// UnitPrivileged: host::Privileged in this process, units among it, which systemd is asked for over
// D-Bus. Only whoever composes the program makes one; all others know host::Privileged.
//
// Each call has a connection of its own, so that a job that takes a minute blocks nobody. A job is
// awaited by the JobRemoved signal, matched before the job is queued. The bus and the errors: as
// systemd.hpp says. Thread safety: any thread, several at once.
#pragma once

#include <string>

#include "nexus/host/privileged.hpp"

namespace nexus::drivers {

class UnitPrivileged final : public host::LocalPrivileged {
 public:
  /// `address` as of Systemd.
  explicit UnitPrivileged(Clock& clock, std::string address = {})
      : LocalPrivileged(clock), clock_(clock), address_(std::move(address)) {}

  [[nodiscard]] Result<host::JobOutcome> unit_job(host::UnitJob job, std::string_view unit,
                                                  const host::JobWait& wait) override;
  [[nodiscard]] Status reset_unit(std::string_view unit) override;
  [[nodiscard]] Status set_unit_properties(
      std::string_view unit, std::span<const host::NumberProperty> properties) override;
  [[nodiscard]] Status set_unit_enabled(std::string_view unit, bool enabled) override;

 private:
  Clock& clock_;
  const std::string address_;
};

}  // namespace nexus::drivers
