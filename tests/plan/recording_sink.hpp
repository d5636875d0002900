// An ActionSink that keeps what it is given, and ends it when a test says so. Not thread-safe.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "nexus/plan/planner.hpp"

namespace nexus::plan::test {

class RecordingSink final : public ActionSink {
 public:
  Status submit(Action action) override {
    if (full) return fail(Errc::kExhausted, "the queue is full");
    if (auto known = find_by_key(action.idempotency_key); *known)
      return fail(Errc::kAlreadyExists, "key was used");
    submitted.push_back(action);
    open.push_back(std::move(action));
    return {};
  }
  bool in_flight(std::string_view target) const override {
    return std::ranges::any_of(
        open, [&](const Action& a) { return account_of(a) == target && !a.dry_run; });
  }
  bool active(std::string_view target) const override {
    return std::ranges::any_of(open, [&](const Action& a) {
      return account_of(a) == target && !a.dry_run && a.state != ActionState::kProposed;
    });
  }
  void supersede(std::string_view target, std::string_view) override {
    const auto copy = open;
    for (const auto& action : copy) {
      if (account_of(action) == target && action.state == ActionState::kProposed)
        end(action.id, ActionState::kCancelled, "superseded");
    }
  }
  std::string account(const Action& action) const override {
    const auto known = accounts.find(action.target);
    return known == accounts.end() ? std::string() : known->second;
  }
  Result<std::optional<double>> usual_seconds(std::string_view) const override { return usual; }
  std::size_t targets_in_flight() const override {
    std::set<std::string> targets;
    for (const auto& action : open) {
      if (action.state != ActionState::kProposed && !action.dry_run) targets.insert(action.target);
    }
    return targets.size();
  }
  Status validate(const Action& action) const override {
    if (action.type == "no_such_action")
      return fail(Errc::kInvalidArgument, "there is no action {}", action.type);
    return {};
  }
  Result<std::optional<Action>> find_by_key(std::string_view key) const override {
    for (const auto& action : submitted) {
      if (!key.empty() && action.idempotency_key == key) return action;
    }
    return std::nullopt;
  }
  void withdraw(std::string_view fingerprint, std::string_view) override {
    const auto copy = open;
    for (const auto& action : copy) {
      if (action.cause.fingerprint == fingerprint && !action.started)
        end(action.id, ActionState::kCancelled);
    }
  }

  std::string resolve(std::string_view, std::string_view target) override {
    const auto known = aliases.find(std::string(target));
    return known == aliases.end() ? std::string(target) : known->second;
  }
  bool name_known(std::string_view, std::string_view target) const override {
    return !unknown.contains(target);
  }
  Result<Action> find(std::string_view id) const override {
    for (const auto* list : {&open, &submitted}) {
      const auto it = std::ranges::find(*list, id, &Action::id);
      if (it != list->end()) return *it;
    }
    return fail(Errc::kNotFound, "no action {}", id);
  }
  Status approve(std::string_view id, std::string_view who, std::string_view why) override {
    if (full) return fail(Errc::kExhausted, "the queue is full");
    const auto it = std::ranges::find(open, id, &Action::id);
    if (it == open.end() || it->state != ActionState::kProposed)
      return fail(Errc::kConflict, "action {} is not proposed", id);
    it->state = ActionState::kQueued;
    it->approved = it->created;
    it->approved_by = who;
    it->approval_reason = why;
    return {};
  }
  void refuse(std::string_view id, std::string_view) override {
    end(std::string(id), ActionState::kCancelled);
  }

  Action* on(std::string_view target) {
    const auto it =
        std::ranges::find(open, target, [](const Action& a) { return std::string_view(a.target); });
    return it == open.end() ? nullptr : &*it;
  }
  void end(std::string id, ActionState state, std::string_view code = {}) {
    const auto it = std::ranges::find(open, id, &Action::id);
    if (it == open.end()) return;
    Action action = *it;
    action.state = state;
    action.outcome.reason_code = code;
    if (!code.empty()) action.outcome.result = "because of " + std::string(code);
    if (finished) finished(action);
    std::erase_if(open, [&](const Action& a) { return a.id == id; });
  }

  bool full = false;
  std::map<std::string, std::string> aliases;
  std::map<std::string, std::string> accounts;
  std::optional<double> usual;                 // seconds that an action takes
  std::set<std::string, std::less<>> unknown;  // names that nobody can tell the unit of
  std::vector<Action> submitted;
  std::vector<Action> open;
  std::function<void(const Action&)> finished;
};

}  // namespace nexus::plan::test
