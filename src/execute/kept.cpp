#include "execute/kept.hpp"

#include <algorithm>
#include <functional>
#include <tuple>

#include "execute/executor_impl.hpp"
#include "execute/parameter_values.hpp"
#include "nexus/base/away.hpp"
#include "nexus/execute/undone.hpp"

namespace nexus::execute {
namespace {

using plan::Action;
using plan::ActionState;

constexpr std::string_view kUndo = "undo_action";

bool sets_values(const Action& action) {
  const auto* descriptor = find_action(action.type);
  return descriptor != nullptr && descriptor->sets_values;
}

WallTime ended(const Action& action) {
  return action.finished.value_or(action.created);
}

bool is_before(const Action& a, const Action& b) {
  return std::tuple(ended(a), std::string_view(a.id)) <
         std::tuple(ended(b), std::string_view(b.id));
}

/// Whether it may have left something that it has set.
bool left_something(const Action& action) {
  if (!action.started || is_undone(action.outcome)) return false;
  if (action.state != ActionState::kFailed) return true;
  // What failed before it was tried has no evidence of the time after.
  return !action.outcome.after.empty() && action.outcome.before != action.outcome.after;
}

/// Whether it says that what it is about is wanted by nobody any more. One that was refused, or
/// expired, says the opposite; one that has found another value was meant all the same.
bool releases(const Action& undo) {
  return undo.state == ActionState::kSucceeded ||
         (undo.state == ActionState::kFailed && undo.started);
}

}  // namespace

void KeptSettings::heed(const Action& action) {
  const std::lock_guard guard(mutex_);
  take(action, Known::kIsOlder);
  forget_old();
}

void KeptSettings::take(const Action& action, Known known) {
  if (action.dry_run || !plan::is_final(action.state)) return;
  if (action.type == kUndo) {
    if (releases(action)) released_.insert(text_parameter(action.parameters, "action"));
    return;
  }
  if (!sets_values(action)) return;
  const auto& account = plan::account_of(action);
  auto& of_one = actions_[account];
  const auto same = std::ranges::find(of_one, action.id, &Action::id);
  if (same != of_one.end()) {
    if (known == Known::kIsNewer) return;
    of_one.erase(same);
  }
  // What was taken back stays known until the journal was read, which may have it as it was before.
  if (left_something(action) || !read_) {
    Action brief = action;
    auto& outcome = brief.outcome;  // may be large, and is not asked for
    outcome.output.clear();
    outcome.evidence.clear();
    outcome.experiment.clear();
    of_one.insert(std::ranges::upper_bound(of_one, brief, is_before), std::move(brief));
  }
  if (of_one.size() > kMostOfOne) of_one.erase(of_one.begin());
  if (of_one.empty()) actions_.erase(account);
}

void KeptSettings::forget_old() {
  if (!read_) return;
  while (actions_.size() > Executor::kMostKept) {
    actions_.erase(std::ranges::min_element(actions_, [](const auto& a, const auto& b) {
      return is_before(a.second.back(), b.second.back());
    }));
  }
  std::erase_if(released_, [&](const std::string& id) {
    return std::ranges::none_of(actions_, [&](const auto& one) {
      return std::ranges::find(one.second, id, &Action::id) != one.second.end();
    });
  });
}

Status KeptSettings::read(Journal& journal) {
  {
    const std::lock_guard guard(mutex_);
    if (read_) return {};
  }
  constexpr std::size_t kAtOnce = 1000;
  std::vector<std::string> types = {std::string(kUndo)};
  for (const auto* descriptor : actions()) {
    if (descriptor->sets_values) types.emplace_back(descriptor->name);
  }
  for (const auto& type : types) {
    ActionFilter filter{.type = type, .ended = true, .limit = kAtOnce};
    while (true) {
      const auto some = journal.list(filter);
      if (!some) return std::unexpected(some.error());
      const std::lock_guard guard(mutex_);
      for (const Action& action : *some) take(action, Known::kIsNewer);
      if (some->size() < kAtOnce) break;
      filter.before = some->back().id;
    }
  }
  const std::lock_guard guard(mutex_);
  read_ = true;
  for (auto& [account, of_one] : actions_)
    std::erase_if(of_one, [](const Action& action) { return !left_something(action); });
  std::erase_if(actions_, [](const auto& one) { return one.second.empty(); });
  forget_old();
  return {};
}

std::vector<KeptSettings::Standing> KeptSettings::standing() const {
  std::vector<Standing> out;
  {
    const std::lock_guard guard(mutex_);
    for (const auto& [account, of_one] : actions_) {
      std::set<std::string, std::less<>> known;
      for (auto action = of_one.rbegin(); action != of_one.rend(); ++action) {
        Standing one;
        for (const auto& [name, value] : action->parameters) {
          if (known.insert(name).second) one.parameters.insert(name);
        }
        if (one.parameters.empty() || action->state != ActionState::kSucceeded ||
            !left_something(*action) || released_.contains(action->id))
          continue;
        one.action = *action;
        out.push_back(std::move(one));
      }
    }
  }
  std::ranges::sort(out,
                    [](const auto& a, const auto& b) { return is_before(b.action, a.action); });
  return out;
}

/// On which accounts something is being set, or taken back.
std::set<std::string, std::less<>> Executor::Impl::being_set() const {
  const std::lock_guard guard(mutex);
  std::set<std::string, std::less<>> out;
  for (const auto& [id, entry] : entries) {
    const Action& action = *entry->action;
    const bool runs = entry->taken || action.state == ActionState::kRunning ||
                      action.state == ActionState::kVerifying;
    if (runs && !action.dry_run && (sets_values(action) || action.type == kUndo))
      out.insert(plan::account_of(action));
  }
  return out;
}

Result<std::vector<Kept>> Executor::kept() const {
  if (auto read = impl_->settings_kept.read(impl_->journal); !read)
    return std::unexpected(read.error());
  auto context = impl_->context();
  const auto busy_before = impl_->being_set();
  std::vector<Kept> out;
  for (auto& standing : impl_->settings_kept.standing()) {
    Kept one{.action = std::move(standing.action), .values = {}, .unknown = {}};
    auto values = impl_->step_of(one.action)->values(one.action, context);
    if (values) {
      one.values = *std::move(values);
      std::erase_if(one.values, [&](const SetValue& value) {
        return !standing.parameters.contains(value.parameter);
      });
    } else if (is_away(values.error())) {
      one.unknown = values.error().message();
      context.systemd = nullptr;  // one that hangs is waited for once
    }
    out.push_back(std::move(one));
  }
  const auto busy_after = impl_->being_set();
  for (Kept& one : out) {
    const auto& account = plan::account_of(one.action);
    if (!busy_before.contains(account) && !busy_after.contains(account)) continue;
    one.values.clear();
    one.unknown = "it is being set, or taken back";
  }
  std::erase_if(out, [](const Kept& one) { return one.values.empty() && one.unknown.empty(); });
  return out;
}

}  // namespace nexus::execute
