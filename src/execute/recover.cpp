// After a restart of the agent, and the slow work of every tick.
//
// What recover() finds in the journal:  proposed: waits on;  queued: never started, ends as
// interrupted (a finding that still fires is decided about anew, with its counters);  verifying:
// verified further;  running: the step is asked what became of it: under way: it is followed to its
// end; nobody answers: asked again within the action's time limit; done: it is verified and ends as
// usual; not done or unknown: interrupted, and not repeated, but for what is safe to run again (an
// undo). The time limit stands still while operations are stopped and something is to be put back.
#include <algorithm>

#include "execute/actions.hpp"
#include "execute/executor_impl.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/execute/undone.hpp"
#include "nexus/host/subprocess.hpp"

namespace nexus::execute {

using plan::Action;
using plan::ActionState;

namespace {

constexpr Millis kPruneEvery{3'600'000};
constexpr Millis kFollowEvery{200};     // how often what is under way is looked at
constexpr Millis kAskAgainEvery{1000};  // and what cannot be asked for the moment

/// To take something back is safe to be done again: it does what is left (undone.hpp).
bool may_run_again(const Action& action) {
  return action.type == kUndoAction.name;
}

}  // namespace

Status Executor::recover() {
  if (impl_->settings() == nullptr)
    return fail(Errc::kUnavailable, "recover: the executor has no configuration yet");
  auto unfinished = impl_->journal.unfinished();
  if (!unfinished) return propagate(std::move(unfinished), "recover");
  for (auto& action : *unfinished) impl_->recover_one(std::move(action));
  impl_->take_up_ladders();
  return {};
}

void Executor::Impl::recover_one(Action action) {
  if (action.state == ActionState::kProposed) {
    auto entry = std::make_shared<Entry>();
    const auto waited = std::max(Millis(0), clock.wall() - action.created);
    entry->expires = clock.steady() + (settings()->operations.approval_timeout - waited);
    entry->action = std::make_shared<const Action>(std::move(action));
    const std::lock_guard guard(mutex);
    return add(std::move(entry));
  }
  if (action.state == ActionState::kRunning && !action.rungs.empty()) {
    auto entry = std::make_shared<Entry>();
    entry->parked = true;
    entry->claimed = true;
    entry->action = std::make_shared<const Action>(std::move(action));
    const std::lock_guard guard(mutex);
    return add(std::move(entry));
  }
  auto* step = step_of(action);
  if (action.state == ActionState::kQueued || step == nullptr) {
    action.outcome.result = step == nullptr ? "interrupted: this agent does not know the action"
                                            : "interrupted: the agent stopped before it started";
    return finish(std::move(action), ActionState::kInterrupted);
  }
  if (action.state == ActionState::kVerifying) {
    if (!is_being_undone(action.outcome))
      action.outcome.result += "; verified after a restart of the agent";
    return take_up(std::move(action), ActionState::kVerifying);
  }
  auto with = context();
  std::string what;
  const auto became = step->recover(action, with, what);
  if (became == Recovered::kUnknown && may_run_again(action)) {
    log::info("executor", "{} {} is begun again after a restart of the agent: {}", action.type,
              action.target, what);
    return take_up(std::move(action), ActionState::kRunning);
  }
  settle_recovered(std::move(action), *step, became, what);
}

void Executor::Impl::settle_recovered(Action action, Step& step, Recovered became,
                                      std::string_view what) {
  switch (became) {
    case Recovered::kNotReachable:
      log::info("executor",
                "what became of {} {} cannot be asked yet after a restart of the agent: {}",
                action.type, action.target, what);
      return take_up(std::move(action), ActionState::kRunning);
    case Recovered::kUnderWay:
      log::info("executor", "{} {} was found under way after a restart of the agent: {}",
                action.type, action.target, what);
      return take_up(std::move(action), ActionState::kRunning);
    case Recovered::kDone:
      log::info("executor", "{} {} was found done after a restart of the agent: {}", action.type,
                action.target, what);
      action.outcome.result = fmt::format("found done after a restart of the agent: {}", what);
      return take_up(std::move(action), ActionState::kVerifying);
    case Recovered::kNotDone:
      action.outcome.result =
          fmt::format("interrupted: the agent stopped in the middle and it was not done: {}", what);
      break;
    case Recovered::kUnknown:
      action.outcome.result = fmt::format(
          "interrupted: the agent stopped in the middle; what became of it cannot be told: {}",
          what);
      break;
  }
  auto with = context();
  action.outcome.after = step.evidence(action, with);
  finish(std::move(action), ActionState::kInterrupted);
}

void Executor::Impl::follow(Entry& entry, Step& step, Action action) {
  auto with = context();
  bool stopped = false;  // the step, or we, have found the switch on
  with.halted = [&] {
    const bool now = is_halted();
    stopped = stopped || now;
    return now;
  };
  auto deadline = clock.steady() + action.timeout;
  while (true) {
    std::string what;
    stopped = false;
    auto became = step.recover(action, with, what);
    const bool asked_for = became == Recovered::kUnknown && may_run_again(action);
    if (asked_for && with.halted()) {
      became = Recovered::kNotReachable;
      what = "nothing is taken back while operations are stopped";
    }
    const bool held = became == Recovered::kNotReachable && stopped;
    // What is put back is owed, whoever cancels; what somebody has asked for may be cancelled.
    const bool owed = held && !asked_for;
    const auto is_cancelled = [&] { return entry.cancel && !owed; };
    if (became == Recovered::kDone) {
      action.outcome.result =
          fmt::format("begun before a restart of the agent, and followed to its end: {}", what);
      return conclude(entry, step, std::move(action));
    }
    if (became == Recovered::kUnknown && may_run_again(action)) {
      if (const auto why = refused(action))
        return settle_recovered(std::move(action), step, Recovered::kNotDone, why->reason);
      return perform(entry, step, std::move(action));
    }
    if (became == Recovered::kNotDone || became == Recovered::kUnknown)
      return settle_recovered(std::move(action), step, became, what);
    // Under way; or it cannot be asked for the moment, as while the bus is restarted.
    const auto now = clock.steady();
    if (held) deadline = now + action.timeout;
    if (now >= deadline && became == Recovered::kNotReachable)
      return settle_recovered(std::move(action), step, Recovered::kUnknown, what);
    if (now >= deadline) {
      action.outcome.after = step.evidence(action, with);
      action.outcome.result = fmt::format(
          "begun before a restart of the agent, and not seen to end within {} after it: {}",
          base::format_duration(action.timeout), what);
      return finish(std::move(action), ActionState::kFailed);
    }
    std::unique_lock lock(mutex);
    const auto pause = became == Recovered::kNotReachable ? kAskAgainEvery : kFollowEvery;
    clock.wait_until(lock, changed, std::min(deadline, now + pause),
                     [&] { return is_cancelled() || stopping; });
    if (is_cancelled()) {
      action.outcome.result = fmt::format(
          "begun before a restart of the agent, not followed further (cancelled by {}): {}",
          entry.cancelled_by, what);
      lock.unlock();
      action.outcome.after = step.evidence(action, with);
      return finish(std::move(action), ActionState::kCancelled);
    }
    if (stopping) return;  // it stays `running` in the journal, and is found again
  }
}

void Executor::Impl::take_up(Action action, ActionState state) {
  action.state = state;
  auto entry = std::make_shared<Entry>();
  entry->recovered = true;
  entry->action = std::make_shared<const Action>(std::move(action));
  const std::lock_guard guard(mutex);
  add(std::move(entry));
}

void Executor::tick() {
  const auto config = impl_->settings();
  if (config == nullptr) return;
  impl_->expire_proposals(*config);
  impl_->retry_unsaved();
  impl_->self
      .gauge("nexus_commands_left_behind",
             "Commands that were killed and do not end (uninterruptible sleep).")
      .set(static_cast<double>(host::commands_left_behind()));
  impl_->refresh_names();
  const auto now = impl_->clock.wall();
  {
    const std::lock_guard guard(impl_->mutex);
    if (impl_->started && !impl_->stopping &&
        impl_->workers.size() < config->operations.max_concurrent_actions)
      impl_->spawn_workers();
    if (now >= impl_->last_prune && now < impl_->last_prune + kPruneEvery) return;
    impl_->last_prune = now;
  }
  if (auto ok = impl_->journal.prune(now - config->operations.journal_retention,
                                     config->operations.journal_actions);
      !ok) {
    log::warning("executor", "{}", ok.error().message());
  }
}

void Executor::Impl::expire_proposals(const config::Config& now) {
  std::vector<EntryPtr> expired;
  {
    const std::lock_guard guard(mutex);
    if (proposed == 0) return;
    for (const auto& [id, entry] : entries) {
      if (entry->action->state == ActionState::kProposed && entry->expires <= clock.steady() &&
          claim_entry(entry))
        expired.push_back(entry);
    }
  }
  std::ranges::sort(expired, {}, [](const EntryPtr& entry) { return entry->order; });
  for (const auto& entry : expired) {
    end_early(*entry, ActionState::kExpired,
              fmt::format("nobody approved it within {}",
                          base::format_duration(now.operations.approval_timeout)));
  }
}

void Executor::Impl::refresh_names() {
  if (systemd == nullptr) return;
  names.refresh([this](const std::string& unit) -> Result<std::string> {
    auto status = systemd->status(unit);
    if (!status) return propagate(std::move(status));
    return std::move(status->name);
  });
}

void Executor::Impl::retry_unsaved() {
  std::vector<Action> again;
  {
    const std::lock_guard guard(mutex);
    again.swap(unsaved);
  }
  for (const auto& action : again) save_final(action);
}

}  // namespace nexus::execute
