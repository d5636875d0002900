// ProcessGroups: processes gathered by name, and what each group used so far.
//
// A group is named by configured patterns over the command line, else by the executable, the
// systemd unit, the container, the pod or the user, or several of them. Counters of a group only
// grow: what a process used stays with the group that it was in when it used it, after it has ended
// or moved on.
//
// Shown are the groups that are among the first `top` by processor, memory or I/O, and those of
// patterns; one stays shown for kKeep after it last was, so that series do not come and go, never
// more than `max_groups`. All others together are the group "(other)", whose counters only grow,
// too. A group without processes is forgotten after kKeep. Thread safety: one thread at a time.
#pragma once

#include <re2/re2.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "monitor/process_scan.hpp"
#include "nexus/host/roots.hpp"

namespace nexus::monitor {

enum class GroupBy { kExecutable, kUnit, kContainer, kPod, kUser };

/// "unit,executable"; kInvalidArgument names what it should have been.
[[nodiscard]] Result<std::vector<GroupBy>> parse_group_by(std::string_view text);

struct GroupPattern {
  std::string name;  // may hold \1 and so on
  std::shared_ptr<const re2::RE2> regex;
};
/// "NAME=REGEX"
[[nodiscard]] Result<GroupPattern> parse_group_pattern(std::string_view text);

struct ProcessGroup {
  enum State : std::size_t { kRunning, kSleeping, kWaiting, kZombie, kOther, kStates };

  std::string name;
  bool in_use = false;  // else the place is free
  bool pinned = false;  // of a pattern
  bool shown = false;
  bool was_top = false;
  SteadyTime last_top{};    // when it last was among the first
  SteadyTime last_alive{};  // when it last had a process
  Usage total;
  // Of the last pass:
  Usage recent;
  std::uint32_t processes = 0;
  std::uint64_t threads = 0;
  std::uint64_t open_files = 0;
  double worst_files = 0;  // the nearest to its limit of open files
  std::uint64_t virtual_bytes = 0;
  std::uint64_t resident = 0;
  std::uint64_t swapped = 0;
  std::uint64_t proportional = 0;
  std::uint64_t proportional_swap = 0;
  std::uint64_t oldest = 0;  // clock ticks after boot
  double oldest_start = 0;   // the same since the epoch
  std::array<std::uint32_t, kStates> states{};
};

class ProcessGroups final : public ProcessVisitor {
 public:
  struct Options {
    std::vector<GroupBy> by;
    std::vector<GroupPattern> patterns;
    std::size_t top = 10;
    std::size_t max_groups = 50;
    bool kernel_threads = false;
  };
  static constexpr Millis kKeep{600'000};
  static constexpr std::size_t kMaxGroups = 4096;  // that are told apart inside

  /// `scan` makes the passes that this visits.
  ProcessGroups(const host::Roots& roots, ProcessScan& scan, Options options);

  void start_pass();
  void identify(ProcessRecord& process) override;
  void add_use(const ProcessRecord& process, const Usage& use) override;
  /// After the pass: sums up, chooses what is shown.
  void finish_pass(SteadyTime now);

  /// Calls `visit(group)` for what is shown, in an order that stays; "(other)" comes first.
  template <typename Visit>
  void for_each_shown(Visit&& visit) const {
    visit(other_);
    for (const ProcessGroup& group : groups_) {
      if (group.in_use && group.shown) visit(group);
    }
  }
  /// The group of a process of the last pass, if it is shown by itself.
  [[nodiscard]] const ProcessGroup* shown_group(const ProcessRecord& process) const noexcept {
    const bool counted = !process.kernel || options_.kernel_threads;
    if (!counted || process.group == ProcessRecord::kNoGroup) return nullptr;
    const ProcessGroup& group = groups_[process.group];
    return group.shown ? &group : nullptr;
  }
  [[nodiscard]] std::size_t size() const noexcept { return index_.size(); }
  /// How often a process could not be given a group of its own, for there were too many.
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

 private:
  void name_of(const ProcessRecord& process, bool& pinned);
  void append(GroupBy by, const ProcessRecord& process);
  void append_user(std::uint32_t uid);
  void read_users();
  [[nodiscard]] std::uint32_t group_named(const std::string& name, bool pinned);
  void add_up(const ProcessRecord& process, ProcessGroup& group) const;
  void forget_old(SteadyTime now);
  void choose(SteadyTime now);
  template <typename Score>
  void mark_first(SteadyTime now, Score&& score);

  const std::string passwd_;
  ProcessScan& scan_;
  const Options options_;
  std::vector<ProcessGroup> groups_;
  std::vector<std::uint32_t> free_;
  std::unordered_map<std::string, std::uint32_t> index_;
  ProcessGroup other_;
  std::string name_;       // scratch
  std::string extracted_;  // scratch
  std::vector<std::pair<double, std::uint32_t>> scores_;
  std::unordered_map<std::uint32_t, std::string> users_;
  std::uint64_t users_stamp_ = 0;  // of the file that users_ was read from
  std::uint64_t refused_ = 0;
};

}  // namespace nexus::monitor
