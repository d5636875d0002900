// Netlink sockets as collectors use them: one request, all its answers; attributes read with bounds
// checked.
//
// A dump that the kernel says was interrupted by a change is an error of its own (kConflict), for
// its answers may be incomplete. Answers are awaited kLimit at most. Thread safety: one thread at a
// time. Documents: netlink(7), rtnetlink(7), sock_diag(7).
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/function_ref.hpp"
#include "nexus/base/result.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::monitor {

using Bytes = std::span<const std::byte>;

/// A value of the kernel's layout at the front of `bytes`; nothing when they are too few.
template <typename T>
[[nodiscard]] std::optional<T> read_as(Bytes bytes) noexcept {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// As read_as(), but a shorter value of an older kernel is filled up with zeros.
template <typename T>
[[nodiscard]] T read_padded(Bytes bytes) noexcept {
  T value{};
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
  return value;
}

[[nodiscard]] inline std::string_view text_of(Bytes bytes) noexcept {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text.substr(0, text.find('\0'));
}

/// Calls `visit(type, value)` for every attribute; what is damaged ends it.
template <typename Visit>
void for_each_attribute(Bytes bytes, Visit&& visit) {
  while (const auto head = read_as<nlattr>(bytes)) {
    if (head->nla_len < sizeof(nlattr) || head->nla_len > bytes.size()) return;
    visit(static_cast<unsigned>(head->nla_type & NLA_TYPE_MASK),
          bytes.subspan(sizeof(nlattr), head->nla_len - sizeof(nlattr)));
    bytes = bytes.subspan(std::min<std::size_t>(NLA_ALIGN(head->nla_len), bytes.size()));
  }
}

/// A request in the making: a header, a fixed part, attributes.
class NetlinkRequest {
 public:
  NetlinkRequest(std::uint16_t type, std::uint16_t flags);
  template <typename T>
  NetlinkRequest& put(const T& fixed) {
    return append(std::as_bytes(std::span(&fixed, 1)));
  }
  NetlinkRequest& attribute(std::uint16_t type, Bytes value);
  [[nodiscard]] Bytes finish();  // sets the length

 private:
  NetlinkRequest& append(Bytes bytes);
  std::vector<std::byte> bytes_;
};

using MessageVisitor = base::FunctionRef<void(unsigned type, Bytes payload)>;

class Netlink {
 public:
  static constexpr Millis kLimit{2000};

  /// kUnsupported or kPermissionDenied where this kernel or these rights do not allow it.
  [[nodiscard]] static Result<Netlink> open(int protocol);

  /// Sends `request`, which may be sent again later, and calls `visit` for every message of the
  /// answer. The steady state allocates nothing.
  [[nodiscard]] Status ask(NetlinkRequest& request, MessageVisitor visit);
  /// The number that a family of generic netlink has here; kNotFound when there is none.
  [[nodiscard]] Result<std::uint16_t> family(std::string_view name);
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }

 private:
  explicit Netlink(host::Fd socket);
  /// Whether the answer is complete.
  [[nodiscard]] Result<bool> take(Bytes datagram, MessageVisitor visit, bool dump);

  host::Fd socket_;
  std::uint32_t sequence_ = 0;
  std::vector<std::byte> sent_;
  std::vector<std::byte> buffer_;
};

}  // namespace nexus::monitor
