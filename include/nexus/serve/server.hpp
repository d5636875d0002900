// Server: the listeners, sessions and limits around a Router. Beast, one io thread, a small pool
// for blocking handlers.
//
// Hardened: connections, requests per connection, header and body sizes, header count, and the time
// for reading and writing one request are bounded; strict about Host, Transfer-Encoding, methods
// and targets; a foreign Host or a cross-site request is refused; accept errors (EMFILE) back off
// and go on. Every refusal is counted in nexus_http_*.
//
// Life cycle: make() binds all listeners, start() serves (a TCP address that cannot be had is asked
// for again every two seconds; an error names what is no address, or a unix socket that is taken),
// stop() closes the listeners, lets running requests finish within `grace`, then closes. A handler
// that then does not heed Request::cancelled for `handler_grace` more is left behind on its thread
// (left_behind()): what it refers to must outlive it. A request that has begun and does not come
// within read_timeout is answered 408; a connection that was idle too long is closed. A unix
// socket is bound with mode 0660; a stale one is replaced, a live one is an error. Thread safety:
// all members, any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/server.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/serve/auth.hpp"
#include "nexus/serve/http.hpp"

namespace nexus::serve {

class Server {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Server>> make(
      Clock& clock, const config::HttpSection& http,
      std::shared_ptr<const Authenticator> authenticator, std::shared_ptr<const Router> router,
      knowledge::SelfMetrics& self);
  ~Server();

  void start();
  static constexpr Millis kHandlerGrace{5000};
  void stop(Millis grace, Millis handler_grace = kHandlerGrace);
  /// After a reload: tokens, hosts and limits hold from the next request on; listeners stay as they
  /// are.
  void set(std::shared_ptr<const Authenticator> authenticator, const config::HttpSection& http);

  /// Where it listens, with the real port where 0 was asked for: "http://127.0.0.1:8060",
  /// "unix:/run/...".
  [[nodiscard]] std::vector<std::string> addresses() const;
  /// Why addresses that are waited for cannot be had: "listen on 127.0.0.1:8060: Address already in
  /// use".
  [[nodiscard]] std::vector<std::string> waits_for() const;
  [[nodiscard]] std::size_t connections() const;
  /// After stop(): handlers that did not end. The process must leave by _Exit then.
  [[nodiscard]] std::size_t left_behind() const;
  /// When the io thread last made a turn, for the watchdog.
  [[nodiscard]] SteadyTime last_turn() const;

  struct Impl;

 private:
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::serve
