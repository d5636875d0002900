// Verification: has it helped?
//
// A `verify` expression must hold over what was measured after the action ended: it is evaluated
// with a look-back that ends there, so that the last sample from before the trouble proves nothing,
// and a second time as every query is, so that an expression which is true for want of samples
// (`... unless ...`) waits for them too.
#include <algorithm>

#include "execute/executor_impl.hpp"
#include "execute/journal_json.hpp"
#include "nexus/base/away.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/execute/undone.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::execute {
namespace {

namespace promql = knowledge::promql;
using plan::Action;
using plan::ActionState;

constexpr Millis kAskEvery{200};
/// For the step's own check, where no `verify` is configured.
constexpr Millis kOwnCheck{5000};
constexpr Millis kUndoAgainEvery{1000};
constexpr std::size_t kMaxShown = 200;

std::string show(const promql::Value& value) {
  if (const auto* scalar = std::get_if<promql::Scalar>(&value))
    return base::format_double(scalar->value);
  const auto* vector = std::get_if<promql::Vector>(&value);
  if (vector == nullptr) return "not a number";
  if (vector->empty()) return "no data";
  std::string out;
  for (const auto& element : *vector) {
    if (out.size() > kMaxShown) return out + ", ...";
    if (!out.empty()) out += ", ";
    out += fmt::format("{} {}", to_string(element.labels), base::format_double(element.value));
  }
  return out;
}

/// One expression, asked again and again.
class Asked {
 public:
  Asked(const promql::Query& query, const knowledge::Queryable& data, Clock& clock)
      : query_(query), data_(data), clock_(clock), ended_(clock.steady()) {}

  [[nodiscard]] bool holds(std::string& detail) const {
    const auto since = std::chrono::duration_cast<Millis>(clock_.steady() - ended_).count();
    promql::Limits fresh;
    fresh.lookback_ms = std::clamp<std::int64_t>(since, 1, fresh.lookback_ms);
    return ask(fresh, detail) && ask({}, detail);
  }

 private:
  [[nodiscard]] bool ask(const promql::Limits& limits, std::string& detail) const {
    auto value = query_.instant(data_, base::to_unix_millis(clock_.wall()), limits);
    detail = value ? show(*value) : value.error().message();
    return value && query_.holds(*value);
  }

  const promql::Query& query_;
  const knowledge::Queryable& data_;
  Clock& clock_;
  const SteadyTime ended_;
};

}  // namespace

std::string Executor::Impl::show_verify_value(const Action& action) const {
  auto query = promql::Query::parse(action.verify->expr.text);
  if (!query) return query.error().message();
  auto value = query->instant(data, base::to_unix_millis(clock.wall()));
  return value ? show(*value) : value.error().message();
}

Executor::Impl::Verification Executor::Impl::verify(const Entry& entry, Step& step,
                                                    const Action& action, std::string& detail) {
  auto with = context();
  std::optional<promql::Query> query;
  if (action.verify) {
    auto parsed = promql::Query::parse(action.verify->expr.text);
    if (!parsed) {
      detail = parsed.error().message();
      return Verification::kDoesNotHold;
    }
    query = *std::move(parsed);
  }
  std::optional<Asked> asked;
  if (query) asked.emplace(*query, data, clock);
  const auto window = action.verify ? action.verify->within : kOwnCheck;
  const auto deadline = clock.steady() + window;
  while (true) {
    const auto holds = asked ? std::optional(asked->holds(detail)) : step.verify(action, with);
    if (!holds) return Verification::kNothingToVerify;
    if (*holds) return Verification::kHolds;
    const auto now = clock.steady();
    if (now >= deadline) return Verification::kDoesNotHold;
    std::unique_lock lock(mutex);
    clock.wait_until(lock, changed, std::min(deadline, now + kAskEvery),
                     [&] { return entry.cancel || stopping; });
    if (entry.cancel) return Verification::kCancelled;
    if (stopping) return Verification::kStopping;
  }
}

bool Executor::Impl::undo(Entry& entry, Step& step, Action& action, UndoWish wish) {
  const auto* descriptor = find_action(action.type);
  if (descriptor == nullptr || descriptor->undo_help.empty()) return true;
  action.outcome.undone = kUndoing;
  if (auto written = journal.write(action); !written)
    log::error("executor", "{}", written.error().message());
  auto undone = take_back(entry, step, action, wish);
  if (!undone) return false;
  note_undone(action, *std::move(undone));
  return true;
}

