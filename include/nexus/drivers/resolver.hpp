// Names to addresses with a time limit, over the system's resolver (nsswitch.conf, hosts, DNS).
//
// Each look-up has a thread of its own. One that does not come back in time is left behind; at most
// kMostHanging of them, after that names are refused until some have come back. Errors: kNotFound,
// kTimeout, kExhausted. Thread safety: any thread.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"

namespace nexus::drivers {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] int family() const noexcept { return storage.ss_family; }
  [[nodiscard]] std::string text() const;  // the address without its port
  void set_port(std::uint16_t port) noexcept;
};

enum class Prefer { kIp4, kIp6 };
enum class OtherFamily { kAllowed, kRefused };
inline constexpr std::size_t kMostHanging = 32;

/// The first address of the preferred family; of the other one when there is none and it is
/// allowed.
[[nodiscard]] Result<Address> resolve(const std::string& host, Prefer prefer, OtherFamily other,
                                      Millis limit);

/// "host:port" or "[v6]:port" or a host alone, with `otherwise` as its port.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
[[nodiscard]] Result<HostPort> split_host_port(std::string_view text, std::uint16_t otherwise);

}  // namespace nexus::drivers
