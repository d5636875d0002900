// What actions have set and what has become of it.
#include <algorithm>
#include <functional>
#include <set>

#include "execute/executor_impl.hpp"
#include "execute/parameter_values.hpp"
#include "nexus/base/away.hpp"
#include "nexus/execute/undone.hpp"

namespace nexus::execute {
namespace {

using plan::Action;
using plan::ActionState;

/// Ids of the actions that somebody has asked to roll back, with success or without.
Result<std::set<std::string>> asked_back(Journal& journal) {
  auto undos = journal.list({.type = "undo_action", .ended = true, .limit = 1000});
  if (!undos) return propagate(std::move(undos));
  std::set<std::string> out;
  for (const Action& undo : *undos) {
    if (!undo.dry_run) out.insert(text_parameter(undo.parameters, "action"));
  }
  return out;
}

/// What was done and not taken back, newest first.
Result<std::vector<Action>> done_by(Journal& journal) {
  std::vector<Action> out;
  for (const auto* descriptor : actions()) {
    if (!descriptor->sets_values) continue;
    auto done = journal.list({.state = ActionState::kSucceeded,
                              .type = std::string(descriptor->name),
                              .limit = Executor::kMostKept});
    if (!done) return propagate(std::move(done));
    for (Action& action : *done) {
      if (!action.dry_run && !is_undone(action.outcome)) out.push_back(std::move(action));
    }
  }
  std::ranges::sort(out, std::greater(), &Action::id);
  return out;
}

/// What was set by which parameter on what.
using Places = std::set<std::pair<std::string, std::string>>;

}  // namespace

Result<std::vector<Kept>> Executor::kept() const {
  const auto released = asked_back(impl_->journal);
  if (!released) return std::unexpected(released.error());
  auto done = done_by(impl_->journal);
  if (!done) return std::unexpected(done.error());
  auto context = impl_->context();
  std::vector<Kept> out;
  Places known;
  for (Action& action : *done) {
    Places fresh;  // what no later action has set
    for (const auto& [name, value] : action.parameters) {
      const auto [place, inserted] = known.emplace(plan::account_of(action), name);
      if (inserted) fresh.insert(*place);
    }
    if (fresh.empty() || released->contains(action.id)) continue;
    auto values = impl_->step_of(action)->values(action, context);
    Kept one{.action = std::move(action), .values = {}, .unknown = {}};
    if (values) {
      one.values = *std::move(values);
      std::erase_if(one.values, [&](const SetValue& value) {
        return !fresh.contains({plan::account_of(one.action), value.parameter});
      });
    } else {
      one.unknown = values.error().message();
      // A systemd that hangs is waited for once.
      if (is_away(values.error())) context.systemd = nullptr;
    }
    if (!one.values.empty() || !one.unknown.empty()) out.push_back(std::move(one));
  }
  return out;
}

}  // namespace nexus::execute
