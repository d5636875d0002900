#include "serve/listener.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <mutex>
#include <utility>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "serve/session.hpp"

namespace nexus::serve {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Local = asio::local::stream_protocol;

constexpr int kBacklog = 1024;
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
constexpr auto kBindAgain = std::chrono::seconds(2);

Peer peer_of(const tcp::socket& socket) {
  boost::system::error_code ec;
  const auto remote = socket.remote_endpoint(ec);
  Peer peer;
  if (ec) return peer;
  const auto ip = remote.address().to_string();
  peer.address = remote.address().is_v6() ? fmt::format("[{}]:{}", ip, remote.port())
                                          : fmt::format("{}:{}", ip, remote.port());
  return peer;
}

Peer peer_of(Local::socket& socket) {
  Peer peer;
  peer.local = true;
  peer.uid = static_cast<std::uint32_t>(-1);  // nobody, should the kernel not tell
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
    peer.uid = credentials.uid;
    peer.pid = static_cast<std::uint32_t>(credentials.pid);
  }
  return peer;
}

/// Binds the acceptor and says where it listens.
template <class Protocol>
using Bind = std::function<Result<std::string>(typename Protocol::acceptor&)>;

template <class Protocol, class Stream>
class AcceptLoop final : public Listener,
                         public std::enable_shared_from_this<AcceptLoop<Protocol, Stream>> {
 public:
  /// `path`: of a unix socket.
  AcceptLoop(std::shared_ptr<ServerState> state, Bind<Protocol> bind, std::string path)
      : state_(std::move(state)),
        bind_(std::move(bind)),
        acceptor_(state_->io),
        pause_(state_->io),
        path_(std::move(path)) {}

  /// Before start(), or on the io thread.
  Status bind() {
    auto bound = bind_(acceptor_);
    const std::lock_guard guard(mutex_);
    address_ = bound ? *bound : std::string();
    waits_for_ = bound ? std::string() : bound.error().message();
    if (!bound) return propagate(std::move(bound));
    return {};
  }

  void start() override {
    if (acceptor_.is_open()) return accept();
    state_->metrics.listeners_missing.add(1);
    bind_later();
  }

  void close() override {
    // Once: by the second time the path may be another agent's.
    if (std::exchange(closed_, true)) return;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  [[nodiscard]] std::string address() const override {
    const std::lock_guard guard(mutex_);
    return address_;
  }

  [[nodiscard]] std::string waits_for() const override {
    const std::lock_guard guard(mutex_);
    return waits_for_;
  }

 private:
  void bind_later() {
    pause_.expires_after(kBindAgain);
    pause_.async_wait([self = this->shared_from_this()](boost::system::error_code) {
      if (self->closed_) return;
      if (!self->bind()) {
        self->state_->metrics.listen_errors.add();
        return self->bind_later();
      }
      self->state_->metrics.listeners_missing.add(-1);
      log::info("serve", "listens on {} now", self->address());
      self->accept();
    });
  }

  void accept() {
    acceptor_.async_accept([self = this->shared_from_this()](boost::system::error_code ec,
                                                             typename Protocol::socket socket) {
      self->on_accept(ec, std::move(socket));
    });
  }

  void on_accept(boost::system::error_code ec, typename Protocol::socket socket) {
    if (!acceptor_.is_open()) return;
    if (ec) {
      state_->metrics.accept_errors.add();
      pause_.expires_after(kAcceptPause);
      pause_.async_wait([self = this->shared_from_this()](boost::system::error_code) {
        if (self->acceptor_.is_open()) self->accept();
      });
      return;
    }
    if (taken() >= state_->settings()->http.max_connections) {
      state_->metrics.count_refused("too_many_connections");
      boost::system::error_code ignored;
      socket.close(ignored);
    } else {
      serve(std::move(socket));
    }
    accept();
  }

  /// Those over unix sockets count for themselves: whoever takes every connection over TCP, which
  /// anybody on the host may, does not keep administrators from the kill switch.
  [[nodiscard]] std::size_t taken() const {
    const std::size_t local = state_->local_connections;
    return std::is_same_v<Protocol, tcp> ? state_->connections - local : local;
  }

  void serve(typename Protocol::socket socket) {
    state_->metrics.accepted.add();
    auto peer = peer_of(socket);
    if constexpr (std::is_same_v<Protocol, tcp>) {
      boost::system::error_code ignored;
      socket.set_option(tcp::no_delay(true), ignored);
    }
    auto session = std::make_shared<Session<Stream>>(state_, std::move(socket), std::move(peer));
    auto& sessions = state_->sessions;
    // Swept when it has doubled, so that the list costs amortised constant time and no more than
    // twice the living.
    if (sessions.size() >= sweep_at_) {
      std::erase_if(sessions, [](const auto& weak) { return weak.expired(); });
      sweep_at_ = std::max<std::size_t>(64, sessions.size() * 2);
    }
    sessions.push_back(session);
    session->start();
  }

  const std::shared_ptr<ServerState> state_;
  const Bind<Protocol> bind_;
  typename Protocol::acceptor acceptor_;
  asio::steady_timer pause_;
  const std::string path_;  // of a unix socket
  std::size_t sweep_at_ = 64;
  bool closed_ = false;
  mutable std::mutex mutex_;
  std::string address_;    // guarded by mutex_
  std::string waits_for_;  // guarded by mutex_
};

Result<tcp::endpoint> parse_endpoint(const std::string& spec) {
  const auto colon = spec.rfind(':');
  std::string host = spec.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  const auto port = base::parse_uint(
      std::string_view(spec).substr(colon == std::string::npos ? spec.size() : colon + 1));
  boost::system::error_code ec;
  const auto address = asio::ip::make_address(host.empty() || host == "*" ? "0.0.0.0" : host, ec);
  if (ec || !port || *port > 65535) {
    return fail(Errc::kInvalidArgument, "\"{}\": expected ADDRESS:PORT or unix:/PATH", spec);
  }
  return tcp::endpoint(address, static_cast<std::uint16_t>(*port));
}

Result<std::string> bind_tcp(tcp::acceptor& acceptor, const tcp::endpoint& endpoint,
                             const std::string& spec) {
  boost::system::error_code ec;
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(kBacklog, ec);
  if (ec) {
    boost::system::error_code ignored;
    acceptor.close(ignored);
    return fail(Errc::kUnavailable, "listen on {}: {}", spec, ec.message());
  }
  const auto port = acceptor.local_endpoint().port();
  const auto ip = endpoint.address().to_string();
  return endpoint.address().is_v6() ? fmt::format("http://[{}]:{}", ip, port)
                                    : fmt::format("http://{}:{}", ip, port);
}

/// An agent that cannot be asked over TCP still watches and heals, and its unix socket serves.
Result<std::shared_ptr<Listener>> listen_tcp(std::shared_ptr<ServerState> state,
                                             const std::string& spec) {
  const auto endpoint = parse_endpoint(spec);
  if (!endpoint) return std::unexpected(endpoint.error());
  const auto errors = state->metrics.listen_errors;
  auto made = std::make_shared<AcceptLoop<tcp, boost::beast::tcp_stream>>(
      std::move(state),
      [endpoint = *endpoint, spec](tcp::acceptor& acceptor) {
        return bind_tcp(acceptor, endpoint, spec);
      },
      std::string());
  if (auto bound = made->bind(); !bound) {
    errors.add();
    log::error("serve", "{}; the agent goes on without it and tries again every {} s",
               bound.error().message(), kBindAgain.count());
  }
  return made;
}

/// Removes a socket file that nobody serves any more; an error when somebody does.
Status remove_stale(asio::io_context& io, const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode))
    return fail(Errc::kAlreadyExists, "{} exists and is no socket", path);
  Local::socket probe(io);
  boost::system::error_code ec;
  probe.connect(Local::endpoint(path), ec);
  if (!ec) return fail(Errc::kAlreadyExists, "another agent listens on {}", path);
  // Only this says that nobody is behind it: a live one that we may not talk to stays.
  if (ec != boost::asio::error::connection_refused) {
    return fail(Errc::kUnavailable, "unix:{}: {}", path, ec.message());
  }
  ::unlink(path.c_str());
  return {};
}

