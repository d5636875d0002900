// What adjust_memory and performance_tuning have in common for units: properties of a service that
// systemd keeps in its control group, set at run time, read back, and taken back when they did not
// help. Thread safety: as nexus/execute/step.hpp says.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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
  std::string_view used;       // what of it the service takes now: "MemoryCurrent"; may be empty
  unsigned least_percent = 0;  // of that: below it the limit would do harm at once, and is refused,
                               // on the way back too
};

/// kConflict: below what is in use the limit would have the kernel kill, stop or starve the service
/// at once. Where the kernel does not count (`used` is missing), it does not limit either.
[[nodiscard]] Status check_limit(std::string_view target, const SettableProperty& what,
                                 std::uint64_t limit, std::optional<std::uint64_t> used);
[[nodiscard]] std::unique_ptr<Step> make_property_step(std::span<const SettableProperty> settable);

inline constexpr std::string_view kPropertyUndo =
    "the service gets the limits back that it had; they are set at run time and end with the boot";

}  // namespace nexus::execute
