// Whether a unit comes up by itself: what its file says. host::Privileged changes it.
//
// Errors name the unit: kNotFound (no such file), kPermissionDenied, kUnavailable, kTimeout.
// Thread safety: any thread; a connection each.
#pragma once

#include <string>
#include <string_view>

#include "nexus/base/result.hpp"

namespace nexus::drivers {

/// "enabled", "disabled", "static", "masked", ...; systemd loads nothing for it. `address` as of
/// Systemd.
[[nodiscard]] Result<std::string> unit_file_state(std::string_view unit,
                                                  const std::string& address = {});

}  // namespace nexus::drivers
