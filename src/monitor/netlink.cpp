#include "monitor/netlink.hpp"

#include <linux/genetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>

namespace nexus::monitor {
namespace {

constexpr std::size_t kBuffer = 64U << 10;  // the kernel sends no larger datagram in a dump

}  // namespace

NetlinkRequest::NetlinkRequest(std::uint16_t type, std::uint16_t flags) {
  put(nlmsghdr{.nlmsg_len = 0,
               .nlmsg_type = type,
               .nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST),
               .nlmsg_seq = 0,
               .nlmsg_pid = 0});
}

NetlinkRequest& NetlinkRequest::append(Bytes bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  return *this;
}

NetlinkRequest& NetlinkRequest::attribute(std::uint16_t type, Bytes value) {
  put(nlattr{.nla_len = static_cast<std::uint16_t>(sizeof(nlattr) + value.size()),
             .nla_type = type});
  return append(value);
}

Bytes NetlinkRequest::finish() {
  const auto size = static_cast<std::uint32_t>(bytes_.size());
  std::memcpy(bytes_.data(), &size, sizeof size);
  return bytes_;
}

Netlink::Netlink(host::Fd socket) : socket_(std::move(socket)), buffer_(kBuffer) {}

Result<Netlink> Netlink::open(int protocol) {
  host::Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!socket) return std::unexpected(Error::from_errno("netlink socket"));
  const timeval limit{.tv_sec = kLimit.count() / 1000, .tv_usec = 0};
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0)
    return std::unexpected(Error::from_errno("netlink socket: time limit"));
  return Netlink(std::move(socket));
}

Status Netlink::ask(NetlinkRequest& request, MessageVisitor visit) {
  const Bytes bytes = request.finish();
  sent_.assign(bytes.begin(), bytes.end());
  ++sequence_;
  std::memcpy(sent_.data() + offsetof(nlmsghdr, nlmsg_seq), &sequence_, sizeof sequence_);
  const bool dump = (read_as<nlmsghdr>(bytes)->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  if (::send(socket_.get(), sent_.data(), sent_.size(), 0) < 0)
    return std::unexpected(Error::from_errno("netlink: send"));
  for (;;) {
    const ssize_t size = ::recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_TRUNC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return std::unexpected(Error::from_errno("netlink: receive"));
    if (static_cast<std::size_t>(size) > buffer_.size())
      return fail(Errc::kExhausted, "netlink: an answer of {} bytes", size);
    const auto complete = take(Bytes(buffer_).first(static_cast<std::size_t>(size)), visit, dump);
    if (!complete) return std::unexpected(complete.error());
    if (*complete) return {};
  }
}

Result<bool> Netlink::take(Bytes datagram, MessageVisitor visit, bool dump) {
  bool complete = false;
  while (const auto head = read_as<nlmsghdr>(datagram)) {
    if (head->nlmsg_len < sizeof(nlmsghdr) || head->nlmsg_len > datagram.size())
      return fail(Errc::kCorrupt, "netlink: a message of {} bytes in {}", head->nlmsg_len,
                  datagram.size());
    const Bytes payload = datagram.subspan(sizeof(nlmsghdr), head->nlmsg_len - sizeof(nlmsghdr));
    datagram =
        datagram.subspan(std::min<std::size_t>(NLMSG_ALIGN(head->nlmsg_len), datagram.size()));
    if (head->nlmsg_seq != sequence_) continue;  // of a request that was given up
    if ((head->nlmsg_flags & NLM_F_DUMP_INTR) != 0)
      return fail(Errc::kConflict, "netlink: the list changed while it was read");
    if (head->nlmsg_type == NLMSG_DONE) {
      // A dump that failed on its way says so here; without it the list would pass for a whole one.
      const int error = read_as<int>(payload).value_or(0);
      if (error < 0) return std::unexpected(Error::from_errno(-error, "netlink: dump"));
      return true;
    }
    if (head->nlmsg_type == NLMSG_ERROR) {
      const int error = read_as<int>(payload).value_or(-EBADMSG);
      if (error != 0) return std::unexpected(Error::from_errno(-error, "netlink"));
      return true;
    }
    if (head->nlmsg_type == NLMSG_NOOP) continue;
    visit(head->nlmsg_type, payload);
    complete = !dump;
  }
  return complete;
}

Result<std::uint16_t> Netlink::family(std::string_view name) {
  NetlinkRequest request(GENL_ID_CTRL, 0);
  request.put(genlmsghdr{.cmd = CTRL_CMD_GETFAMILY, .version = 1, .reserved = 0});
  std::string terminated(name);
  request.attribute(CTRL_ATTR_FAMILY_NAME,
                    std::as_bytes(std::span(terminated.c_str(), terminated.size() + 1)));
  std::optional<std::uint16_t> number;
  const Status asked = ask(request, [&](unsigned, Bytes payload) {
    if (payload.size() < sizeof(genlmsghdr)) return;
    for_each_attribute(payload.subspan(sizeof(genlmsghdr)), [&](unsigned type, Bytes value) {
      if (type == CTRL_ATTR_FAMILY_ID) number = read_as<std::uint16_t>(value);
    });
  });
  if (!asked) return std::unexpected(asked.error().with_context(name));
  if (!number) return fail(Errc::kNotFound, "{}: no such netlink family", name);
  return *number;
}

}  // namespace nexus::monitor
