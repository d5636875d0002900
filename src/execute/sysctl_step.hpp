// What network_optimization and performance_tuning have in common: kernel parameters from an
// allow-list with ranges, set together, read back, and taken back when they did not help. Thread
// safety: as nexus/execute/step.hpp says.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "nexus/execute/step.hpp"

namespace nexus::execute {

/// A parameter that may be set: those with several numbers (tcp_rmem) have the range for each.
struct AllowedSysctl {
  std::string_view name;
  std::int64_t min;
  std::int64_t max;
};

[[nodiscard]] std::unique_ptr<Step> make_sysctl_step(std::span<const AllowedSysctl> shipped,
                                                     std::string_view prefix);
[[nodiscard]] std::string list_sysctls(std::span<const AllowedSysctl> shipped);
extern const std::span<const ParameterDescriptor> kSysctlParameters;

inline constexpr std::string_view kSysctlTargetHelp =
    "the name of a kernel parameter, e.g. \"net.core.somaxconn\"";
inline constexpr std::string_view kSysctlUndo = "it gets the value back that it had";

}  // namespace nexus::execute
