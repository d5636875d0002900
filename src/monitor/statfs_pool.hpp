// StatfsPool: asks filesystems for their size on threads that nobody waits for.
//
// statfs(2) on a dead NFS or FUSE mount does not return. So it runs on helper threads, each path at
// most once at a time: a path whose question is still open is never asked again, it is reported as
// pending until the answer comes. Helpers are made when the present ones are busy, at most
// `max_helpers`, and stay; so threads and descriptors are bounded however long a mount hangs. When
// all helpers hang, every path is pending at once, without a wait.
//
// Thread safety: probe() by one thread at a time. The destructor does not wait: a helper that hangs
// is abandoned (nexus/base/abandon.hpp) and touches nothing but what it co-owns.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"

namespace nexus::monitor {

struct FilesystemUsage {
  double size = 0;  // bytes
  double free = 0;
  double available = 0;
  double files = 0;
  double files_free = 0;
  bool readonly = false;  // also when an error made it so, which no mount option tells
};

/// Fills `usage` and returns 0, or returns an errno.
using StatfsFunction = std::function<int(const std::string& path, FilesystemUsage& usage)>;
[[nodiscard]] int system_statfs(const std::string& path, FilesystemUsage& usage);

struct StatfsAnswer {
  enum class Kind { kPending, kOk, kFailed };
  Kind kind = Kind::kPending;
  int error = 0;
  FilesystemUsage usage;
};

class StatfsPool {
 public:
  StatfsPool(Clock& clock, StatfsFunction function, std::size_t max_helpers);
  ~StatfsPool();
  StatfsPool(const StatfsPool&) = delete;
  StatfsPool& operator=(const StatfsPool&) = delete;

  /// One answer a path, in order. Returns when all are in or `deadline` has passed.
  void probe(std::span<const std::string> paths, SteadyTime deadline,
             std::vector<StatfsAnswer>& answers);
  [[nodiscard]] std::size_t helpers() const;

 private:
  struct State;
  void add_helper();

  Clock& clock_;
  const std::size_t max_helpers_;
  const std::shared_ptr<State> state_;
};

}  // namespace nexus::monitor
