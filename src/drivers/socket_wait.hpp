// Waiting for a socket until a deadline. The wait is real time, the deadline the given clock's.
// Thread safety: pure function.
#pragma once

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"

namespace nexus::drivers {

/// `events` of poll(2). kTimeout at the deadline; an error of the socket counts as ready, for the
/// next call on it says what is wrong.
[[nodiscard]] Status wait_for_socket(Clock& clock, int fd, short events, SteadyTime deadline);

}  // namespace nexus::drivers
