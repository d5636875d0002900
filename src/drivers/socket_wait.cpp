#include "drivers/socket_wait.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>

namespace nexus::drivers {
namespace {

// Looks at the deadline this often, in case the clock is not the one that poll(2) goes by.
constexpr Millis kLongestPoll{1000};

}  // namespace

Status wait_for_socket(Clock& clock, int fd, short events, SteadyTime deadline) {
  while (true) {
    const SteadyTime now = clock.steady();
    if (now >= deadline) return fail(Errc::kTimeout, "no answer in time");
    const auto left = std::chrono::ceil<Millis>(deadline - now);
    pollfd one{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&one, 1, static_cast<int>(std::min(left, kLongestPoll).count()));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return std::unexpected(Error::from_errno("poll"));
  }
}

}  // namespace nexus::drivers
