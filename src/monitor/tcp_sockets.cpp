#include "monitor/tcp_sockets.hpp"

#include <arpa/inet.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <sys/vfs.h>

#include <algorithm>

// After linux/*: both define struct tcp_info, and only one may be included.
#include <linux/tcp.h>

namespace nexus::monitor {
namespace {

SocketAddress address_of(std::uint8_t family, const __be32 (&words)[4]) {
  SocketAddress out;
  out.v6 = family == AF_INET6;
  std::memcpy(out.bytes.data(), words, out.v6 ? 16 : 4);
  constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (out.v6 && std::equal(kMapped.begin(), kMapped.end(), out.bytes.begin())) {
    SocketAddress plain;
    std::copy_n(out.bytes.begin() + 12, 4, plain.bytes.begin());
    return plain;
  }
  return out;
}

TcpSocket socket_of(const inet_diag_msg& message, Bytes attributes) {
  TcpSocket out;
  out.state = std::min<std::size_t>(message.idiag_state, kTcpStates.size() - 1);
  out.local = address_of(message.idiag_family, message.id.idiag_src);
  out.remote = address_of(message.idiag_family, message.id.idiag_dst);
  out.local_port = ntohs(message.id.idiag_sport);
  out.remote_port = ntohs(message.id.idiag_dport);
  out.receive_queue = message.idiag_rqueue;
  out.send_queue = message.idiag_wqueue;
  out.inode = message.idiag_inode;
  out.cookie =
      (static_cast<std::uint64_t>(message.id.idiag_cookie[1]) << 32) | message.id.idiag_cookie[0];
  for_each_attribute(attributes, [&](unsigned type, Bytes value) {
    if (type != INET_DIAG_INFO) return;
    const auto info = read_padded<tcp_info>(value);
    out.has_info = true;
    out.retransmits = info.tcpi_total_retrans;
    out.round_trip = info.tcpi_rtt;
  });
  return out;
}

}  // namespace

std::string SocketAddress::text() const {
  std::string out;
  write_to(out);
  return out;
}

void SocketAddress::write_to(std::string& out) const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  static_cast<void>(::inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), text.data(), text.size()));
  out = text.data();
}

bool SocketAddress::is_loopback() const noexcept {
  if (!v6) return bytes[0] == 127;
  return bytes[15] == 1 &&
         std::all_of(bytes.begin(), bytes.end() - 1, [](auto b) { return b == 0; });
}

bool SocketAddress::is_any() const noexcept {
  return std::ranges::all_of(bytes, [](auto b) { return b == 0; });
}

bool is_live(const host::Roots& roots) {
  struct statfs kind{};
  return ::statfs(roots.procfs.c_str(), &kind) == 0 && kind.f_type == PROC_SUPER_MAGIC;
}

TcpSockets::TcpSockets(std::uint32_t states, bool info) {
  const auto extensions = static_cast<std::uint8_t>(info ? 1U << (INET_DIAG_INFO - 1) : 0U);
  both_.put(inet_diag_req{.idiag_family = AF_INET,
                          .idiag_src_len = 0,
                          .idiag_dst_len = 0,
                          .idiag_ext = extensions,
                          .id = {},
                          .idiag_states = states,
                          .idiag_dbs = 0});
  for (std::size_t i = 0; i < single_.size(); ++i) {
    single_[i].put(
        inet_diag_req_v2{.sdiag_family = static_cast<std::uint8_t>(i == 0 ? AF_INET : AF_INET6),
                         .sdiag_protocol = IPPROTO_TCP,
                         .idiag_ext = extensions,
                         .pad = 0,
                         .idiag_states = states,
                         .id = {}});
  }
}

Status TcpSockets::for_each(base::FunctionRef<void(const TcpSocket&)> visit) {
  if (!netlink_) {
    auto opened = Netlink::open(NETLINK_SOCK_DIAG);
    if (!opened) return propagate(std::move(opened));
    netlink_.emplace(std::move(*opened));
  }
  Status asked = ask(visit);
  if (!asked) netlink_.reset();  // late answers must not meet the next question
  return asked;
}

Status TcpSockets::ask(base::FunctionRef<void(const TcpSocket&)> visit) {
  const auto take = [&](unsigned, Bytes payload) {
    const auto message = read_as<inet_diag_msg>(payload);
    if (message) visit(socket_of(*message, payload.subspan(sizeof(inet_diag_msg))));
  };
  if (asks_both_) {
    Status asked = netlink_->ask(both_, take);
    const bool is_unknown =
        !asked &&
        (asked.error().code() == Errc::kNotFound || asked.error().code() == Errc::kUnsupported ||
         asked.error().code() == Errc::kInvalidArgument);  // before any answer
    if (asked) return asked;
    if (!is_unknown) return std::unexpected(asked.error().with_context("inet_diag"));
    asks_both_ = false;
  }
  for (std::size_t i = 0; i < single_.size(); ++i) {
    const Status asked = netlink_->ask(single_[i], take);
    // A kernel without IPv6 does not know the family.
    const bool absent =
        !asked && i > 0 &&
        (asked.error().code() == Errc::kNotFound || asked.error().code() == Errc::kUnsupported);
    if (!asked && !absent) return std::unexpected(asked.error().with_context("inet_diag"));
  }
  return {};
}

}  // namespace nexus::monitor
