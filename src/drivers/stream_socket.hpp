// A connected stream socket that does not block: TCP, or a unix socket when the host is a path.
// Thread safety: pure function; the descriptor belongs to one thread.
#pragma once

#include <cstdint>
#include <string>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::drivers {

/// Tries the addresses of a name one after the other. Only resolving the name ignores the deadline.
[[nodiscard]] Result<host::Fd> connect_stream(Clock& clock, const std::string& host,
                                              std::uint16_t port, SteadyTime deadline);

}  // namespace nexus::drivers
