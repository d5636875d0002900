// What a container may take, set while it runs, read back, and taken back when it did not help: the
// container's side of adjust_memory and performance_tuning. Thread safety: as
// nexus/execute/step.hpp says.
#pragma once

#include <memory>

#include "nexus/execute/step.hpp"

namespace nexus::execute {

/// Parameters memory_max, memory_high (the engine's reservation), memory_swap_max; cpu_weight,
/// cpu_quota, tasks_max. Memory is never set below what the container takes now, neither on the way
/// there nor back.
[[nodiscard]] std::unique_ptr<Step> make_container_limits_step();

/// A target of the kind docker goes to the one step, every other to the other.
[[nodiscard]] std::unique_ptr<Step> make_limits_step(std::unique_ptr<Step> of_containers,
                                                     std::unique_ptr<Step> of_others);

}  // namespace nexus::execute
