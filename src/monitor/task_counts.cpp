#include "monitor/task_counts.hpp"

#include <linux/genetlink.h>
#include <linux/taskstats.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

// Answers wait in the socket's buffer, whose default takes about 150 of them.
constexpr std::size_t kBatch = 64;

struct Request {
  nlmsghdr head;
  genlmsghdr generic;
  nlattr attribute;
  std::uint32_t pid;
};
static_assert(sizeof(Request) == 28);

/// Whether numbers below `procfs` are those of this process's pid name space.
bool is_own(const std::string& procfs) {
  std::array<char, 32> target{};
  const ssize_t size = ::readlink((procfs + "/self").c_str(), target.data(), target.size());
  if (size <= 0) return false;
  const auto pid = base::parse_int(std::string_view(target.data(), static_cast<std::size_t>(size)));
  return pid && *pid == ::getpid();
}

TaskCount count_of(Bytes stats) {
  const auto full = read_padded<taskstats>(stats);
  TaskCount count{.voluntary = full.nvcsw, .nonvoluntary = full.nivcsw, .mark = 0};
  count.mark = full.nvcsw * 0x9e3779b97f4a7c15ULL + full.nivcsw * 0xc2b2ae3d27d4eb4fULL +
               full.ac_utime + full.ac_stime * 3 + full.cpu_run_real_total;
  return count;
}

}  // namespace

Result<TaskCounts> TaskCounts::open(const std::string& procfs) {
  if (!is_own(procfs))
    return fail(Errc::kUnsupported, "{}: not of this process's pid name space", procfs);
  auto netlink = Netlink::open(NETLINK_GENERIC);
  if (!netlink) return propagate(std::move(netlink), "taskstats");
  const auto family = netlink->family(TASKSTATS_GENL_NAME);
  if (!family) return std::unexpected(family.error());
  TaskCounts counts(std::move(*netlink), *family);
  bool answered = false;
  const std::int32_t self = ::getpid();
  const Status asked =
      counts.ask(std::span(&self, 1), [&](std::size_t, const TaskCount&) { answered = true; });
  if (!asked) return std::unexpected(asked.error());
  if (!answered) return fail(Errc::kPermissionDenied, "taskstats: CAP_NET_ADMIN is needed");
  return counts;
}

Status TaskCounts::ask(std::span<const std::int32_t> pids,
                       base::FunctionRef<void(std::size_t, const TaskCount&)> visit) {
  for (std::size_t at = 0; at < pids.size(); at += kBatch) {
    const auto some = pids.subspan(at, std::min(kBatch, pids.size() - at));
    if (Status asked = ask_some(some, at, visit); !asked) return asked;
  }
  return {};
}

Status TaskCounts::ask_some(std::span<const std::int32_t> pids, std::size_t offset,
                            base::FunctionRef<void(std::size_t, const TaskCount&)> visit) {
  out_.resize(pids.size() * sizeof(Request));
  for (std::size_t i = 0; i < pids.size(); ++i) {
    const Request request{
        .head = {.nlmsg_len = sizeof(Request),
                 .nlmsg_type = family_,
                 .nlmsg_flags = NLM_F_REQUEST,
                 .nlmsg_seq = static_cast<std::uint32_t>(i + 1),
                 .nlmsg_pid = 0},
        .generic = {.cmd = TASKSTATS_CMD_GET, .version = TASKSTATS_GENL_VERSION, .reserved = 0},
        .attribute = {.nla_len = 8, .nla_type = TASKSTATS_CMD_ATTR_TGID},
        .pid = static_cast<std::uint32_t>(pids[i])};
    std::memcpy(out_.data() + i * sizeof request, &request, sizeof request);
  }
  if (::send(netlink_.fd(), out_.data(), out_.size(), 0) < 0)
    return std::unexpected(Error::from_errno("taskstats: send"));
  for (std::size_t answers = 0; answers < pids.size();) {
    const ssize_t size = ::recv(netlink_.fd(), in_.data(), in_.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return std::unexpected(Error::from_errno("taskstats: receive"));
    take(Bytes(in_).first(static_cast<std::size_t>(size)), offset, answers, visit);
  }
  return {};
}

void TaskCounts::take(Bytes datagram, std::size_t offset, std::size_t& answers,
                      base::FunctionRef<void(std::size_t, const TaskCount&)> visit) const {
  while (const auto head = read_as<nlmsghdr>(datagram)) {
    if (head->nlmsg_len < sizeof(nlmsghdr) || head->nlmsg_len > datagram.size()) return;
    const Bytes payload = datagram.subspan(sizeof(nlmsghdr), head->nlmsg_len - sizeof(nlmsghdr));
    datagram =
        datagram.subspan(std::min<std::size_t>(NLMSG_ALIGN(head->nlmsg_len), datagram.size()));
    ++answers;  // an error, too: of a process that has ended
    if (head->nlmsg_type != family_ || payload.size() < sizeof(genlmsghdr)) continue;
    const std::size_t index = offset + head->nlmsg_seq - 1;
    for_each_attribute(payload.subspan(sizeof(genlmsghdr)), [&](unsigned type, Bytes group) {
      if (type != TASKSTATS_TYPE_AGGR_TGID) return;
      for_each_attribute(group, [&](unsigned inner, Bytes stats) {
        if (inner == TASKSTATS_TYPE_STATS) visit(index, count_of(stats));
      });
    });
  }
}

}  // namespace nexus::monitor
