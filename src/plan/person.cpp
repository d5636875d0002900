// What a person asks for: through the guardrails, once for each idempotency key.
#include "nexus/base/id.hpp"
#include "nexus/config/config.hpp"
#include "plan/planner_impl.hpp"

namespace nexus::plan {
namespace {

Action action_of(const ActionRequest& request, const config::Config& config, WallTime now,
                 SteadyTime received) {
  Action action;
  action.type = request.type;
  action.target = canonical_target(request.type, request.target);
  action.parameters = request.parameters;
  action.priority = request.priority;
  action.dry_run = request.dry_run;
  action.idempotency_key = request.idempotency_key;
  action.timeout = config.operations.action_timeout;
  action.cause = {
      .finding = "",
      .fingerprint = "",
      .summary = request.reason.empty() ? "asked for by " + request.requested_by : request.reason,
      .requested_by = request.requested_by,
      .detected = now};
  action.received = received;
  return action;
}

Result<Action> same_request(const Action& wanted, Action known) {
  if (known.type == wanted.type && known.target == wanted.target &&
      known.parameters == wanted.parameters && known.dry_run == wanted.dry_run) {
    return known;
  }
  return fail(Errc::kConflict, "idempotency key \"{}\" was used for {} {} (action {})",
              wanted.idempotency_key, known.type, known.target, known.id);
}

}  // namespace

Result<Action> Planner::request(const ActionRequest& request) {
  impl_->follow_clock();
  const auto now = impl_->current();
  if (now.config == nullptr)
    return fail(Errc::kUnavailable, "the planner has no configuration yet");
  auto action = action_of(request, *now.config, impl_->clock.wall(), impl_->clock.steady());
  if (auto valid = impl_->sink.validate(action); !valid) return propagate(std::move(valid));
  const std::string named = action.target;
  action.target = impl_->sink.resolve(action.type, named);
  action.account = impl_->sink.account(action);
  const auto known_by_key = [&]() -> Result<std::optional<Action>> {
    if (action.idempotency_key.empty()) return std::nullopt;
    return impl_->sink.find_by_key(action.idempotency_key);
  };
  auto known = known_by_key();
  if (!known) return propagate(std::move(known));
  if (*known) return same_request(action, **std::move(known));
  auto made =
      action.dry_run ? impl_->try_out(action, now) : impl_->act_for_person(action, named, now);
  if (made || made.error().code() != Errc::kAlreadyExists) return made;
  // Two requests with one key at the same time: the other one was first.
  known = known_by_key();
  if (known && *known) return same_request(action, **std::move(known));
  return made;
}

Result<Action> Planner::Impl::act_for_person(const Action& action, const std::string& named,
                                             const Settings& now) {
  const Reservation reservation(*this, account_of(action));
  Case c{.settings = &now,
         .remedy = nullptr,
         .action = action,
         .named = named,
         .asker = Asker::kPerson,
         .fired = {},
         .stopped = stopped(),
         .not_seen = std::nullopt,
         .missing_data = std::nullopt};
  auto ruling =
      reservation.held()
          ? judge_case(c)
          : Ruling{.verdict = Verdict::kSkip,
                   .code = "in_flight",
                   .reason = "skipped: another action for " + action.target + " is decided on"};
  if (ruling.verdict != Verdict::kSkip) {
    sink.supersede(account_of(action), "asked for by " + action.cause.requested_by);
    return act(std::move(c), ruling.verdict);
  }
  const std::string why = ruling.reason.substr(ruling.reason.find(' ') + 1);
  note_skip(action, ruling.code, std::move(ruling.reason));
  return fail(Errc::kConflict, "{} {}: {}", action.type, action.target, why);
}

Result<Action> Planner::Impl::try_out(Action action, const Settings& now) {
  const auto reason =
      protected_reason(action.type, action.target, now.config->guardrails.protected_units);
  if (reason) return fail(Errc::kConflict, "{} {}: {}", action.type, action.target, *reason);
  action.created = clock.wall();
  action.id = base::make_id(action.created);
  action.state = ActionState::kQueued;
  if (auto ok = sink.submit(action); !ok) return propagate(std::move(ok));
  count(to_string(Verdict::kAct), "dry_run");
  return action;
}

}  // namespace nexus::plan
