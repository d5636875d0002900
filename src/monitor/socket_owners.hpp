// SocketOwners: which process holds a socket, found by its inode among the descriptors below /proc.
//
// Looking through all descriptors of a host is dear, so what was found is kept, processes that held
// sockets before are looked at first, and all the others only when a listener has no owner or
// kFullScan has passed; never more than kMaxLinks descriptors in a run. Without the right to see
// another user's descriptors its sockets have no owner. Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "nexus/host/fd.hpp"
#include "nexus/host/roots.hpp"
#include "nexus/monitor/observed.hpp"

namespace nexus::monitor {

class SocketOwners {
 public:
  static constexpr std::size_t kMaxLinks = 50'000;
  static constexpr Millis kFullScan{60'000};

  explicit SocketOwners(const host::Roots& roots) : procfs_(roots.procfs) {}

  void start_run();
  /// This socket is there; `urgent`: its owner is worth looking through all processes.
  void want(std::uint32_t inode, bool urgent);
  /// Looks for the owners that are not known. `table` may be null.
  void find(SteadyTime now, const ProcessTable* table);
  /// pid 0 when it is not known; valid until the next find().
  [[nodiscard]] const SocketOwner& owner(std::uint32_t inode) const;

 private:
  struct Known {
    std::int32_t pid = 0;  // 0: was looked for in vain
    std::uint64_t run = 0;
  };
  struct Missing {
    std::uint32_t inode = 0;
    bool urgent = false;
    bool found = false;
  };
  void forget_absent();
  void look_into(std::int32_t pid);
  [[nodiscard]] std::vector<std::int32_t> all_pids() const;
  void describe(SocketOwner& owner, const ProcessTable* table) const;

  const std::string procfs_;
  std::uint64_t run_ = 0;
  std::unordered_map<std::uint32_t, Known> known_;
  std::vector<Missing> missing_;       // those looked for now, by inode
  std::size_t left_ = 0;               // of them not found
  std::vector<std::int32_t> holders_;  // processes that hold sockets, sorted
  std::string path_;
  struct Description {
    SocketOwner owner;
    std::uint64_t run = 0;
  };
  std::unordered_map<std::int32_t, Description> described_;
  SteadyTime last_full_{};
  SteadyTime described_at_{};
  bool ever_full_ = false;
  std::size_t links_ = 0;  // looked at in this run
};

}  // namespace nexus::monitor
