// The icmp probe: one echo request over a ping socket, or over a raw one where those are not
// allowed.
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "monitor/probe/probe.hpp"
#include "nexus/base/id.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kHeader = 8;  // type, code, checksum, id, sequence

struct Socket {
  host::Fd fd;
  bool raw = false;
};

Result<Socket> open_socket(bool v4) {
  const int family = v4 ? AF_INET : AF_INET6;
  const int protocol = v4 ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6);
  constexpr int kFlags = SOCK_CLOEXEC | SOCK_NONBLOCK;
  host::Fd fd(::socket(family, SOCK_DGRAM | kFlags, protocol));
  if (fd) return Socket{std::move(fd), false};
  host::Fd raw(::socket(family, SOCK_RAW | kFlags, protocol));
  if (raw) return Socket{std::move(raw), true};
  return std::unexpected(Error::from_errno(
      "ping socket (net.ipv4.ping_group_range does not allow it) and raw socket"));
}

std::uint16_t checksum(std::string_view bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    const std::uint32_t high = static_cast<unsigned char>(bytes[i]);
    const std::uint32_t low = i + 1 < bytes.size() ? static_cast<unsigned char>(bytes[i + 1]) : 0U;
    sum += high << 8U | low;
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

std::string echo_request(bool v4, std::uint16_t id, std::uint16_t sequence,
                         const std::string& payload) {
  std::string out(kHeader, '\0');
  out[0] = static_cast<char>(v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST);
  out[4] = static_cast<char>(id >> 8);
  out[5] = static_cast<char>(id & 0xff);
  out[6] = static_cast<char>(sequence >> 8);
  out[7] = static_cast<char>(sequence & 0xff);
  out += payload;
  if (v4) {  // for IPv6 the kernel does it
    const auto sum = checksum(out);
    out[2] = static_cast<char>(sum >> 8);
    out[3] = static_cast<char>(sum & 0xff);
  }
  return out;
}

struct Reply {
  std::string bytes;  // of ICMP
  int hops = -1;
};

/// Nothing: what is there is no reply. An error of the socket (an unreachable host) is one.
Result<std::optional<Reply>> receive(const Socket& socket, bool v4) {
  std::array<char, 2048> buffer{};
  std::array<char, 256> control{};
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t count = ::recvmsg(socket.fd.get(), &message, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  if (count < 0) return std::unexpected(Error::from_errno("receive an echo reply"));
  Reply reply{std::string(buffer.data(), static_cast<std::size_t>(count)), -1};
  if (v4 && socket.raw && !reply.bytes.empty()) {
    const std::size_t header = (static_cast<unsigned char>(reply.bytes[0]) & 0x0fU) * 4;
    reply.bytes.erase(0, std::min(header, reply.bytes.size()));
  }
  for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
    const bool ttl = (one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_TTL) ||
                     (one->cmsg_level == IPPROTO_IPV6 && one->cmsg_type == IPV6_HOPLIMIT);
    if (ttl) std::memcpy(&reply.hops, CMSG_DATA(one), sizeof reply.hops);
  }
  return reply;
}

struct Times {
  double resolve = 0;
  double setup = 0;
  double rtt = 0;
};

Status ping(const ProbeRun& run, Times& times) {
  static std::atomic<std::uint16_t> next_sequence{1};
  const auto address = run.resolve(run.target, &times.resolve);
  if (!address) return std::unexpected(address.error());
  const auto begin = run.clock.steady();
  const bool v4 = address->family() == AF_INET;
  auto socket = open_socket(v4);
  if (!socket) return std::unexpected(socket.error());
  const int on = 1;
  if (v4) {
    ::setsockopt(socket->fd.get(), IPPROTO_IP, IP_RECVTTL, &on, sizeof on);
  } else {
    ::setsockopt(socket->fd.get(), IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on);
  }
  const auto id = static_cast<std::uint16_t>(::getpid());
  const auto sequence = next_sequence.fetch_add(1);
  // The payload is this probe's own, so that no other's reply is taken for it.
  std::string payload = base::random_hex(8);
  payload.resize(std::max<std::size_t>(run.plan.config.payload_size, 16), '.');
  const auto request = echo_request(v4, id, sequence, payload);
  times.setup = run.seconds_since(begin);
  const auto sent = run.clock.steady();
  if (::sendto(socket->fd.get(), request.data(), request.size(), 0,
               reinterpret_cast<const sockaddr*>(&address->storage), address->size) < 0)
    return std::unexpected(Error::from_errno("send an echo request"));
  const char wanted = static_cast<char>(v4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY);
  while (true) {
    if (Status ready = drivers::wait_for(run.clock, socket->fd.get(), POLLIN, run.deadline); !ready)
      return propagate(std::move(ready), "echo reply");
    const auto received = receive(*socket, v4);
    if (!received) return std::unexpected(received.error());
    const auto& reply = *received;
    if (!reply || reply->bytes.size() < kHeader || reply->bytes[0] != wanted ||
        reply->bytes.substr(kHeader) != payload)
      continue;
    times.rtt = run.seconds_since(sent);
    if (reply->hops >= 0)
      run.sink.add("probe_icmp_reply_hop_limit", "Replied packet hop limit (TTL for ipv4)",
                   reply->hops);
    return {};
  }
}

}  // namespace

Status probe_icmp(const ProbeRun& run) {
  Times times;
  Status outcome = ping(run, times);
  constexpr std::string_view kPhases = "probe_icmp_duration_seconds";
  run.sink.phase(kPhases, "resolve", times.resolve);
  run.sink.phase(kPhases, "setup", times.setup);
  run.sink.phase(kPhases, "rtt", times.rtt);
  return outcome;
}

}  // namespace nexus::monitor
