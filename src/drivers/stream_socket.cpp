#include "drivers/stream_socket.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "drivers/socket_wait.hpp"

namespace nexus::drivers {
namespace {

Result<host::Fd> connect_to(Clock& clock, const sockaddr* address, socklen_t size,
                            SteadyTime deadline) {
  host::Fd socket(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return std::unexpected(Error::from_errno("socket"));
  if (::connect(socket.get(), address, size) == 0) return socket;
  // EAGAIN: the backlog of a unix socket is full; there is nothing to wait for.
  if (errno == EAGAIN) return fail(Errc::kUnavailable, "connect: too many wait to be accepted");
  if (errno != EINPROGRESS) return std::unexpected(Error::from_errno("connect"));
  if (auto ready = wait_for_socket(clock, socket.get(), POLLOUT, deadline); !ready)
    return propagate(std::move(ready), "connect");
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) return std::unexpected(Error::from_errno(error, "connect"));
  return socket;
}

Result<host::Fd> connect_unix(Clock& clock, const std::string& path, SteadyTime deadline) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof address.sun_path)
    return fail(Errc::kInvalidArgument, "the path of a unix socket has at most {} characters",
                sizeof address.sun_path - 1);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return connect_to(clock, reinterpret_cast<const sockaddr*>(&address), sizeof address, deadline);
}

}  // namespace

Result<host::Fd> connect_stream(Clock& clock, const std::string& host, std::uint16_t port,
                                SteadyTime deadline) {
  if (host.starts_with('/')) return connect_unix(clock, host, deadline);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
      error != 0)
    return fail(Errc::kUnavailable, "resolve {}: {}", host, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(list, ::freeaddrinfo);
  Result<host::Fd> last = fail(Errc::kUnavailable, "resolve {}: no address", host);
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    last = connect_to(clock, one->ai_addr, one->ai_addrlen, deadline);
    if (last) {
      const int on = 1;
      ::setsockopt(last->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return last;
    }
    if (last.error().code() == Errc::kTimeout) return last;
  }
  return last;
}

}  // namespace nexus::drivers
