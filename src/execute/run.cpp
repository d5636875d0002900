// What a worker does with one action: permission, evidence, journal, step, verification, final
// state.
#include <fnmatch.h>

#include <algorithm>

#include "execute/executor_impl.hpp"
#include "execute/journal_json.hpp"
#include "nexus/base/away.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/loop_thread.hpp"
#include "nexus/config/service_name.hpp"
#include "nexus/knowledge/promql.hpp"
#include "nexus/plan/planner.hpp"

namespace nexus::execute {

using plan::Action;
using plan::ActionState;

namespace {

/// Ended actions whose final state the journal did not take, kept to be written later.
constexpr std::size_t kMaxUnsaved = 1000;
/// How often what is begun again after a restart asks for a counterpart that is away.
constexpr Millis kAskAgainEvery{1000};

double seconds(Nanos duration) {
  return std::chrono::duration<double>(duration).count();
}

/// The place of an action that has ended, or is left.
struct Release {
  Entry& entry;
  ~Release() { entry.place.reset(); }
};

}  // namespace

void Executor::Impl::work(std::size_t worker) {
  base::name_this_thread(fmt::format("nexus-act-{}", worker));
  while (const auto entry = take(worker)) {
    run_one(*entry);
    const std::lock_guard guard(mutex);
    --running;
    if (entry->action->experiment) --trials;
    ++generation;
    show_queue();
    changed.notify_all();
  }
}

void Executor::Impl::run_one(Entry& entry) {
  Action action;
  {
    const std::lock_guard guard(mutex);
    action = *entry.action;
  }
  auto* step = step_of(action);
  if (entry.recovered && !action.rungs.empty()) return end_recovered_ladder(action);
  if (entry.recovered) {
    return action.state == ActionState::kRunning ? follow(entry, *step, std::move(action))
                                                 : conclude(entry, *step, std::move(action));
  }
  if (entry.cancel) {
    {
      const std::lock_guard guard(mutex);
      action.outcome.result = fmt::format("cancelled by {} before it started", entry.cancelled_by);
    }
    return finish(std::move(action), ActionState::kCancelled);
  }
  // The configuration may have changed since it was queued.
  if (auto valid = step != nullptr ? step->validate(action, context())
                                   : fail(Errc::kUnsupported, "no such action");
      !valid) {
    action.outcome.result = valid.error().message();
    return finish(std::move(action), ActionState::kFailed);
  }
  if (action.dry_run) return run_dry(entry, *step, std::move(action));
  if (const auto why = refused(action)) return call_off(std::move(action), why->code, why->reason);
  if (const auto why = unfit(action)) return call_off(std::move(action), why->code, why->reason);
  if (!action.rungs.empty()) return climb(entry, *step, std::move(action));
  auto place = place_for(action);
  if (!place) {
    const bool taken = place.error().code() == Errc::kConflict;
    return call_off(std::move(action), taken ? "fleet_lock" : "fleet_unreachable",
                    place.error().message());
  }
  entry.place = *std::move(place);
  const Release release{entry};
  if (entry.place != nullptr) action.outcome.fleet = entry.place->describe();
  if (auto begun = begin(entry, *step, action); !begun) {
    action.outcome.result = "not started: " + begun.error().message();
    return finish(std::move(action), ActionState::kFailed);
  }
  // Taking evidence and writing the journal took their time: the kill switch is asked once more.
  auto why = refused(action);
  if (const auto run = member_of(action.outcome.before, "invocation_id");
      !why && !action.identity.empty() && !run.empty() && run != action.identity) {
    why = plan::Refusal{"identity",
                        fmt::format("{} is another run since it was decided on: somebody has "
                                    "started it meanwhile",
                                    action.target)};
  }
  if (why) {
    action.started.reset();
    return call_off(std::move(action), why->code, why->reason);
  }
  tell_started(action);
  perform(entry, *step, std::move(action));
}

void Executor::Impl::tell_started(const Action& action) {
  std::shared_ptr<const Started> callback;
  {
    const std::lock_guard guard(mutex);
    callback = started_callback;
  }
  if (callback != nullptr && *callback) (*callback)(action);
}

void Executor::Impl::call_off(Action action, std::string_view code, std::string why) {
  action.outcome.reason_code = code;
  action.outcome.result = "cancelled before it started: " + std::move(why);
  finish(std::move(action), ActionState::kCancelled);
}

std::optional<plan::Refusal> Executor::Impl::unfit(const Action& action) const {
  if (action.only_if.empty()) return std::nullopt;
  namespace promql = knowledge::promql;
  auto query = promql::Query::parse(action.only_if);
  if (!query) return plan::Refusal{"missing_data", "only_if: " + query.error().message()};
  auto value = query->instant(data, base::to_unix_millis(clock.wall()));
  if (!value) return plan::Refusal{"missing_data", "only_if: " + value.error().message()};
  if (query->holds(*value)) return std::nullopt;
  const auto* vector = std::get_if<promql::Vector>(&*value);
  // Without an answer it is not known: what is missing holds, as what is false does.
  if (vector != nullptr && vector->empty())
    return plan::Refusal{
        "missing_data",
        fmt::format("only_if {} has no result: it is not so, or nothing is known", action.only_if)};
  return plan::Refusal{"condition", fmt::format("only_if {} is not true", action.only_if)};
}

Result<std::unique_ptr<FleetPlace>> Executor::Impl::place_for(const Action& action) const {
  std::shared_ptr<FleetLock> ask;
  config::FleetSection section;
  {
    const std::lock_guard guard(mutex);
    ask = fleet;
    section = fleet_section;
  }
  const bool asks = std::ranges::any_of(section.actions, [&](const std::string& glob) {
    return fnmatch(glob.c_str(), action.type.c_str(), 0) == 0;
  });
  if (ask == nullptr || !asks) return std::unique_ptr<FleetPlace>();
  const std::string what = section.scope == "all"                                ? "all"
                           : section.scope == "remedy" && !action.remedy.empty() ? action.remedy
                                                                                 : action.type;
  // Beyond what it may take, so that nobody else begins while it ends.
  auto lasts = action.timeout + Millis(60'000);
  if (action.verify) lasts += action.verify->within;
  if (action.experiment) lasts += action.experiment->after;
  if (const auto* known = find_action(action.type); known != nullptr && !known->undo_help.empty())
    lasts += kUndoWaits + action.timeout;  // taken back when it was in vain
  auto place = ask->acquire(what, lasts);
  self.counter("nexus_fleet_lock_total", "Times that the lock which hosts share was asked for.",
               {{"result", place                                     ? "granted"
                           : place.error().code() == Errc::kConflict ? "taken"
                                                                     : "unreachable"}})
      .add();
  return place;
}

void Executor::Impl::run_dry(Entry&, Step& step, Action action) {
  auto with = context();
  action.started = clock.wall();
  auto would = action.rungs.empty() ? step.dry_run(action, with) : would_climb(action);
  if (would) {
    action.outcome.would_do = *std::move(would);
    action.outcome.result = "dry run: nothing was done";
    return finish(std::move(action), ActionState::kSucceeded);
  }
  action.outcome.result = "dry run: " + would.error().message();
  finish(std::move(action), ActionState::kFailed);
}

Status Executor::Impl::begin(Entry& entry, Step& step, Action& action) {
  auto with = context();
  action.outcome.before = step.evidence(action, with);
  if (action.verify) {
    action.outcome.before = with_member(action.outcome.before, "verify", show_verify_value(action));
  }
  const auto* descriptor = find_action(action.type);
  std::shared_ptr<const Witness> ask;
  {
    const std::lock_guard guard(mutex);
    ask = witness;
  }
  if (descriptor != nullptr && !descriptor->gentle && ask != nullptr && *ask)
    action.outcome.evidence = (*ask)(action);
  auto running_now = action;
  running_now.state = ActionState::kRunning;
  running_now.started = clock.wall();
  if (auto written = journal.write(running_now); !written) return written;
  action = std::move(running_now);
  const std::lock_guard guard(mutex);
  publish(entry, action);
  return {};
}

void Executor::Impl::note_begun(Action& action) {
  if (action.detection_to_start_seconds || action.received == SteadyTime{}) return;
  const double took = seconds(clock.steady() - action.received);
  action.detection_to_start_seconds = took;
  self.counter(
          "nexus_detection_to_start_seconds_total",
          "Time from the detection of a finding (or a request) to the start of its action, summed.")
      .add(took);
  self.counter(
          "nexus_detected_actions_started_total",
          "Actions started whose time of detection is known: the count that belongs to the sum.")
      .add();
}

void Executor::Impl::perform(Entry& entry, Step& step, Action action) {
  auto with = context();
  const StepRun run{
      .deadline = clock.steady() + action.timeout,
      .cancelled = [&] { return entry.cancel.load() || (!goes_on(action) && is_halted()); },
      .leaving = [&] { return abandon.load(); },
      .begun = [&] { note_begun(action); },
      .fencing_token = entry.place != nullptr ? std::optional(entry.place->token()) : std::nullopt};
  const auto attempt = [&] { return step.run(action, with, run); };
  auto done = attempt();
  // After a boot the agent is up before the engines that it asks.
  while (entry.recovered && !done && is_away(done.error()) && clock.steady() < run.deadline) {
    {
      std::unique_lock lock(mutex);
      clock.wait_until(lock, changed, std::min(run.deadline, clock.steady() + kAskAgainEvery),
                       [&] { return entry.cancel || stopping; });
      if (stopping) return;  // it stays `running` in the journal, and is found again
    }
    done = run.cancelled() ? fail(Errc::kCancelled, "{}", done.error().message()) : attempt();
  }
  if (!done) {
    action.outcome.after = step.evidence(action, with);
    return settle_failure(std::move(action), done.error(), entry);
  }
  action.outcome.result = std::move(done->result);
  action.outcome.output = std::move(done->output);
  if (done->left) return leave(action);
  if (done->failed) {
    action.outcome.after = step.evidence(action, with);
    return finish(std::move(action), ActionState::kFailed);
  }
  conclude(entry, step, std::move(action));
}

/// A job of a unit or container that is stopped in the middle leaves it down: that one goes on to
/// its end.
bool Executor::Impl::goes_on(const Action& action) {
  const auto name = config::parse_service_name(action.target);
  if (name.is_unit()) return plan::is_unit_action(action.type);
  return action.type.ends_with("_service") && name.kind != "kubernetes";
}

bool Executor::Impl::is_halted() const {
  std::shared_ptr<const std::function<bool()>> ask;
  {
    const std::lock_guard guard(mutex);
    ask = halted;
  }
  return ask != nullptr && *ask && (*ask)();
}

void Executor::Impl::leave(const Action& action) {
  log::info("executor", "{} {}: {}", action.type, action.target, action.outcome.result);
  // It stays `running`: recover() looks at it when the agent is back.
  if (auto written = journal.write(action); !written)
    log::error("executor", "{}", written.error().message());
}

void Executor::Impl::settle_failure(Action action, const Error& error, const Entry& entry) {
  action.outcome.result = error.message();
  if (error.code() != Errc::kCancelled) return finish(std::move(action), ActionState::kFailed);
  if (!entry.cancel && !abandon && is_halted()) {
    action.outcome.result = "operations were stopped: " + error.message();
    return finish(std::move(action), ActionState::kCancelled);
  }
  if (!entry.cancel) {
    action.outcome.result = "interrupted: the agent was stopped in the middle: " + error.message();
    return finish(std::move(action), ActionState::kInterrupted);
  }
  {
    const std::lock_guard guard(mutex);
    action.outcome.result = fmt::format("cancelled by {}: {}", entry.cancelled_by, error.message());
  }
  finish(std::move(action), ActionState::kCancelled);
}

void Executor::Impl::save_final(const Action& action) {
  auto written = journal.write(action);
  if (written) return;
  log::error("executor", "{}", written.error().message());
  const std::lock_guard guard(mutex);
  if (unsaved.size() < kMaxUnsaved) unsaved.push_back(action);
}

void Executor::Impl::count_finished(const Action& action) {
  // The type comes from the table, and from nowhere else: a journal of another version may hold
  // others.
  const auto* descriptor = find_action(action.type);
  const std::string_view type = descriptor != nullptr ? descriptor->name : "unknown";
  self.counter("nexus_actions_total", "Actions that have ended, by type and final state.",
               {{"type", type}, {"state", plan::to_string(action.state)}})
      .add();
  if (!action.started || !action.finished) return;
  self.counter("nexus_action_duration_seconds_total",
               "Time that actions took with verification, summed by type.", {{"type", type}})
      .add(std::max(0.0, seconds(*action.finished - *action.started)));
}

void Executor::Impl::forget(const Action& action) {
  const std::lock_guard guard(mutex);
  const auto it = entries.find(action.id);
  if (it == entries.end()) return;
  if (const auto load = targets.find(plan::account_of(action));
      load != targets.end() && !action.dry_run) {
    // What ended before a worker took it never made its target busy; another action may.
    if (it->second->taken) load->second.running = false;
  }
  count_state(*it->second->action, -1);
  const auto& print = it->second->action->cause.fingerprint;
  const auto [first, last] = by_cause.equal_range(print);
  for (auto mine = first; mine != last; ++mine) {
    if (mine->second != it->second) continue;
    by_cause.erase(mine);
    break;
  }
  if (const auto name = unnamed.find(action.target); name != unnamed.end()) unnamed.erase(name);
  entries.erase(it);
  ++generation;
  changed.notify_all();
}

void Executor::Impl::give_place_back(std::string_view id) {
  EntryPtr entry;
  {
    const std::lock_guard guard(mutex);
    const auto known = entries.find(id);
    if (known != entries.end()) entry = known->second;
  }
  if (entry != nullptr) entry->place.reset();
}

void Executor::Impl::finish(Action action, ActionState state) {
  action.state = state;
  action.finished = clock.wall();
  save_final(action);
  settings_kept.heed(action);  // while it is in flight: what it has set is nobody else's doing
  count_finished(action);
  log::info("executor", "{} {} {}: {}", action.type, action.target, plan::to_string(state),
            action.outcome.result);
  std::shared_ptr<const Finished> callback;
  {
    const std::lock_guard guard(mutex);
    callback = finished_callback;
  }
  if (!action.parent.empty()) {
    // Its ladder holds the target on; what the planner hears of is the ladder's end. The next rung
    // may need the place that this one has had.
    give_place_back(action.id);
    forget(action);
    return rung_ended(action);
  }
  // The target is in flight until the planner has heard of the end, and with it of the cool-down.
  if (callback != nullptr && *callback) (*callback)(action);
  forget(action);
}

}  // namespace nexus::execute
