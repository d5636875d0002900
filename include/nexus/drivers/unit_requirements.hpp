// What a unit of systemd cannot run without: the services, sockets and mounts of its Requires=,
// BindsTo= and Requisite=, as systemd has them, those it added by itself among them.
//
// Errors: as systemd.hpp says, naming the unit. Thread safety: any thread; each call has a
// connection of its own. Documents: org.freedesktop.systemd1(5), systemd.unit(5).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::drivers {

/// `address` as of Systemd.
[[nodiscard]] Result<std::vector<std::string>> unit_requirements(std::string_view unit,
                                                                 const std::string& address = {});

}  // namespace nexus::drivers
