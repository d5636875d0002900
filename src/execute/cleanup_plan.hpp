// What cleanup_disk would delete: ranked safest first, in each rank the longest unused first.
//
// Only below [allow] paths, only on the file system of the target, only files of one name that no
// process has open, none of the agent's own. What a container engine keeps there and nobody uses is
// the engine's to delete (engine_leftovers.hpp), and goes last. Sizes are what the blocks take, in
// bytes. Thread safety: functions without state.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "execute/engine_leftovers.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/config/config.hpp"
#include "nexus/host/tree.hpp"
#include "nexus/plan/action.hpp"

namespace nexus::execute {

/// How much is to be freed, and what may go; from an action's parameters.
struct CleanupWish {
  std::optional<std::uint64_t> free;  // bytes
  double used_percent = 80;           // without `free`: until the file system is that full
  std::uint64_t max_bytes = 0;        // the budget
  Millis older_than{0};               // raises the age of every kind
  std::vector<std::string> kinds;     // none: all
};
[[nodiscard]] Result<CleanupWish> cleanup_wish(const plan::Action& action,
                                               const config::Config& config);
/// One line for each shipped kind.
[[nodiscard]] std::string cleanup_kinds();

struct Space {
  std::uint64_t size = 0;       // as df counts: without what is reserved for root
  std::uint64_t available = 0;  // to everybody
  dev_t device = 0;
  bool knows_reads = true;  // when a file was last read is kept
  [[nodiscard]] double used_percent() const {
    return size == 0 ? 0
                     : 100.0 * (1.0 - static_cast<double>(available) / static_cast<double>(size));
  }
};
[[nodiscard]] Result<Space> space_of(const std::string& path, const config::Config& config);

struct CleanupFile {
  std::string kind;
  std::string root;  // the directory of the kind, as the agent sees it
  host::FoundFile file;
  std::optional<Leftover> leftover = {};  // no file, but this of the container engine
  [[nodiscard]] std::uint64_t bytes() const { return leftover ? leftover->bytes : file.bytes; }
};

struct CleanupPlan {
  std::vector<CleanupFile> files;  // within the budget, in the order in which they go
  std::vector<CleanupFile> spare;  // beyond it: their turn comes when others cannot go
  std::uint64_t wanted = 0;        // bytes to free
  std::vector<std::string> notes;  // what was left out, and why
};
struct CleanupLimits {
  WallTime now{};
  std::function<bool()> go_on;  // false ends the search; none: it goes on
  Clock* clock = nullptr;       // to ask a container engine by; null: none is asked
};
[[nodiscard]] Result<CleanupPlan> plan_cleanup(const std::string& target, const CleanupWish& wish,
                                               const config::Config& config,
                                               const CleanupLimits& limits);

/// How many of the plan's files it takes to free what is wanted.
[[nodiscard]] std::size_t enough_of(const CleanupPlan& plan);
[[nodiscard]] std::string show_bytes(std::uint64_t bytes);  // "1.5 GiB"

}  // namespace nexus::execute
