#include "monitor/link_table.hpp"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <functional>

namespace nexus::monitor {
namespace {

// IFF_* of linux/if.h, which cannot be included beside net/if.h.
constexpr std::uint32_t kUp = 0x1;
constexpr std::uint32_t kRunning = 0x40;
constexpr std::uint32_t kPromiscuous = 0x100;
constexpr std::uint32_t kAllMulticast = 0x200;
constexpr std::uint32_t kLowerUp = 0x1'0000;
constexpr std::uint32_t kDormant = 0x2'0000;

constexpr std::array<std::string_view, 7> kStates = {
    "unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"};
constexpr std::size_t kMaxOtherNames = 16;

void write_address(std::string& out, Bytes bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out.clear();
  for (const std::byte byte : bytes) {
    if (!out.empty()) out += ':';
    out += kDigits[std::to_integer<std::size_t>(byte) >> 4];
    out += kDigits[std::to_integer<std::size_t>(byte) & 15];
  }
}

void take_other_names(Link& link, Bytes list) {
  std::size_t count = 0;
  for_each_attribute(list, [&](unsigned type, Bytes value) {
    if (type != IFLA_ALT_IFNAME || count >= kMaxOtherNames) return;
    if (link.other_names.size() <= count) link.other_names.emplace_back();
    link.other_names[count++] = text_of(value);
  });
  link.other_names.resize(count);
}

}  // namespace

std::string_view Link::state_name() const noexcept {
  return state < kStates.size() ? kStates[state] : kStates[0];
}

std::optional<LinkWatch> LinkWatch::open() {
  host::Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  if (!socket ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return std::nullopt;
  return LinkWatch(std::move(socket));
}

bool LinkWatch::changed() {
  // What a notice says is asked for anew: one byte of it is enough.
  bool any = false;
  char first = 0;
  while (::recv(socket_.get(), &first, sizeof first, MSG_DONTWAIT) >= 0 || errno == EINTR)
    any = true;
  return any || errno != EAGAIN;
}

LinkTable::LinkTable() : request_(RTM_GETLINK, NLM_F_DUMP) {
  request_.put(ifinfomsg{});
  const std::uint32_t filter = RTEXT_FILTER_SKIP_STATS;  // three quarters of the answer
  request_.attribute(IFLA_EXT_MASK, std::as_bytes(std::span(&filter, 1)));
}

Status LinkTable::read(Netlink& netlink) {
  size_ = 0;
  fingerprint_ = 0;
  Status asked = netlink.ask(request_, [this](unsigned type, Bytes payload) {
    if (type == RTM_NEWLINK && size_ < kMost) take(payload);
  });
  if (!asked) {
    size_ = 0;
    return std::unexpected(asked.error().with_context("links"));
  }
  return {};
}

void LinkTable::take(Bytes payload) {
  const auto head = read_as<ifinfomsg>(payload);
  if (!head) return;
  if (links_.size() <= size_) links_.emplace_back();
  Link& link = links_[size_];
  link.index = link.peer = head->ifi_index;
  link.type = head->ifi_type;
  link.is_up = (head->ifi_flags & kUp) != 0;
  link.is_dormant = (head->ifi_flags & kDormant) != 0;
  link.flags = head->ifi_flags & ~(kRunning | kLowerUp | kDormant);
  link.state = link.mode = 0;
  link.mtu = link.queue_length = link.group = 0;
  link.carrier.reset();
  link.carrier_changes.reset();
  link.carrier_ups.reset();
  link.carrier_downs.reset();
  link.name.clear();
  link.address.clear();
  link.broadcast.clear();
  link.alias.clear();
  bool has_other_names = false;
  for_each_attribute(
      payload.subspan(NLMSG_ALIGN(sizeof(ifinfomsg))), [&](unsigned type, Bytes value) {
        const auto number = [&] { return read_as<std::uint32_t>(value).value_or(0); };
        switch (type) {
          case IFLA_IFNAME:
            link.name = text_of(value);
            break;
          case IFLA_ADDRESS:
            write_address(link.address, value);
            break;
          case IFLA_BROADCAST:
            write_address(link.broadcast, value);
            break;
          case IFLA_IFALIAS:
            link.alias = text_of(value);
            break;
          case IFLA_MTU:
            link.mtu = number();
            break;
          case IFLA_LINK:
            link.peer = static_cast<int>(number());
            break;
          case IFLA_TXQLEN:
            link.queue_length = number();
            break;
          case IFLA_GROUP:
            link.group = number();
            break;
          case IFLA_OPERSTATE:
            link.state = read_as<std::uint8_t>(value).value_or(0);
            break;
          case IFLA_LINKMODE:
            link.mode = read_as<std::uint8_t>(value).value_or(0);
            break;
          case IFLA_CARRIER:
            link.carrier = read_as<std::uint8_t>(value);
            break;
          case IFLA_CARRIER_CHANGES:
            link.carrier_changes = number();
            break;
          case IFLA_CARRIER_UP_COUNT:
            link.carrier_ups = number();
            break;
          case IFLA_CARRIER_DOWN_COUNT:
            link.carrier_downs = number();
            break;
          case IFLA_PROMISCUITY:  // also that of a bridge, which the flags here leave out
            if (number() > 0) link.flags |= kPromiscuous;
            break;
          case IFLA_ALLMULTI:
            if (number() > 0) link.flags |= kAllMulticast;
            break;
          case IFLA_PROP_LIST:
            has_other_names = true;
            take_other_names(link, value);
            break;
          default:
            break;
        }
      });
  if (!has_other_names) link.other_names.clear();
  if (link.name.empty()) return;
  fingerprint_ = (fingerprint_ ^ static_cast<std::uint64_t>(link.index)) * 0x9e3779b97f4a7c15ULL +
                 std::hash<std::string_view>{}(link.name);
  ++size_;
}

}  // namespace nexus::monitor
