#include "nexus/drivers/resolver.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "nexus/base/text.hpp"

namespace nexus::drivers {
namespace {

/// What the C library reads and writes while it looks a name up; it must stay until that is over.
struct Lookup {
  std::string host;
  addrinfo hints{};
  gaicb control{};
  ~Lookup() {
    if (control.ar_result != nullptr) freeaddrinfo(control.ar_result);
  }
};

std::mutex hanging_mutex;
std::vector<std::unique_ptr<Lookup>> hanging;  // guarded by hanging_mutex

/// Gives back what has come to an end; how many have not.
std::size_t sweep() {
  const std::lock_guard guard(hanging_mutex);
  std::erase_if(hanging,
                [](const auto& one) { return gai_error(&one->control) != EAI_INPROGRESS; });
  return hanging.size();
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
  auto lookup = std::make_unique<Lookup>();
  lookup->host = host;
  lookup->hints.ai_socktype = SOCK_STREAM;
  lookup->hints.ai_flags = AI_NUMERICHOST;
  addrinfo* literal = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &lookup->hints, &literal) == 0) {
    const Address address = to_address(*literal);
    freeaddrinfo(literal);
    return address;
  }
  if (sweep() >= kMostHanging)
    return fail(Errc::kExhausted, "{}: the resolver hangs with {} names", host, kMostHanging);
  lookup->hints.ai_flags = 0;
  lookup->control.ar_name = lookup->host.c_str();
  lookup->control.ar_request = &lookup->hints;
  gaicb* list[] = {&lookup->control};
  if (const int code = getaddrinfo_a(GAI_NOWAIT, list, 1, nullptr); code != 0)
    return fail(Errc::kExhausted, "{}: {}", host, gai_strerror(code));
  const auto seconds = std::chrono::floor<std::chrono::seconds>(std::max(limit, Millis(1)));
  const timespec wait{seconds.count(),
                      std::chrono::nanoseconds(std::max(limit, Millis(1)) - seconds).count()};
  const gaicb* const waited[] = {&lookup->control};
  while (gai_suspend(waited, 1, &wait) == EAI_INTR) {
  }
  const int code = gai_error(&lookup->control);
  if (code == EAI_INPROGRESS) {
    gai_cancel(&lookup->control);
    const std::lock_guard guard(hanging_mutex);
    hanging.push_back(std::move(lookup));
    return fail(Errc::kTimeout, "{}: the name was not resolved within {}", host,
                base::format_duration(limit));
  }
  if (code != 0) return fail(Errc::kNotFound, "{}: {}", host, gai_strerror(code));
  return choose(host, lookup->control.ar_result, prefer, other);
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
