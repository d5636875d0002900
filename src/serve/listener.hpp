// One listening socket: accepts, caps, and goes on after errors.
//
// On the io thread, but for address() and waits_for() (any thread). An accept error (EMFILE,
// ENFILE, ECONNABORTED) is counted and retried after a pause, so that one error never ends the
// listener. Over the cap a connection is closed at once and counted. A TCP address that cannot be
// had now (another program has it, the interface is not up yet) is asked for again every two
// seconds.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>

#include "serve/state.hpp"

namespace nexus::serve {

class Listener {
 public:
  virtual ~Listener() = default;
  virtual void start() = 0;
  virtual void close() = 0;  // io thread
  /// Where it listens; empty while it waits for its address.
  [[nodiscard]] virtual std::string address() const = 0;
  /// Why it does not listen yet, naming the address; empty when it does.
  [[nodiscard]] virtual std::string waits_for() const = 0;
};

/// Binds "host:port", "[::1]:port" or "unix:/path". An error: it is no address, or another agent
/// serves this path.
[[nodiscard]] Result<std::shared_ptr<Listener>> listen(std::shared_ptr<ServerState> state,
                                                       const std::string& spec);

}  // namespace nexus::serve
