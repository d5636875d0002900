// What network_optimization and performance_tuning have in common: kernel parameters from an
// allow-list with ranges, set together, read back, and taken back when they did not help. Thread
// safety: as nexus/execute/step.hpp says.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "nexus/execute/step.hpp"

namespace nexus::execute {

/// A parameter that may be set: those with several numbers (tcp_rmem) have the range for each.
struct AllowedSysctl {
  std::string_view name;
  std::int64_t min;
  std::int64_t max;
  /// Another parameter that the kernel sets to 0 when this one is set, and the other way round: as
  /// long as that one is in use, this one is left alone.
  std::string_view instead_of = "";
  /// What is in use of it now; it is never set below 1.2 times that. May be null.
  std::optional<std::int64_t> (*in_use)() = nullptr;
};

[[nodiscard]] std::unique_ptr<Step> make_sysctl_step(std::span<const AllowedSysctl> shipped,
                                                     std::string_view prefix);
[[nodiscard]] std::string list_sysctls(std::span<const AllowedSysctl> shipped);
/// The number that a file of /proc begins with.
[[nodiscard]] std::optional<std::int64_t> first_number(const char* path);
extern const std::span<const ParameterDescriptor> kSysctlParameters;

inline constexpr std::string_view kSysctlTargetHelp =
    "the name of a kernel parameter, e.g. \"net.core.somaxconn\"";
inline constexpr std::string_view kSysctlUndo = "it gets the value back that it had";

}  // namespace nexus::execute
