// A person's approval of a proposal, and proposals and actions that never came to be.
#include <algorithm>

#include "nexus/base/log.hpp"
#include "plan/planner_impl.hpp"

namespace nexus::plan {
namespace {

std::string without_first_word(std::string_view reason) {
  return std::string(reason.substr(reason.find(' ') + 1));
}

}  // namespace

Status Planner::approve(std::string_view id, std::string_view who) {
  const auto now = impl_->current();
  if (now.config == nullptr)
    return fail(Errc::kUnavailable, "the planner has no configuration yet");
  const auto action = impl_->sink.find(id);
  if (!action) return std::unexpected(action.error());
  if (action->state != ActionState::kProposed) {
    return fail(Errc::kConflict, "action {} is {}, only a proposed one can be approved", id,
                to_string(action->state));
  }
  return impl_->approve(*action, now, who);
}

Status Planner::Impl::approve(const Action& action, const Settings& now, std::string_view who) {
  const Reservation reservation(*this, action.target);
  if (!reservation.held()) {
    return fail(Errc::kConflict, "action {}: another action for {} is decided on; approve it again",
                action.id, action.target);
  }
  if (auto valid = sink.validate(action); !valid) {
    if (valid.error().code() == Errc::kUnavailable) return valid;
    return refuse(action, "invalid", valid.error().message());
  }
  const Case c{.settings = &now,
               .remedy = now.remedies->impl->find(action.remedy),
               .action = action,
               .named = action.target,
               .asker = Asker::kApproval,
               .fired = action.cause.detected,
               .stopped = stopped()};
  auto ruling = judge_case(c);
  if (ruling.verdict == Verdict::kSkip) {
    const auto why = without_first_word(ruling.reason);
    if (ruling.code == "protected") return refuse(action, ruling.code, why);
    record_skip(action, ruling.code, std::move(ruling.reason));
    return fail(Errc::kConflict, "action {} ({} {}) stays proposed: {}", action.id, action.type,
                action.target, why);
  }
  auto decision = decision_of(action, to_string(Verdict::kAct), "ok",
                              fmt::format("{} {}: approved by {}; {}", action.type, action.target,
                                          who, action.cause.summary));
  if (auto written = store->intend(nullptr, true, decision); !written) return written;
  if (auto approved = sink.approve(action.id, who); !approved) {
    decision.verdict = to_string(Verdict::kSkip);
    decision.reason_code = "not_submitted";
    decision.reason = "skipped: " + approved.error().message();
    if (auto ok = store->correct(decision); !ok) log::error("planner", "{}", ok.error().message());
    return approved;
  }
  {
    const std::lock_guard guard(mutex);
    recent.push_back({decision.time, decision.target});
  }
  handed_on(decision);
  count(decision.verdict, decision.reason_code);
  log::info("planner", "{} {}", decision.verdict, decision.reason);
  return {};
}

std::optional<std::string> Planner::refusal(const Action& action) const {
  const auto now = impl_->current();
  if (now.config == nullptr) return "the planner has no configuration yet";
  if (auto stop = impl_->stopped()) return stop;
  auto mode = now.config->operations.mode;
  if (!action.remedy.empty()) {
    const auto* remedy = now.remedies->impl->find(action.remedy);
    if (remedy == nullptr || !remedy->definition.enabled)
      return fmt::format("there is no remedy {} any more, or it is switched off", action.remedy);
    mode = std::min(mode, remedy->definition.mode.value_or(mode));
  }
  if (mode == config::Mode::kObserve) return "mode is observe, findings only";
  const bool asked_for = action.remedy.empty() || action.approved.has_value();
  if (mode == config::Mode::kPropose && !asked_for)
    return "mode is propose, and nobody has approved it";
  if (auto why =
          protected_reason(action.type, action.target, now.config->guardrails.protected_units)) {
    return why;
  }
  if (!action.remedy.empty()) {
    const auto finding = impl_->book.find(action.cause.fingerprint);
    const bool firing = finding && finding->state == analyze::FindingState::kFiring;
    if (!firing) return fmt::format("{} does not fire any more", action.cause.finding);
    // Who approved it may have looked for himself.
    if (!asked_for && !finding->seen_now)
      return fmt::format("{} is not seen any more", action.cause.finding);
    if (!asked_for && finding->flapping) return fmt::format("{} flaps", action.cause.finding);
  }
  if (!asked_for) {
    if (auto window =
            maintenance_for(now.remedies->impl->windows, action.target, impl_->clock.wall()))
      return window;
    if (auto suspect = impl_->too_many_unhealthy(*now.config, action)) return suspect;
  }
  if (const auto down = impl_->dependency_down(*now.config, action))
    return fmt::format("{} depends on {}, which is down", action.target, *down);
  return std::nullopt;
}

Status Planner::Impl::refuse(const Action& action, std::string_view code, std::string_view why) {
  record_skip(action, code, fmt::format("skipped: {}", why));
  sink.refuse(action.id, why);
  return fail(Errc::kConflict, "action {} ({} {}) was refused for good: {}", action.id, action.type,
              action.target, why);
}

Status Planner::recover() {
  auto open = impl_->store->open_decisions();
  if (!open) return propagate(std::move(open), "recover");
  for (auto& decision : *open) {
    const auto action = impl_->sink.find(decision.action_id);
    if (!action && action.error().code() != Errc::kNotFound)
      return std::unexpected(action.error().with_context("recover"));
    if (!action) {
      impl_->settle_lost(std::move(decision));
    } else if (action->state == ActionState::kProposed &&
               decision.verdict == to_string(Verdict::kAct)) {
      impl_->settle_lost_approval(std::move(decision));
    } else {
      impl_->handed_on(decision);
    }
  }
  return {};
}

void Planner::Impl::uncount(const Decision& decision) {
  const auto it = std::ranges::find_if(recent, [&](const RecentAction& counted) {
    return counted.time == decision.time && counted.target == decision.target;
  });
  if (it != recent.end()) recent.erase(it);
}

void Planner::Impl::note_lost(Decision& decision, std::string what) {
  decision.verdict = to_string(Verdict::kSkip);
  decision.reason_code = "lost";
  decision.reason = "skipped: lost, the agent ended before " + what;
  log::warning("planner", "{} {} {}", decision.action_type, decision.target, decision.reason);
  count(decision.verdict, decision.reason_code);
  if (auto ok = store->correct(decision); !ok) log::error("planner", "{}", ok.error().message());
  const std::lock_guard guard(mutex);
  uncount(decision);
}

void Planner::Impl::settle_lost_approval(Decision decision) {
  note_lost(decision, fmt::format("the approval of action {} was journaled; it stays proposed",
                                  decision.action_id));
}

void Planner::Impl::settle_lost(Decision decision) {
  note_lost(decision, fmt::format("action {} was journaled; nothing was done", decision.action_id));
  const PairKey key{decision.remedy, decision.target};
  PairState state;
  {
    const std::lock_guard guard(mutex);
    const auto it = pairs.find(key);
    if (it == pairs.end() || it->second.state.attempts == 0) return;
    --it->second.state.attempts;
    ++it->second.state.unanswered;  // an agent that ends here again and again backs off
    it->second.state.version = ++version;
    state = it->second.state;
  }
  save(key, state);
}

}  // namespace nexus::plan
