// TaskCounts: what the kernel counts of whole processes, asked for many at once by taskstats
// (Documentation/accounting/taskstats.rst). About a quarter of the cost of reading
// /proc/PID/stat, and so how a scan finds out which processes ran at all.
//
// Needs CAP_NET_ADMIN and the first pid and user name space; elsewhere open() says why not.
// Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <span>

#include "monitor/netlink.hpp"

namespace nexus::monitor {

struct TaskCount {
  std::uint64_t voluntary = 0;  // context switches of all threads that live
  std::uint64_t nonvoluntary = 0;
  std::uint64_t mark = 0;  // changes whenever a thread of the process ran
};

class TaskCounts {
 public:
  /// `procfs`: whose process numbers must be those that this process sees.
  [[nodiscard]] static Result<TaskCounts> open(const std::string& procfs);

  /// Calls `visit(index, count)` for those of `pids` that are alive.
  [[nodiscard]] Status ask(std::span<const std::int32_t> pids,
                           base::FunctionRef<void(std::size_t, const TaskCount&)> visit);

 private:
  TaskCounts(Netlink netlink, std::uint16_t family)
      : netlink_(std::move(netlink)), family_(family), out_(), in_(kAnswer) {}
  [[nodiscard]] Status ask_some(std::span<const std::int32_t> pids, std::size_t offset,
                                base::FunctionRef<void(std::size_t, const TaskCount&)> visit);
  void take(Bytes datagram, std::size_t offset, std::size_t& answers,
            base::FunctionRef<void(std::size_t, const TaskCount&)> visit) const;

  static constexpr std::size_t kAnswer = 16U << 10;

  Netlink netlink_;
  std::uint16_t family_;
  std::vector<std::byte> out_;
  std::vector<std::byte> in_;
};

}  // namespace nexus::monitor
