// A person's approval of a proposal, and proposals and actions that never came to be.
#include <algorithm>

#include "nexus/base/log.hpp"
#include "plan/planner_impl.hpp"

namespace nexus::plan {
namespace {

/// Decisions that are looked at after a restart: more are not under way when an agent ends.
constexpr std::size_t kLookedAt = 1000;

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
  const RecentAction counted{clock.wall(), action.target};
  auto decision = decision_of(action, to_string(Verdict::kAct), "ok",
                              fmt::format("{} {}: approved by {}; {}", action.type, action.target,
                                          who, action.cause.summary));
  if (auto written = store->intend(nullptr, &counted, decision); !written) return written;
  if (auto approved = sink.approve(action.id, who); !approved) {
    decision.verdict = to_string(Verdict::kSkip);
    decision.reason_code = "not_submitted";
    decision.reason = "skipped: " + approved.error().message();
    if (auto ok = store->correct(decision); !ok) log::error("planner", "{}", ok.error().message());
    return approved;
  }
  {
    const std::lock_guard guard(mutex);
    recent.push_back(counted);
  }
  count(decision.verdict, decision.reason_code);
  log::info("planner", "{} {}", decision.verdict, decision.reason);
  return {};
}

Status Planner::Impl::refuse(const Action& action, std::string_view code, std::string_view why) {
  record_skip(action, code, fmt::format("skipped: {}", why));
  sink.refuse(action.id, why);
  return fail(Errc::kConflict, "action {} ({} {}) was refused for good: {}", action.id, action.type,
              action.target, why);
}

Status Planner::recover() {
  const auto now = impl_->current();
  if (now.config == nullptr)
    return fail(Errc::kUnavailable, "recover: the planner has no configuration yet");
  auto newest = impl_->store->decisions(kLookedAt, 0);
  if (!newest) return propagate(std::move(newest), "recover");
  // What is older may have left the journal in order.
  const auto since = impl_->clock.wall() - now.config->operations.journal_retention;
  for (auto& decision : *newest) {
    if (decision.action_id.empty() || decision.time <= since) continue;
    const auto action = impl_->sink.find(decision.action_id);
    if (!action && action.error().code() != Errc::kNotFound)
      return std::unexpected(action.error().with_context("recover"));
    if (!action) impl_->settle_lost(std::move(decision));
  }
  return {};
}

void Planner::Impl::settle_lost(Decision decision) {
  decision.verdict = to_string(Verdict::kSkip);
  decision.reason_code = "lost";
  decision.reason =
      fmt::format("skipped: lost, the agent ended before action {} was journaled; nothing was done",
                  decision.action_id);
  log::warning("planner", "{} {} {}", decision.action_type, decision.target, decision.reason);
  count(decision.verdict, decision.reason_code);
  if (auto ok = store->correct(decision); !ok) log::error("planner", "{}", ok.error().message());
  const PairKey key{decision.remedy, decision.target};
  PairState state;
  {
    const std::lock_guard guard(mutex);
    const auto it = pairs.find(key);
    if (it == pairs.end() || it->second.state.attempts == 0) return;
    --it->second.state.attempts;
    it->second.state.version = ++version;
    state = it->second.state;
  }
  save(key, state);
}

}  // namespace nexus::plan
