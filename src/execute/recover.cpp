// After a restart of the agent, and the slow work of every tick.
//
// What recover() finds in the journal:  proposed: waits on;  queued: never started, ends as
// interrupted (a finding that still fires is decided about anew, with its counters);  running,
// verifying: the step is asked what became of it: done: it is verified and ends as usual; not done
// or unknown: interrupted, and not repeated.
#include <algorithm>

#include "execute/executor_impl.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"

namespace nexus::execute {

using plan::Action;
using plan::ActionState;

namespace {

constexpr Millis kPruneEvery{3'600'000};

}  // namespace

Status Executor::recover() {
  if (impl_->settings() == nullptr)
    return fail(Errc::kUnavailable, "recover: the executor has no configuration yet");
  auto unfinished = impl_->journal.unfinished();
  if (!unfinished) return propagate(std::move(unfinished), "recover");
  for (auto& action : *unfinished) impl_->recover_one(std::move(action));
  return {};
}

void Executor::Impl::recover_one(Action action) {
  if (action.state == ActionState::kProposed) {
    auto entry = std::make_shared<Entry>();
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
    action.outcome.result += "; verified after a restart of the agent";
    return verify_later(std::move(action));
  }
  auto with = context();
  std::string what;
  switch (step->recover(action, with, what)) {
    case Recovered::kDone:
      log::info("executor", "{} {} was found done after a restart of the agent: {}", action.type,
                action.target, what);
      action.outcome.result = fmt::format("found done after a restart of the agent: {}", what);
      return verify_later(std::move(action));
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
  action.outcome.after = step->evidence(action, with);
  finish(std::move(action), ActionState::kInterrupted);
}

void Executor::Impl::verify_later(Action action) {
  action.state = ActionState::kVerifying;
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
  const auto now = impl_->clock.wall();
  {
    const std::lock_guard guard(impl_->mutex);
    if (now >= impl_->last_prune && now < impl_->last_prune + kPruneEvery) return;
    impl_->last_prune = now;
  }
  if (auto ok = impl_->journal.prune(now - config->operations.journal_retention); !ok) {
    log::warning("executor", "{}", ok.error().message());
  }
}

void Executor::Impl::expire_proposals(const config::Config& now) {
  const auto oldest = clock.wall() - now.operations.approval_timeout;
  const auto expired = claim(
      [&](const Action& a) { return a.state == ActionState::kProposed && a.created <= oldest; });
  for (const auto& entry : expired) {
    end_early(*entry, ActionState::kExpired,
              fmt::format("nobody approved it within {}",
                          base::format_duration(now.operations.approval_timeout)));
  }
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
