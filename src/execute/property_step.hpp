// What adjust_memory and performance_tuning have in common for units: properties of a service that
// systemd keeps in its control group, set at run time, read back, and taken back when they did not
// help. Thread safety: as nexus/execute/step.hpp says.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "nexus/execute/step.hpp"

namespace nexus::execute {

enum class PropertyKind {
  kBytes,    // "512MiB", "infinity", "+25%" of what it is
  kWeight,   // 1 to 10000
  kPercent,  // of one processor, 1 to 1000000; kept in microseconds a second
  kCount,    // 1 to 10000000
};

struct SettableProperty {
  std::string_view parameter;  // "memory_max"
  std::string_view property;   // "MemoryMax"
  PropertyKind kind;
};

[[nodiscard]] std::unique_ptr<Step> make_property_step(std::span<const SettableProperty> settable);

inline constexpr std::string_view kPropertyUndo =
    "the service gets the limits back that it had; they are set at run time and end with the boot";

}  // namespace nexus::execute
