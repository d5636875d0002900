// CPU time that a thread used: what a piece of work costs, whatever else the machine does
// meanwhile.
//
// Thread safety: any thread; of the calling thread.
#pragma once

#include "nexus/base/clock.hpp"

namespace nexus::base {

[[nodiscard]] Nanos thread_cpu_time() noexcept;

}  // namespace nexus::base
