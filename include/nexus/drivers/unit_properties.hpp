// Properties of a unit that are set at run time (systemctl set-property --runtime): limits and
// weights, numbers all of them. They hold until the next boot, or until they are set back.
//
// Errors: as systemd.hpp says, naming the unit. Thread safety: any thread; each call has a
// connection of its own. Documents: org.freedesktop.systemd1(5), systemd.resource-control(5).
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "nexus/base/result.hpp"

namespace nexus::drivers {

inline constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

struct NumberProperty {
  std::string_view name;  // "MemoryMax"
  std::uint64_t value;    // kNoLimit: "infinity"
};

/// All of them, or none. `address` as of Systemd.
[[nodiscard]] Status set_unit_properties(std::string_view unit,
                                         std::span<const NumberProperty> properties,
                                         const std::string& address = {});

}  // namespace nexus::drivers
