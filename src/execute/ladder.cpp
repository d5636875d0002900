// Ladders: an action whose rungs are actions of their own.
//
// The ladder is journaled as `running` with the id of the rung whose turn it is before that rung is
// journaled; whatever instant the agent is killed at, recover() finds either a rung that has ended
// (and goes on as it would have), one that is under way (and follows it), or an id that the journal
// has never heard of (and that rung never began). So no rung is done twice and none is left out.
#include <algorithm>

#include "execute/executor_impl.hpp"
#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/execute/undone.hpp"

namespace nexus::execute {

using plan::Action;
using plan::ActionState;

namespace {

/// What a rung is, apart from its id and its times.
Action part_of(const Action& ladder, std::size_t index) {
  const auto& rung = ladder.rungs[index];
  Action out;
  out.type = rung.type;
  out.target = rung.target;
  out.parameters = rung.parameters;
  out.verify = rung.verify;
  out.timeout = rung.timeout;
  out.priority = ladder.priority;
  out.cause = ladder.cause;
  out.remedy = ladder.remedy;
  out.definition = ladder.definition;
  out.attempt = ladder.attempt;
  out.approved = ladder.approved;
  out.approved_by = ladder.approved_by;
  out.approval_reason = ladder.approval_reason;
  out.parent = ladder.id;
  if (index == 0) out.received = ladder.received;
  return out;
}

std::size_t index_of(const Action& ladder, std::string_view id) {
  const auto it = std::ranges::find(
      ladder.rungs, id, [](const plan::Rung& rung) { return std::string_view(rung.action_id); });
  return static_cast<std::size_t>(it - ladder.rungs.begin());
}

std::string name_of(const Action& ladder, std::size_t index) {
  return fmt::format("step {} of {} ({} {})", index + 1, ladder.rungs.size(),
                     ladder.rungs[index].type, ladder.rungs[index].target);
}

/// The last rung whose turn has come.
std::size_t last_begun(const Action& ladder) {
  std::size_t index = 0;
  while (index + 1 < ladder.rungs.size() && !ladder.rungs[index + 1].action_id.empty()) ++index;
  return index;
}

/// Whether the rungs before this one, which has ended, are taken back because of it.
bool is_undone_for(const Action& ladder, const Action& rung) {
  return ladder.all_rungs &&
         (rung.state == ActionState::kFailed || rung.state == ActionState::kUnverified);
}

}  // namespace

Status Executor::Impl::validate_rungs(const Action& ladder, const StepContext& context) const {
  for (std::size_t i = 0; i < ladder.rungs.size(); ++i) {
    const auto part = part_of(ladder, i);
    const auto* descriptor = find_action(part.type);
    auto* step = step_of(part);
    if (descriptor == nullptr || step == nullptr || !ladder.parent.empty())
      return fail(Errc::kInvalidArgument, "step {}: there is no such action as \"{}\" for a step",
                  i + 1, part.type);
    if (auto ok = check_parameters(*descriptor, part.parameters); !ok)
      return propagate(std::move(ok), "step {}", i + 1);
    if (auto ok = step->validate(part, context); !ok)
      return propagate(std::move(ok), "step {}: {}", i + 1, part.type);
  }
  return {};
}

Result<std::string> Executor::Impl::would_climb(const Action& ladder) {
  auto with = context();
  std::string out =
      ladder.all_rungs ? "would do, one after the other:" : "would do until one has helped:";
  for (std::size_t i = 0; i < ladder.rungs.size(); ++i) {
    const auto part = part_of(ladder, i);
    auto* step = step_of(part);
    auto would = step != nullptr ? step->dry_run(part, with)
                                 : Result<std::string>(fail(Errc::kUnsupported, "no such action"));
    out += fmt::format("\n{}: {}", name_of(ladder, i),
                       would ? *would : "cannot be done: " + would.error().message());
  }
  return out;
}

void Executor::Impl::climb(Entry& entry, Step& step, Action ladder) {
  if (auto begun = begin(entry, step, ladder); !begun) {
    ladder.outcome.result = "not started: " + begun.error().message();
    return finish(std::move(ladder), ActionState::kFailed);
  }
  park(entry);
  tell_started(ladder);
  begin_rung(std::move(ladder), 0);
}

void Executor::Impl::park(Entry& entry) {
  const std::lock_guard guard(mutex);
  const auto load = targets.find(plan::account_of(*entry.action));
  if (entry.taken && load != targets.end()) load->second.running = false;
  entry.taken = false;
  entry.claimed = true;
  entry.parked = true;
}

void Executor::Impl::begin_rung(Action ladder, std::size_t index) {
  std::optional<std::string> cancelled_by;
  {
    const std::lock_guard guard(mutex);
    // It stays `running` in the journal, and recover() goes on from here.
    if (stopping) return;
    const auto known = entries.find(ladder.id);
    if (known != entries.end() && known->second->cancel) cancelled_by = known->second->cancelled_by;
  }
  if (cancelled_by) {
    const auto told =
        fmt::format("cancelled by {} before {}", *cancelled_by, name_of(ladder, index));
    if (index == 0) ladder.started.reset();  // nothing was done: no attempt
    return end_ladder(std::move(ladder), ActionState::kCancelled, told);
  }
  auto part = part_of(ladder, index);
  part.created = clock.wall();
  part.id = base::make_id(part.created);
  part.state = ActionState::kQueued;
  part.account = account_for(part);
  ladder.rungs[index].action_id = part.id;
  Status written = journal.write(ladder);
  if (written) written = journal.write(part);
  if (!written) {
    return end_ladder(
        std::move(ladder), ActionState::kFailed,
        fmt::format("{} was not begun: {}", name_of(ladder, index), written.error().message()));
  }
  log::info("executor", "ladder {} on {}: {}", ladder.remedy, ladder.target,
            name_of(ladder, index));
  const std::lock_guard guard(mutex);
  const auto known = entries.find(ladder.id);
  auto entry = std::make_shared<Entry>();
  if (known != entries.end()) {
    publish(*known->second, std::move(ladder));
    // Cancelled while this was journaled: the rung does not begin.
    entry->cancelled_by = known->second->cancelled_by;
    entry->cancel = known->second->cancel.load();
  }
  entry->action = std::make_shared<const Action>(std::move(part));
  add(std::move(entry));
  changed.notify_all();
}

void Executor::Impl::rung_ended(const Action& rung) {
  Action ladder;
  bool cancelled = false;
  {
    const std::lock_guard guard(mutex);
    const auto known = entries.find(rung.parent);
    if (known == entries.end()) return;
    ladder = *known->second->action;
    cancelled = known->second->cancel;
  }
  const auto index = index_of(ladder, rung.id);
  if (index >= ladder.rungs.size()) return;
  const auto told = fmt::format("{}: {}", name_of(ladder, index), rung.outcome.result);
  ladder.outcome.verified = rung.outcome.verified;
  const bool last = index + 1 == ladder.rungs.size();
  switch (rung.state) {
    case ActionState::kSucceeded:
      if (cancelled) return end_ladder(std::move(ladder), ActionState::kCancelled, told);
      if (ladder.all_rungs && !last) return begin_rung(std::move(ladder), index + 1);
      return end_ladder(std::move(ladder), ActionState::kSucceeded, told);
    case ActionState::kFailed:
    case ActionState::kUnverified: {
      if (is_undone_for(ladder, rung)) {
        auto undone = undo_rungs(ladder, index);
        if (!undone) return;  // the agent stops: recover() comes back to it
        ladder.outcome.undone = *undone;
        return end_ladder(std::move(ladder), rung.state,
                          undone->empty() ? told : fmt::format("{}; {}", told, *undone));
      }
      if (!last && !cancelled) return begin_rung(std::move(ladder), index + 1);
      ladder.outcome.verified = false;
      return end_ladder(
          std::move(ladder), cancelled ? ActionState::kCancelled : ActionState::kUnverified,
          last ? fmt::format("none of {} steps has helped; {}", index + 1, told) : told);
    }
    case ActionState::kInterrupted:
      // The agent ended before it began: its turn comes again.
      if (!rung.started) return begin_rung(std::move(ladder), index);
      return end_ladder(std::move(ladder), ActionState::kInterrupted, told);
    case ActionState::kCancelled:
    case ActionState::kExpired:
      // The trouble went away after an earlier step, later than its verification waited.
      if (rung.outcome.reason_code == "resolved" && index > 0 && !cancelled)
        return end_ladder(std::move(ladder), ActionState::kSucceeded,
                          fmt::format("it has resolved after step {}", index));
      if (index == 0 && !rung.started) {
        ladder.started.reset();  // nothing was done: no attempt
        ladder.outcome.reason_code = rung.outcome.reason_code;
      }
      return end_ladder(std::move(ladder), ActionState::kCancelled, told);
    case ActionState::kProposed:
    case ActionState::kQueued:
    case ActionState::kRunning:
    case ActionState::kVerifying:
      return;
  }
}

void Executor::Impl::end_ladder(Action ladder, ActionState state, std::string result) {
  ladder.outcome.result = std::move(result);
  finish(std::move(ladder), state);
}

std::optional<std::string> Executor::Impl::undo_rungs(const Action& ladder, std::size_t before) {
  EntryPtr entry;
  {
    const std::lock_guard guard(mutex);
    const auto known = entries.find(ladder.id);
    if (known == entries.end()) return std::nullopt;
    entry = known->second;
  }
  std::string out;
  // One worker takes all of them back: who has been waited for in vain is not waited for anew.
  bool waits = true;
  for (std::size_t i = before; i-- > 0;) {
    auto done = journal.get(ladder.rungs[i].action_id);
    if (!done || done->state != ActionState::kSucceeded || is_undone(done->outcome)) continue;
    auto* step = step_of(*done);
    if (step == nullptr) continue;
    const auto begun = clock.steady();
    // Its own place among the hosts was given back when it had ended.
    if (!undo(*entry, *step, *done, {.needs_place = true, .waits = waits})) return std::nullopt;
    if (done->outcome.undone.empty()) continue;  // it has nothing to be undone
    waits = waits && (is_undone(done->outcome) ||
                      clock.steady() - begun < std::min(done->timeout, kUndoWaits));
    if (auto written = journal.write(*done); !written)
      log::error("executor", "{}", written.error().message());
    settings_kept.heed(*done);
    out +=
        fmt::format("{}{}: {}", out.empty() ? "" : "; ", name_of(ladder, i), done->outcome.undone);
  }
  return out;
}

void Executor::Impl::take_up_ladders() {
  std::vector<EntryPtr> ladders;
  {
    const std::lock_guard guard(mutex);
    for (const auto& [id, entry] : entries) {
      if (entry->parked) ladders.push_back(entry);
    }
  }
  for (const auto& entry : ladders) {
    auto ladder = *entry->action;
    const auto index = last_begun(ladder);
    const auto& id = ladder.rungs[index].action_id;
    auto rung = id.empty() ? Result<Action>(fail(Errc::kNotFound, "no rung yet")) : journal.get(id);
    if (!rung) {
      log::info("executor", "ladder {} on {}: {} never began", ladder.remedy, ladder.target,
                name_of(ladder, index));
      begin_rung(std::move(ladder), index);
    } else if (plan::is_final(rung->state)) {
      if (!is_undone_for(ladder, *rung)) {
        rung_ended(*rung);
        continue;
      }
      // What went before is taken back, which may take its time: a worker does that.
      const std::lock_guard guard(mutex);
      entry->parked = false;
      entry->recovered = true;
      queue.emplace(std::pair{-1, entry->order}, entry);
    }
  }
}

void Executor::Impl::end_recovered_ladder(const Action& ladder) {
  auto rung = journal.get(ladder.rungs[last_begun(ladder)].action_id);
  if (rung) return rung_ended(*rung);
  end_ladder(ladder, ActionState::kInterrupted,
             "interrupted: how its last step ended cannot be read: " + rung.error().message());
}

}  // namespace nexus::execute
