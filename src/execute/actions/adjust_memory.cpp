#include <array>

#include "execute/actions.hpp"
#include "execute/container_limits.hpp"
#include "execute/property_step.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<SettableProperty, 3> kSettable{{
    // Half: caches may be squeezed, a service that lives in reclaim may not be.
    {"memory_high", "MemoryHigh", PropertyKind::kBytes, "MemoryCurrent", 50},
    {"memory_max", "MemoryMax", PropertyKind::kBytes, "MemoryCurrent", 110},
    {"memory_swap_max", "MemorySwapMax", PropertyKind::kBytes, "", 0},
}};

constexpr std::array<ParameterDescriptor, 3> kParameters{{
    {.name = "memory_high",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "from here on it is slowed down and has to give back: \"512MiB\", \"infinity\", or "
             "\"+25%\" of what it is; never below half of what the service takes now"},
    {.name = "memory_max",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help =
         "from here on the kernel kills in it; never below 1.1 times what the service takes now"},
    {.name = "memory_swap_max",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "of swap"},
}};

}  // namespace

const ActionDescriptor kAdjustMemory{
    .name = "adjust_memory",
    .help =
        "Sets how much memory a service may take, at run time, reads it back, and takes it back "
        "when it did not help.",
    .target_help = "a service of systemd, or \"docker:NAME\"",
    .parameters = kParameters,
    .make =
        [] {
          return make_limits_step(make_container_limits_step(), make_property_step(kSettable));
        },
    .undo_help = kPropertyUndo,
    .targets_units = true,
    .sets_values = true,
};

}  // namespace nexus::execute
