#include "nexus/drivers/stream.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "drivers/tls_facts.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::drivers {
namespace {

template <auto Free>
struct Deleter {
  void operator()(auto* object) const { Free(object); }
};
using Context = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using Connection = std::unique_ptr<SSL, Deleter<SSL_free>>;

std::string ssl_error() {
  std::string out = "the TLS library gave no reason";
  if (const auto code = ERR_get_error(); code != 0) {
    std::array<char, 256> text{};
    ERR_error_string_n(code, text.data(), text.size());
    out = text.data();
  }
  ERR_clear_error();
  return out;
}

Result<Context> make_context(const TlsOptions& options) {
  Context context(SSL_CTX_new(TLS_client_method()));
  if (!context) return fail(Errc::kExhausted, "TLS: {}", ssl_error());
  SSL_CTX* raw = context.get();
  if (options.ca_file.empty()) {
    SSL_CTX_set_default_verify_paths(raw);
  } else if (SSL_CTX_load_verify_locations(raw, options.ca_file.c_str(), nullptr) != 1) {
    return fail(Errc::kInvalidArgument, "{}: {}", options.ca_file, ssl_error());
  }
  if (!options.cert_file.empty() &&
      (SSL_CTX_use_certificate_chain_file(raw, options.cert_file.c_str()) != 1 ||
       SSL_CTX_use_PrivateKey_file(raw, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1))
    return fail(Errc::kInvalidArgument, "{}: {}", options.cert_file, ssl_error());
  SSL_CTX_set_verify(raw, options.insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                     nullptr);
  return context;
}

}  // namespace

Status wait_for(Clock& clock, int fd, short events, SteadyTime deadline) {
  while (true) {
    const auto left = std::chrono::ceil<Millis>(deadline - clock.steady());
    pollfd one{.fd = fd, .events = events, .revents = 0};
    const int ready =
        ::poll(&one, 1, static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return std::unexpected(Error::from_errno("poll"));
    if (clock.steady() >= deadline) return fail(Errc::kTimeout, "no answer in time");
  }
}

struct Stream::Impl {
  Impl(Clock& the_clock, host::Fd the_fd) : clock(the_clock), fd(std::move(the_fd)) {}

  Clock& clock;
  host::Fd fd;
  Context context;
  Connection tls;
  std::string received;

  Status finish_connect(SteadyTime deadline) {
    if (Status ready = wait_for(clock, fd.get(), POLLOUT, deadline); !ready) return ready;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return fail(Errc::kUnavailable, "connect: {}", std::strerror(error));
    return {};
  }
  /// After a TLS call that returned `code`: waits for what it wants, or says why it failed.
  Status want(int code, SteadyTime deadline) {
    switch (SSL_get_error(tls.get(), code)) {
      case SSL_ERROR_WANT_READ:
        return wait_for(clock, fd.get(), POLLIN, deadline);
      case SSL_ERROR_WANT_WRITE:
        return wait_for(clock, fd.get(), POLLOUT, deadline);
      case SSL_ERROR_ZERO_RETURN:
        return fail(Errc::kUnavailable, "the peer closed the connection");
      default:
        break;
    }
    const long verified = SSL_get_verify_result(tls.get());
    if (verified != X509_V_OK)
      return fail(Errc::kUnavailable, "TLS: {}", X509_verify_cert_error_string(verified));
    return fail(Errc::kUnavailable, "TLS: {}", ssl_error());
  }
  /// More bytes to `received`.
  Status receive(SteadyTime deadline) {
    std::array<char, 4096> buffer{};
    while (true) {
      if (tls) {
        const int count = SSL_read(tls.get(), buffer.data(), static_cast<int>(buffer.size()));
        if (count > 0) {
          received.append(buffer.data(), static_cast<std::size_t>(count));
          return {};
        }
        if (Status wanted = want(count, deadline); !wanted) return wanted;
        continue;
      }
      const ssize_t count = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (count > 0) {
        received.append(buffer.data(), static_cast<std::size_t>(count));
        return {};
      }
      if (count == 0) return fail(Errc::kUnavailable, "the peer closed the connection");
      if (errno != EAGAIN && errno != EINTR) return std::unexpected(Error::from_errno("receive"));
      if (Status ready = wait_for(clock, fd.get(), POLLIN, deadline); !ready) return ready;
    }
  }
};

Stream::Stream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Stream::Stream(Stream&&) noexcept = default;
Stream::~Stream() = default;

Result<Stream> Stream::connect(Clock& clock, const Address& address, SteadyTime deadline) {
  host::Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return std::unexpected(Error::from_errno("socket"));
  auto impl = std::make_unique<Impl>(clock, std::move(fd));
  const int code =
      ::connect(impl->fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size);
  if (code != 0 && errno != EINPROGRESS)
    return fail(Errc::kUnavailable, "connect: {}", std::strerror(errno));
  if (Status connected = impl->finish_connect(deadline); !connected)
    return std::unexpected(connected.error());
  return Stream(std::move(impl));
}

Result<Stream> Stream::connect_unix(Clock& clock, const std::string& path, SteadyTime deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(Errc::kInvalidArgument, "{}: expected the path of a socket", path);
  std::memcpy(address.sun_path, path.data(), path.size());
  host::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return std::unexpected(Error::from_errno("socket"));
  auto impl = std::make_unique<Impl>(clock, std::move(fd));
  // A unix socket whose backlog is full says EAGAIN: that is a server that does not accept.
  if (::connect(impl->fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail(Errc::kUnavailable, "connect {}: {}", path, std::strerror(errno));
  if (Status connected = impl->finish_connect(deadline); !connected)
    return std::unexpected(connected.error());
  return Stream(std::move(impl));
}

Result<TlsFacts> Stream::start_tls(const TlsOptions& options, const std::string& name,
                                   SteadyTime deadline) {
  if (name.empty() && !options.insecure_skip_verify)
    return fail(Errc::kInvalidArgument, "TLS: server_name is not given: whose certificate is it?");
  auto context = make_context(options);
  if (!context) return std::unexpected(context.error());
  impl_->context = std::move(*context);
  impl_->tls.reset(SSL_new(impl_->context.get()));
  SSL* tls = impl_->tls.get();
  if (tls == nullptr) return fail(Errc::kExhausted, "TLS: {}", ssl_error());
  // What came in clear text is not part of what is said in secret: anybody may have put it there.
  impl_->received.clear();
  X509_VERIFY_PARAM* verify = SSL_get0_param(tls);
  const bool is_address = X509_VERIFY_PARAM_set1_ip_asc(verify, name.c_str()) == 1;
  ERR_clear_error();
  if (!is_address) {
    X509_VERIFY_PARAM_set1_host(verify, name.c_str(), name.size());
    SSL_set_tlsext_host_name(tls, name.c_str());  // RFC 6066: addresses are no server names
  }
  SSL_set_fd(tls, impl_->fd.get());
  while (true) {
    const int code = SSL_connect(tls);
    if (code == 1) return tls_facts(tls);
    if (Status wanted = impl_->want(code, deadline); !wanted)
      return std::unexpected(wanted.error());
  }
}

Status Stream::send(std::string_view bytes, SteadyTime deadline) {
  while (!bytes.empty()) {
    if (impl_->tls) {
      const int count = SSL_write(impl_->tls.get(), bytes.data(), static_cast<int>(bytes.size()));
      if (count > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(count));
      } else if (Status wanted = impl_->want(count, deadline); !wanted) {
        return wanted;
      }
      continue;
    }
    const ssize_t count =
        ::send(impl_->fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno != EAGAIN && errno != EINTR) {
      return fail(Errc::kUnavailable, "send: {}", std::strerror(errno));
    } else if (Status ready = wait_for(impl_->clock, impl_->fd.get(), POLLOUT, deadline); !ready) {
      return ready;
    }
  }
  return {};
}

Result<std::string> Stream::read_line(std::size_t limit, SteadyTime deadline) {
  std::string& received = impl_->received;
  while (true) {
    const auto end = received.find('\n');
    if (end != std::string::npos || received.size() >= limit) {
      const auto length = std::min(end, std::min(limit, received.size()));
      std::string line = received.substr(0, length);
      received.erase(0, length + (length == end ? 1 : 0));
      if (line.ends_with('\r')) line.pop_back();
      return line;
    }
    if (impl_->clock.steady() >= deadline) return fail(Errc::kTimeout, "no answer in time");
    if (Status more = impl_->receive(deadline); !more) {
      // What came before the end of the connection is a line too.
      if (more.error().code() != Errc::kUnavailable || received.empty())
        return std::unexpected(more.error());
      return std::exchange(received, {});
    }
  }
}

Result<std::string> Stream::read_exactly(std::size_t count, SteadyTime deadline) {
  while (impl_->received.size() < count) {
    if (impl_->clock.steady() >= deadline) return fail(Errc::kTimeout, "no answer in time");
    if (Status more = impl_->receive(deadline); !more) return std::unexpected(more.error());
  }
  std::string out = impl_->received.substr(0, count);
  impl_->received.erase(0, count);
  return out;
}

}  // namespace nexus::drivers
