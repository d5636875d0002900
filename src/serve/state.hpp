// What all sessions of a server share.
//
// Owned by shared_ptr: a session that outlives the Server's stop still finds it. Thread safety:
// `settings` behind its mutex; counters are lock-free; the rest is constant after construction.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/gate.hpp"
#include "nexus/config/server.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/serve/auth.hpp"
#include "nexus/serve/http.hpp"

namespace nexus::serve {

/// Replaced whole by a reload.
struct Settings {
  config::HttpSection http;
  std::shared_ptr<const Authenticator> authenticator;
  std::vector<std::string> allowed_hosts;  // lower case, the machine's own name among them
};

struct ServerMetrics {
  explicit ServerMetrics(knowledge::SelfMetrics& self);
  knowledge::Counter responses_2xx;
  knowledge::Counter responses_3xx;
  knowledge::Counter responses_4xx;
  knowledge::Counter responses_5xx;
  knowledge::Gauge connections;
  knowledge::Counter accepted;
  knowledge::Counter accept_errors;
  knowledge::Counter timeouts;
  knowledge::Counter listen_errors;
  knowledge::Gauge listeners_missing;
  knowledge::SelfMetrics& registry;

  void count_response(unsigned status) const;
  /// `reason` is one of a closed set of words.
  void count_refused(std::string_view reason) const;
};

/// A connection as the server sees it, whatever its protocol.
class Connection {
 public:
  virtual ~Connection() = default;
  /// Called on the io thread: closes at once when idle, after the running response otherwise.
  virtual void shut_down() = 0;
  /// Closes the stream whatever is going on.
  virtual void abort() = 0;
};

/// Threads for one kind of handlers that may wait, and how many of them do: those that are queued
/// or run.
struct Lane {
  explicit Lane(std::size_t threads) : pool(threads) {}
  boost::asio::thread_pool pool;
  std::atomic<std::size_t> waiting{0};
};

struct ServerState {
  ServerState(Clock& the_clock, std::shared_ptr<const Router> the_router,
              knowledge::SelfMetrics& self)
      : clock(the_clock), router(std::move(the_router)), metrics(self), handlers(the_clock) {}

  Clock& clock;
  const std::shared_ptr<const Router> router;
  const ServerMetrics metrics;
  base::Gate handlers;  // those that run on a pool; destroyed after the pools
  boost::asio::io_context io{1};
  Lane readers{2};
  Lane control{1};   // those who act: no reader's query delays them
  Lane switches{2};  // the kill switch: neither an action nor a start delays a stop
  Lane outside{1};   // who waits for a server that may hang
  Lane scrapes{1};   // who watches this host: no query delays or refuses them
  Lane bulk{1};      // what takes its time: no person who acts waits for it
  boost::asio::thread_pool writers{1};  // makes the pieces of long answers
  std::atomic<bool> stopping{false};
  std::vector<std::weak_ptr<Connection>> sessions;  // io thread only
  std::atomic<std::size_t> connections{0};
  std::atomic<std::size_t> local_connections{0};  // of them over unix sockets

  [[nodiscard]] std::shared_ptr<const Settings> settings() const {
    const std::lock_guard guard(mutex_);
    return settings_;
  }
  void set(std::shared_ptr<const Settings> settings) {
    const std::lock_guard guard(mutex_);
    settings_ = std::move(settings);
  }

  void join_lanes() {
    for (Lane* lane : {&readers, &control, &switches, &outside, &scrapes, &bulk}) lane->pool.join();
    writers.join();
  }

  /// More than this many waiting handlers of a lane are answered 503: beyond it nobody would wait
  /// for the answer.
  static constexpr std::size_t kMaxWaiting = 256;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Settings> settings_;
};

/// Routes an authenticated request. On the io thread; `done` is called on the io thread, at once or
/// later.
void dispatch(const std::shared_ptr<ServerState>& state, Request request,
              std::function<void(Response)> done);

}  // namespace nexus::serve
