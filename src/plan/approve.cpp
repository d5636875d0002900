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

Status Planner::approve(std::string_view id, std::string_view who, std::string_view why) {
  impl_->follow_clock();
  const auto now = impl_->current();
  if (now.config == nullptr)
    return fail(Errc::kUnavailable, "the planner has no configuration yet");
  const auto action = impl_->sink.find(id);
  if (!action) return std::unexpected(action.error());
  if (action->state != ActionState::kProposed) {
    return fail(Errc::kConflict, "action {} is {}, only a proposed one can be approved", id,
                to_string(action->state));
  }
  return impl_->approve(*action, now, who, why);
}

Status Planner::Impl::approve(const Action& action, const Settings& now, std::string_view who,
                              std::string_view why) {
  const Reservation reservation(*this, account_of(action));
  if (!reservation.held()) {
    return fail(Errc::kConflict, "action {}: another action for {} is decided on; approve it again",
                action.id, action.target);
  }
  if (auto valid = sink.validate(action); !valid) {
    if (valid.error().code() == Errc::kUnavailable) return valid;
    return refuse(action, "invalid", valid.error().message());
  }
  const auto* remedy = now.remedies->impl->find(action.remedy);
  if (remedy != nullptr && !action.definition.empty() && remedy->digest != action.definition) {
    return refuse(action, "redefined",
                  fmt::format("remedy {} is another one since it was proposed", action.remedy));
  }
  const Case c{.settings = &now,
               .remedy = remedy,
               .action = action,
               .named = action.target,
               .asker = Asker::kApproval,
               .fired = action.cause.detected,
               .stopped = stopped(),
               .not_seen = std::nullopt,
               .flaps = std::nullopt,
               .missing_data = std::nullopt};
  auto ruling = judge_case(c);
  if (ruling.verdict == Verdict::kSkip) {
    const auto objection = without_first_word(ruling.reason);
    if (ruling.code == "protected") return refuse(action, ruling.code, objection);
    record_skip(action, ruling.code, std::move(ruling.reason));
    return fail(Errc::kConflict, "action {} ({} {}) stays proposed: {}", action.id, action.type,
                action.target, objection);
  }
  auto decision =
      decision_of(action, to_string(Verdict::kAct), "ok",
                  fmt::format("{} {}: approved by {}{}; {}", action.type, action.target, who,
                              why.empty() ? "" : fmt::format(" ({})", why), action.cause.summary));
  {
    const std::lock_guard guard(mutex);
    recent.push_back({decision.time, account_of(action), Counts::kAction});
  }
  const auto take_back = [&] {
    const std::lock_guard guard(mutex);
    uncount(decision, account_of(action));
  };
  if (auto written =
          store->intend(nullptr, Counts::kAction, account_of(action), decision, take_refused());
      !written) {
    take_back();
    return written;
  }
  if (auto approved = sink.approve(action.id, who, why); !approved) {
    take_back();
    decision.verdict = to_string(Verdict::kSkip);
    decision.reason_code = "not_submitted";
    decision.reason = "skipped: " + approved.error().message();
    if (auto ok = store->correct(decision, account_of(action)); !ok)
      log::error("planner", "{}", ok.error().message());
    return approved;
  }
  handed_on(decision);
  count(decision.verdict, decision.reason_code);
  log::info("planner", "{} {}", decision.verdict, decision.reason);
  return {};
}

std::optional<Refusal> Planner::refusal(const Action& action) const {
  const auto now = impl_->current();
  const auto no = [](std::string_view code, std::string reason) {
    return Refusal{code, std::move(reason)};
  };
  if (now.config == nullptr) return no("unavailable", "the planner has no configuration yet");
  if (auto stop = impl_->stopped()) return no("stopped", *std::move(stop));
  auto mode = now.config->operations.mode;
  if (!action.remedy.empty()) {
    const auto* remedy = now.remedies->impl->find(action.remedy);
    if (remedy == nullptr || !remedy->definition.enabled)
      return no("no_remedy", fmt::format("there is no remedy {} any more, or it is switched off",
                                         action.remedy));
    if (!action.definition.empty() && remedy->digest != action.definition)
      return no("redefined",
                fmt::format("remedy {} is another one since it was decided on", action.remedy));
    mode = std::min(mode, remedy->definition.mode.value_or(mode));
  }
  if (mode == config::Mode::kObserve) return no("observe", "mode is observe, findings only");
  const bool asked_for = action.remedy.empty() || action.approved.has_value();
  if (mode == config::Mode::kPropose && !asked_for)
    return no("propose", "mode is propose, and nobody has approved it");
  if (auto why = impl_->protected_from(*now.config, action, action.target))
    return no("protected", *std::move(why));
  if (!action.remedy.empty()) {
    const auto finding = impl_->book.find(action.cause.fingerprint);
    const bool firing = finding && finding->state == analyze::FindingState::kFiring;
    if (!firing)
      return no("resolved", fmt::format("{} does not fire any more", action.cause.finding));
    // Who approved it may have looked for himself.
    if (!asked_for && !is_seen(*finding, impl_->clock.wall()))
      return no("not_seen", fmt::format("{} is not seen any more", action.cause.finding));
    if (!asked_for && finding->flapping)
      return no("flapping", fmt::format("{} flaps", action.cause.finding));
  }
  if (!asked_for) {
    const auto time = impl_->clock.wall();
    if (auto window = maintenance_for(now.remedies->impl->windows, account_of(action), time))
      return no("maintenance", *std::move(window));
    if (auto held = impl_->held(action, time)) return no("held", *std::move(held));
    if (auto suspect = impl_->too_many_unhealthy(now.config, action))
      return no("too_many_unhealthy", *std::move(suspect));
  }
  if (const auto down = impl_->dependency_down(now.config, action))
    return no("dependency", fmt::format("{} depends on {}", action.target, *down));
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

void Planner::Impl::uncount(const Decision& decision, const std::string& account) {
  // The newest: a proposal of the same moment stays counted when its approval was lost.
  const auto it = std::find_if(recent.rbegin(), recent.rend(), [&](const RecentAction& counted) {
    return counted.time == decision.time && counted.target == account;
  });
  if (it != recent.rend()) recent.erase(std::next(it).base());
}

void Planner::Impl::note_lost(Decision& decision, std::string what) {
  decision.verdict = to_string(Verdict::kSkip);
  decision.reason_code = "lost";
  decision.reason = "skipped: lost, the agent ended before " + what;
  log::warning("planner", "{} {} {}", decision.action_type, decision.target, decision.reason);
  count(decision.verdict, decision.reason_code);
  if (auto ok = store->correct(decision, decision.target); !ok)
    log::error("planner", "{}", ok.error().message());
  const std::lock_guard guard(mutex);
  uncount(decision, decision.target);
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
