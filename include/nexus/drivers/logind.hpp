// Who is logged in, asked of systemd-logind over D-Bus (org.freedesktop.login1(5)).
//
// Errors: kUnavailable (no bus, or no logind on it), kTimeout. Each call has a connection of its
// own. Thread safety: any thread.
#pragma once

#include <string>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::drivers {

struct LoginSession {
  std::string seat;  // empty for remote sessions
  std::string type;  // unspecified, tty, x11, wayland, mir, web
  std::string kind;  // its Class: user, greeter, lock-screen, background, ...
  bool remote = false;
};

struct Logins {
  std::vector<std::string> seats;
  std::vector<LoginSession> sessions;  // at most 1000
};

/// `address`: of the bus; empty for the system bus.
[[nodiscard]] Result<Logins> read_logins(const std::string& address = {});

}  // namespace nexus::drivers
