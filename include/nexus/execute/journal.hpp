// Journal: every action, written ahead. An action is in the state database before it starts, and
// each change of state is there before the next thing happens.
//
// Thread safety: all members, any thread. Errors of the database are returned: an action whose
// start cannot be journaled does not start.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/state.hpp"
#include "nexus/plan/action.hpp"

namespace nexus::execute {

struct ActionFilter {
  std::optional<plan::ActionState> state;
  std::string type;
  std::string target;
  std::string cause;                    // the finding's name, its fingerprint, or who asked
  std::string parent;                   // rungs of this ladder only
  std::optional<WallTime> since;        // created at this time or later
  std::optional<WallTime> until;        // created before
  std::optional<WallTime> ended_since;  // ended at this time or later
  bool ended = false;                   // final ones only
  std::size_t limit = 100;              // at most 1000
  std::string before;                   // id: only older ones (ids are ordered by time)
};

class Journal {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Journal>> open(Clock& clock, knowledge::StateDb& db);
  ~Journal();

  /// Inserts or updates the whole action.
  [[nodiscard]] Status write(const plan::Action& action);
  [[nodiscard]] Result<plan::Action> get(std::string_view id);
  [[nodiscard]] Result<std::optional<plan::Action>> find_by_key(std::string_view idempotency_key);
  /// Newest first.
  [[nodiscard]] Result<std::vector<plan::Action>> list(const ActionFilter& filter);
  /// Those that were not final when the agent stopped, oldest first.
  [[nodiscard]] Result<std::vector<plan::Action>> unfinished();
  [[nodiscard]] Result<std::uint64_t> finished_since(WallTime since);
  /// The rungs of a ladder, in their order.
  [[nodiscard]] Result<std::vector<plan::Action>> rungs_of(std::string_view parent);
  /// How long actions of this type took from start to end that were verified to have helped: the
  /// median of the last hundred, in seconds.
  [[nodiscard]] Result<std::optional<double>> usual_seconds(std::string_view type);
  /// Drops ended actions that are older, and the oldest beyond `most` actions; the newest
  /// kAlwaysKept stay whatever the clock says. At most kPruneAtOnce a call.
  [[nodiscard]] Status prune(WallTime older_than, std::uint64_t most);
  static constexpr std::uint64_t kAlwaysKept = 1000;
  static constexpr std::uint64_t kPruneAtOnce = 10'000;

 private:
  struct Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::execute
