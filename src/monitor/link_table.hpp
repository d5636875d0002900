// LinkTable: every network device as rtnetlink tells of it, with one request for all of them.
//
// The values are those that /sys/class/net has: its flags are the device's own (rtnetlink puts its
// operational state among them), addresses are written in hexadecimal with colons. What only sysfs
// tells (speed, duplex, how name and address were assigned) is not here. Thread safety: one thread
// at a time. Documents: rtnetlink(7), Documentation/ABI/testing/sysfs-class-net.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/netlink.hpp"

namespace nexus::monitor {

struct Link {
  int index = 0;
  int peer = 0;  // iflink: the index itself for a device of its own
  std::uint32_t flags = 0;
  std::uint16_t type = 0;  // ARPHRD_*
  std::uint8_t state = 0;  // IF_OPER_*
  std::uint8_t mode = 0;
  bool is_up = false;  // set up; only then have carrier and dormant a meaning
  bool is_dormant = false;
  std::uint32_t mtu = 0;
  std::uint32_t queue_length = 0;
  std::uint32_t group = 0;
  std::optional<std::uint32_t> carrier;  // absent on kernels that do not tell
  std::optional<std::uint32_t> carrier_changes;
  std::optional<std::uint32_t> carrier_ups;
  std::optional<std::uint32_t> carrier_downs;
  std::string name;
  std::string address;
  std::string broadcast;
  std::string alias;
  std::vector<std::string> other_names;

  /// As sysfs writes it: "up", "down", "unknown", ...
  [[nodiscard]] std::string_view state_name() const noexcept;
};

/// Whether any device has changed, so that LinkTable need not ask every time. The kernel tells of
/// all that comes, goes, is renamed, or changes its link, address, MTU, queue or flags; not of the
/// alias and group of a device that is down.
class LinkWatch {
 public:
  [[nodiscard]] static std::optional<LinkWatch> open();
  /// Since the call before. True, too, when notices were lost.
  [[nodiscard]] bool changed();

 private:
  explicit LinkWatch(host::Fd socket) : socket_(std::move(socket)) {}

  host::Fd socket_;
};

class LinkTable {
 public:
  static constexpr std::size_t kMost = 65'536;

  LinkTable();
  /// Asks anew. After an error what was there before is gone. The steady state allocates nothing.
  [[nodiscard]] Status read(Netlink& netlink);
  [[nodiscard]] std::span<const Link> links() const noexcept {
    return std::span(links_).first(size_);
  }
  /// Of indices and names: the same as long as no device comes, goes or is renamed.
  [[nodiscard]] std::uint64_t fingerprint() const noexcept { return fingerprint_; }

 private:
  void take(Bytes payload);

  NetlinkRequest request_;
  std::vector<Link> links_;  // the first size_ are in use; the others keep their memory
  std::size_t size_ = 0;
  std::uint64_t fingerprint_ = 0;
};

}  // namespace nexus::monitor
