#include "nexus/drivers/resolver.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "nexus/base/abandon.hpp"
#include "nexus/base/text.hpp"

namespace nexus::drivers {
namespace {

/// One look-up on a thread of its own, which owns it together with who waits for it.
struct Lookup {
  explicit Lookup(std::string name) : host(std::move(name)) {}
  Lookup(const Lookup&) = delete;
  ~Lookup() {
    if (list != nullptr) freeaddrinfo(list);
  }

  std::string host;
  std::mutex mutex;
  std::condition_variable changed;
  // Guarded by mutex.
  bool done = false;
  bool left = false;  // who waited has gone
  int code = 0;
  addrinfo* list = nullptr;
};

std::atomic<std::size_t> hanging{0};

/// Not getaddrinfo_a(3): its helper threads are unknown to the thread sanitizer, and dead under it.
void look_up(const std::shared_ptr<Lookup>& lookup) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int code = getaddrinfo(lookup->host.c_str(), nullptr, &hints, &list);
  const std::lock_guard guard(lookup->mutex);
  lookup->code = code;
  lookup->list = code == 0 ? list : nullptr;
  lookup->done = true;
  if (lookup->left) --hanging;
  lookup->changed.notify_all();
}

Address to_address(const addrinfo& info) {
  Address out;
  std::memcpy(&out.storage, info.ai_addr, info.ai_addrlen);
  out.size = info.ai_addrlen;
  return out;
}

Result<Address> choose(const std::string& host, const addrinfo* list, Prefer prefer,
                       OtherFamily other) {
  const int wanted = prefer == Prefer::kIp4 ? AF_INET : AF_INET6;
  const addrinfo* second = nullptr;
  for (const auto* one = list; one != nullptr; one = one->ai_next) {
    if (one->ai_family == wanted) return to_address(*one);
    if (second == nullptr && (one->ai_family == AF_INET || one->ai_family == AF_INET6))
      second = one;
  }
  if (second != nullptr && other == OtherFamily::kAllowed) return to_address(*second);
  return fail(Errc::kNotFound, "{} has no {} address", host,
              prefer == Prefer::kIp4 ? "IPv4" : "IPv6");
}

}  // namespace

std::string Address::text() const {
  char buffer[INET6_ADDRSTRLEN] = {};
  const void* from =
      family() == AF_INET
          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr)
          : &reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr;
  return inet_ntop(family(), from, buffer, sizeof buffer) == nullptr ? "" : buffer;
}

void Address::set_port(std::uint16_t port) noexcept {
  if (family() == AF_INET) {
    reinterpret_cast<sockaddr_in*>(&storage)->sin_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port = htons(port);
  }
}

Result<Address> resolve(const std::string& host, Prefer prefer, OtherFamily other, Millis limit) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* literal = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &literal) == 0) {
    const Address address = to_address(*literal);
    freeaddrinfo(literal);
    return address;
  }
  if (hanging >= kMostHanging)
    return fail(Errc::kExhausted, "{}: the resolver hangs with {} names", host, kMostHanging);
  const auto lookup = std::make_shared<Lookup>(host);
  std::thread thread;
  try {
    thread = std::thread(look_up, lookup);
  } catch (const std::system_error& error) {
    return fail(Errc::kExhausted, "{}: no thread to resolve it: {}", host, error.what());
  }
  base::SystemClock clock;
  std::unique_lock lock(lookup->mutex);
  clock.wait_until(lock, lookup->changed, clock.steady() + std::max(limit, Millis(1)),
                   [&] { return lookup->done; });
  if (!lookup->done) {
    lookup->left = true;
    ++hanging;
    lock.unlock();
    base::abandon(std::move(thread));
    return fail(Errc::kTimeout, "{}: the name was not resolved within {}", host,
                base::format_duration(limit));
  }
  lock.unlock();
  thread.join();
  if (lookup->code != 0) return fail(Errc::kNotFound, "{}: {}", host, gai_strerror(lookup->code));
  return choose(host, lookup->list, prefer, other);
}

Result<HostPort> split_host_port(std::string_view text, std::uint16_t otherwise) {
  HostPort out{std::string(text), otherwise};
  const auto colon = text.rfind(':');
  const bool bracketed = text.starts_with('[');
  const bool has_port = colon != std::string_view::npos &&
                        (bracketed ? text[colon - 1] == ']' : text.find(':') == colon);
  if (has_port) {
    const auto port = base::parse_uint(text.substr(colon + 1));
    if (!port || *port == 0 || *port > 65535)
      return fail(Errc::kInvalidArgument, "{}: expected a port from 1 to 65535", text);
    out.host = text.substr(0, colon);
    out.port = static_cast<std::uint16_t>(*port);
  }
  if (out.host.starts_with('[') && out.host.ends_with(']'))
    out.host = out.host.substr(1, out.host.size() - 2);
  if (out.host.empty() || out.port == 0)
    return fail(Errc::kInvalidArgument, "{}: expected host:port", text);
  return out;
}

}  // namespace nexus::drivers
