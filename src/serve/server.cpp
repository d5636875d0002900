#include "nexus/serve/server.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <system_error>
#include <thread>

#include "nexus/base/log.hpp"
#include "nexus/base/loop_thread.hpp"
#include "serve/listener.hpp"
#include "serve/state.hpp"

namespace nexus::serve {
namespace {

namespace asio = boost::asio;

constexpr auto kHeartbeat = std::chrono::seconds(1);

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::shared_ptr<const Settings> make_settings(std::shared_ptr<const Authenticator> authenticator,
                                              const config::HttpSection& http) {
  auto settings = std::make_shared<Settings>();
  settings->http = http;
  settings->authenticator = std::move(authenticator);
  for (const auto& host : http.allowed_hosts) settings->allowed_hosts.push_back(lower(host));
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) == 0)
    settings->allowed_hosts.push_back(lower(name.data()));
  return settings;
}

}  // namespace

struct Server::Impl {
  explicit Impl(std::shared_ptr<ServerState> shared)
      : state(std::move(shared)), heartbeat(state->io) {}

  void beat() {
    if (state->stopping) return;  // the timer is the deadline of the stop now
    last_turn.store(state->clock.steady().time_since_epoch().count(), std::memory_order_release);
    heartbeat.expires_after(kHeartbeat);
    heartbeat.async_wait([this](boost::system::error_code ec) {
      if (!ec) beat();
    });
  }

  /// An exception out of a handler (memory, a library) costs its connection, not the server.
  void run() {
    while (true) {
      try {
        state->io.run();
        return;
      } catch (const std::exception& exception) {
        log::error("serve", "a connection was given up: {}", exception.what());
      }
    }
  }

  /// Ends the pools. A handler that does not end in time keeps its thread and the state.
  void end_handlers(Millis grace) {
    state->handlers.close();  // those that wait for a thread still end at once
    if (state->handlers.wait(state->clock.steady() + grace)) {
      state->pool.join();
      state->control.join();
      state->switches.join();
      state->outside.join();
      state->writers.join();
      return;
    }
    left_behind = state->handlers.inside();
    log::error("serve", "{} requests did not end in time and are left behind", left_behind);
    // Its thread uses the state still, whose destructor would wait for it: never destroyed.
    static auto& kept = *new std::vector<std::shared_ptr<ServerState>>;
    kept.push_back(state);
  }

  std::shared_ptr<ServerState> state;
  std::size_t left_behind = 0;
  std::vector<std::shared_ptr<Listener>>
      listeners;  // the same from make() on: any thread asks them
  asio::steady_timer heartbeat;
  std::atomic<std::int64_t> last_turn{0};
  std::thread thread;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() {
  stop(Millis(0));
}

Result<std::unique_ptr<Server>> Server::make(Clock& clock, const config::HttpSection& http,
                                             std::shared_ptr<const Authenticator> authenticator,
                                             std::shared_ptr<const Router> router,
                                             knowledge::SelfMetrics& self) {
  std::unique_ptr<Impl> impl;
  try {
    impl = std::make_unique<Impl>(std::make_shared<ServerState>(clock, std::move(router), self));
  } catch (const std::system_error& error) {
    return fail(Errc::kUnavailable, "the server's threads cannot be made: {}", error.what());
  }
  impl->state->set(make_settings(std::move(authenticator), http));
  for (const auto& spec : http.listen) {
    auto listener = listen(impl->state, spec);
    if (!listener) {
      for (auto& bound : impl->listeners) bound->close();
      return std::unexpected(listener.error());
    }
    impl->listeners.push_back(std::move(*listener));
  }
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::start() {
  for (auto& listener : impl_->listeners) listener->start();
  impl_->beat();
  try {
    impl_->thread = std::thread([impl = impl_.get()] {
      base::name_this_thread("serve-io");
      impl->run();
    });
  } catch (const std::system_error& error) {
    // The agent still watches and acts; last_turn() stands still, which its watchdog sees.
    log::error("serve", "the thread of the server cannot be made, nothing is served: {}",
               error.what());
  }
}

void Server::stop(Millis grace, Millis handler_grace) {
  if (!impl_->thread.joinable()) {
    for (auto& listener : impl_->listeners) listener->close();
    return;
  }
  const auto& state = impl_->state;
  asio::post(state->io, [this, state, grace] {
    state->stopping = true;
    for (auto& listener : impl_->listeners) listener->close();
    for (auto& weak : state->sessions) {
      if (const auto session = weak.lock()) session->shut_down();
    }
    // With listeners closed and the heartbeat ended the io thread runs out of work when the last
    // session ends; the timer is the deadline for those that do not.
    impl_->heartbeat.expires_after(grace);
    impl_->heartbeat.async_wait([state](boost::system::error_code ec) {
      if (!ec) state->io.stop();
    });
    const auto watch = [](const auto& self, Impl* impl) -> void {
      if (impl->state->connections == 0) {
        impl->heartbeat.cancel();
        return;
      }
      auto timer =
          std::make_shared<asio::steady_timer>(impl->state->io, std::chrono::milliseconds(10));
      timer->async_wait([self, impl, timer](boost::system::error_code) { self(self, impl); });
    };
    watch(watch, impl_.get());
  });
  impl_->thread.join();
  impl_->end_handlers(handler_grace);
  // Sessions that outlived the grace time hold the state and the state holds their handlers: run
  // those to their end here.
  for (auto& weak : state->sessions) {
    if (const auto session = weak.lock()) session->abort();
  }
  state->io.restart();
  state->io.poll();
}

void Server::set(std::shared_ptr<const Authenticator> authenticator,
                 const config::HttpSection& http) {
  impl_->state->set(make_settings(std::move(authenticator), http));
}

std::vector<std::string> Server::addresses() const {
  std::vector<std::string> out;
  for (const auto& listener : impl_->listeners) {
    if (auto address = listener->address(); !address.empty()) out.push_back(std::move(address));
  }
  return out;
}

std::vector<std::string> Server::waits_for() const {
  std::vector<std::string> out;
  for (const auto& listener : impl_->listeners) {
    if (auto why = listener->waits_for(); !why.empty()) out.push_back(std::move(why));
  }
  return out;
}

std::size_t Server::connections() const {
  return impl_->state->connections;
}

std::size_t Server::left_behind() const {
  return impl_->left_behind;
}

SteadyTime Server::last_turn() const {
  return SteadyTime(Nanos(impl_->last_turn.load(std::memory_order_acquire)));
}

}  // namespace nexus::serve
