// TCP sockets of this network name space, by inet_diag (sock_diag(7)): what ss(8) reads, without
// the text files below /proc/net.
//
// Thread safety: one thread at a time.
#pragma once

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "monitor/netlink.hpp"
#include "nexus/host/roots.hpp"

namespace nexus::monitor {

/// As the kernel numbers them, from 1.
inline constexpr std::array<std::string_view, 13> kTcpStates = {
    "",      "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2",   "time_wait",
    "close", "close_wait",  "last_ack", "listen",   "closing",   "new_syn_recv"};
inline constexpr std::size_t kTcpEstablished = 1;
inline constexpr std::size_t kTcpTimeWait = 6;
inline constexpr std::size_t kTcpListen = 10;

/// An IPv4 or IPv6 address; an IPv4 one that is written as IPv6 is IPv4.
struct SocketAddress {
  bool v6 = false;
  std::array<std::uint8_t, 16> bytes{};
  [[nodiscard]] std::string text() const;
  /// The same, into a string that is used again.
  void write_to(std::string& out) const;
  [[nodiscard]] bool is_loopback() const noexcept;
  [[nodiscard]] bool is_any() const noexcept;
  auto operator<=>(const SocketAddress&) const = default;
};

struct TcpSocket {
  std::size_t state = 0;  // index of kTcpStates
  SocketAddress local;
  SocketAddress remote;
  std::uint16_t local_port = 0;
  std::uint16_t remote_port = 0;
  std::uint32_t receive_queue = 0;  // bytes; of a listener: connections that wait
  std::uint32_t send_queue = 0;     // bytes; of a listener: how many may wait
  std::uint32_t inode = 0;          // 0: nobody's any more
  std::uint64_t cookie = 0;         // names the socket as long as the host is up
  // Of tcp_info, when it was asked for:
  bool has_info = false;
  std::uint32_t retransmits = 0;  // segments, since the connection began
  std::uint32_t round_trip = 0;   // microseconds, smoothed
};

/// Whether this process's own kernel is behind these roots, and not a recorded tree.
[[nodiscard]] bool is_live(const host::Roots& roots);

/// All TCP sockets over IPv4 and IPv6, by one request for both: the kernel looks through all of its
/// table for each. (That request is the older one, TCPDIAG_GETSOCK; a kernel that does not know it
/// any more is asked for one family after the other.)
class TcpSockets {
 public:
  /// `states`: a bit for each (1 << state). `info`: also what tcp_info tells.
  TcpSockets(std::uint32_t states, bool info);
  [[nodiscard]] Status for_each(base::FunctionRef<void(const TcpSocket&)> visit);

 private:
  [[nodiscard]] Status ask(base::FunctionRef<void(const TcpSocket&)> visit);

  NetlinkRequest both_{TCPDIAG_GETSOCK, NLM_F_DUMP};
  std::array<NetlinkRequest, 2> single_{NetlinkRequest{SOCK_DIAG_BY_FAMILY, NLM_F_DUMP},
                                        NetlinkRequest{SOCK_DIAG_BY_FAMILY, NLM_F_DUMP}};
  bool asks_both_ = true;
  std::optional<Netlink> netlink_;
};

}  // namespace nexus::monitor
