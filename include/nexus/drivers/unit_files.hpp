// Whether a unit comes up by itself: enabling and disabling its file, as systemctl does.
//
// Errors name the unit: kNotFound (no such file), kConflict (masked, nothing to enable it by),
// kPermissionDenied, kUnavailable, kTimeout. Thread safety: any thread; a connection each.
#pragma once

#include <string>
#include <string_view>

#include "nexus/base/result.hpp"

namespace nexus::drivers {

/// "enabled", "disabled", "static", "masked", ...; systemd loads nothing for it. `address` as of
/// Systemd.
[[nodiscard]] Result<std::string> unit_file_state(std::string_view unit,
                                                  const std::string& address = {});
/// For good (below /etc), and systemd reads its files anew. kConflict: its file has no [Install].
[[nodiscard]] Status enable_unit_file(std::string_view unit, const std::string& address = {});
[[nodiscard]] Status disable_unit_file(std::string_view unit, const std::string& address = {});

}  // namespace nexus::drivers
