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
  std::size_t limit = 100;  // at most 1000
  std::string before;       // id: only older ones (ids are ordered by time)
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
  [[nodiscard]] Status prune(WallTime older_than);

 private:
  struct Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::execute