std::optional<Result<std::string>> Executor::Impl::take_back(Entry& entry, Step& step,
                                                             const Action& action, UndoWish wish) {
  const auto for_who_is_away = !wish.waits       ? Millis(0)
                               : entry.recovered ? action.timeout
                                                 : std::min(action.timeout, kUndoWaits);
  auto limit = for_who_is_away;
  auto since = clock.steady();  // the limits count from here
  bool stopped = false;         // the step, or we, have found the switch on
  std::unique_ptr<FleetPlace> place;
  const auto attempt = [&]() -> Result<std::string> {
    limit = for_who_is_away;
    stopped = is_halted();
    if (stopped) return fail(Errc::kCancelled, "operations are stopped");
    if (wish.needs_place && place == nullptr) {
      auto got = place_for(action);
      if (!got) {
        if (wish.waits && got.error().code() == Errc::kConflict) limit = action.timeout;
        return fail(Errc::kUnavailable, "{}", got.error().message());
      }
      place = *std::move(got);
      wish.needs_place = place != nullptr;
    }
    auto with = context();
    with.halted = [&] {
      const bool now = is_halted();
      stopped = stopped || now;
      return now;
    };
    return step.undo(action, with);
  };
  while (true) {
    auto undone = attempt();
    const bool held = !undone && stopped && undone.error().code() == Errc::kCancelled;
    const auto now = clock.steady();
    if (held) {
      since = now;
      // It would lapse meanwhile, or keep others from what they may do.
      wish.needs_place = wish.needs_place || place != nullptr || entry.place != nullptr;
      place.reset();
      entry.place.reset();
    } else if (undone || !is_away(undone.error()) || entry.cancel || now >= since + limit) {
      return undone;
    }
    std::unique_lock lock(mutex);
    clock.wait_until(lock, changed, now + kUndoAgainEvery,
                     [&] { return stopping || (entry.cancel && !held); });
    if (stopping) return std::nullopt;  // it stays in the journal as it is, and is found again
  }
}

void Executor::Impl::note_undone(Action& action, Result<std::string> undone) const {
  action.outcome.undone =
      undone ? *std::move(undone) : std::string(kNotUndone) + undone.error().message();
  action.outcome.result += "; " + action.outcome.undone;
  self.counter("nexus_actions_undone_total", "Actions that did not help and were taken back.",
               {{"type", find_action(action.type)->name}, {"undone", undone ? "yes" : "no"}})
      .add();
}

/// The agent ended in the middle of an undo: what it has left is taken back.
void Executor::Impl::undo_again(Entry& entry, Step& step, Action action) {
  const bool disproved = action.outcome.verified.has_value();
  action.outcome.result += "; taken back after a restart of the agent";
  auto undone = take_back(entry, step, action, {});
  if (!undone) return;
  note_undone(action, *std::move(undone));
  finish(std::move(action), disproved ? ActionState::kUnverified : ActionState::kCancelled);
}

void Executor::Impl::conclude(Entry& entry, Step& step, Action action) {
  if (is_being_undone(action.outcome)) return undo_again(entry, step, std::move(action));
  action.state = ActionState::kVerifying;
  if (auto written = journal.write(action); !written)
    log::error("executor", "{}", written.error().message());
  {
    const std::lock_guard guard(mutex);
    publish(entry, action);
  }
  std::string detail;
  auto verification = verify(entry, step, action, detail);
  const bool well =
      verification == Verification::kHolds || verification == Verification::kNothingToVerify;
  bool disproved = false;
  if (well && action.experiment) {
    const auto improved = has_improved(entry, action);
    if (improved) {
      disproved = !*improved;
      verification = disproved ? Verification::kDoesNotHold : Verification::kHolds;
    } else {
      verification = entry.cancel ? Verification::kCancelled : Verification::kStopping;
    }
  }
  // It stays in the journal as it is, and is verified when the agent is back.
  if (verification == Verification::kStopping) return;
  auto with = context();
  action.outcome.after = step.evidence(action, with);
  if (action.verify) action.outcome.after = with_member(action.outcome.after, "verify", detail);
  switch (verification) {
    case Verification::kHolds:
      action.outcome.verified = true;
      return finish(std::move(action), ActionState::kSucceeded);
    case Verification::kNothingToVerify:
      return finish(std::move(action), ActionState::kSucceeded);
    case Verification::kDoesNotHold:
      action.outcome.verified = false;
      if (!disproved)
        action.outcome.result +=
            action.verify ? fmt::format("; not verified: {} did not hold within {}: {}",
                                        action.verify->expr.text,
                                        base::format_duration(action.verify->within), detail)
                          : std::string("; not verified: the target is not as it should be");
      if (!undo(entry, step, action)) return;
      return finish(std::move(action), ActionState::kUnverified);
    case Verification::kCancelled: {
      {
        const std::lock_guard guard(mutex);
        action.outcome.result +=
            fmt::format("; cancelled by {} while it was verified", entry.cancelled_by);
      }
      // Whether it has helped is not known: nothing half-tried stays.
      if (!undo(entry, step, action)) return;
      break;
    }
    case Verification::kStopping:
      break;
  }
  finish(std::move(action), ActionState::kCancelled);
}

}  // namespace nexus::execute