Result<std::string> bind_local(Local::acceptor& acceptor, const std::string& path) {
  boost::system::error_code ec;
  acceptor.open(Local(), ec);
  // 0660 from the first moment: nobody can slip in between bind and chmod.
  const mode_t before = ::umask(0117);
  if (!ec) acceptor.bind(Local::endpoint(path), ec);
  ::umask(before);
  if (!ec) acceptor.listen(kBacklog, ec);
  if (ec) return fail(Errc::kUnavailable, "listen on unix:{}: {}", path, ec.message());
  return "unix:" + path;
}

Result<std::shared_ptr<Listener>> listen_local(std::shared_ptr<ServerState> state,
                                               const std::string& path) {
  if (path.size() >= 108)
    return fail(Errc::kInvalidArgument, "unix:{}: a socket's path has at most 107 bytes", path);
  if (auto free = remove_stale(state->io, path); !free) return std::unexpected(free.error());
  auto made = std::make_shared<AcceptLoop<Local, LocalStream>>(
      std::move(state), [path](Local::acceptor& acceptor) { return bind_local(acceptor, path); },
      path);
  if (auto bound = made->bind(); !bound) return propagate(std::move(bound));
  return made;
}

}  // namespace

Result<std::shared_ptr<Listener>> listen(std::shared_ptr<ServerState> state,
                                         const std::string& spec) {
  if (spec.starts_with("unix:")) return listen_local(std::move(state), spec.substr(5));
  return listen_tcp(std::move(state), spec);
}

}  // namespace nexus::serve
