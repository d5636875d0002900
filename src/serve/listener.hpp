// One listening socket: accepts, caps, and goes on after errors.
//
// All on the io thread. An accept error (EMFILE, ENFILE, ECONNABORTED) is counted and retried after
// a pause, so that one error never ends the listener. Over the cap a connection is closed at once
// and counted.
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
  [[nodiscard]] virtual std::string address() const = 0;
};

/// Binds "host:port", "[::1]:port" or "unix:/path".
[[nodiscard]] Result<std::shared_ptr<Listener>> listen(std::shared_ptr<ServerState> state,
                                                       const std::string& spec);

}  // namespace nexus::serve
