// The queue and the entries: who is next, who may change what, what counts as in flight.
#include <algorithm>
#include <system_error>

#include "execute/executor_impl.hpp"
#include "nexus/base/log.hpp"

namespace nexus::execute {

using plan::Action;
using plan::ActionState;

std::shared_ptr<const config::Config> Executor::Impl::settings() const {
  const std::lock_guard guard(mutex);
  return config;
}

StepContext Executor::Impl::context() const {
  StepContext out{.clock = clock, .systemd = systemd, .config = nullptr, .privileged = privileged};
  out.find = [this](std::string_view id) -> Result<Done> {
    auto action = journal.get(id);
    if (!action) return propagate(std::move(action));
    auto* step = step_of(*action);
    return Done{*std::move(action), step};
  };
  out.keep = [this](const Action& action) {
    auto written = journal.write(action);
    if (written) settings_kept.heed(action);
    return written;
  };
  out.halted = [this] { return is_halted(); };
  const std::lock_guard guard(mutex);
  out.config = config;
  out.notify = notifier;
  return out;
}

Step* Executor::Impl::step_of(const Action& action) const {
  const auto it = steps.find(action.type);
  return it == steps.end() ? nullptr : it->second.get();
}

std::optional<plan::Refusal> Executor::Impl::refused(const Action& action) const {
  std::shared_ptr<const Permission> ask;
  {
    const std::lock_guard guard(mutex);
    ask = refusal;
  }
  return ask == nullptr || !*ask ? std::nullopt : (*ask)(action);
}

void Executor::Impl::count_state(const Action& action, int by) {
  const auto change = [by](std::size_t& count) {
    count = static_cast<std::size_t>(static_cast<long>(count) + by);
  };
  const bool is_proposed = action.state == ActionState::kProposed;
  if (is_proposed) change(proposed);
  if (action.dry_run || plan::is_final(action.state)) return;
  const auto& account = plan::account_of(action);
  auto& load = targets[account];
  const bool was_busy = load.active > 0;
  change(is_proposed ? load.proposed : load.active);
  if (was_busy != (load.active > 0)) change(busy_targets);
  if (load.active == 0 && load.proposed == 0) targets.erase(account);
}

void Executor::Impl::publish(Entry& entry, Action action) {
  // Counted up before it is counted down: the target's entry must not vanish in between.
  const auto before =
      std::exchange(entry.action, std::make_shared<const Action>(std::move(action)));
  count_state(*entry.action, 1);
  count_state(*before, -1);
  ++generation;
}

void Executor::Impl::show_queue() {
  self.gauge("nexus_action_queue_size", "Actions that wait for a worker.")
      .set(static_cast<double>(queue.size()));
  self.gauge("nexus_actions_in_progress", "Actions that run or are being verified.")
      .set(static_cast<double>(running));
}

void Executor::Impl::add(EntryPtr entry) {
  const auto& action = *entry->action;
  entry->order = ++arrivals;
  count_state(action, 1);
  // What was done before a restart is looked at first.
  const int priority = entry->recovered ? -1 : action.priority;
  if (action.state != ActionState::kProposed && !entry->parked)
    queue.emplace(std::pair{priority, entry->order}, entry);
  if (!action.cause.fingerprint.empty()) by_cause.emplace(action.cause.fingerprint, entry);
  if (plan::is_unit_action(action.type) && !names.is_known(action.target))
    unnamed.insert(action.target);
  entries.emplace(action.id, std::move(entry));
  ++generation;
  show_queue();
}

EntryPtr Executor::Impl::next_runnable() const {
  // Windows of minutes must not keep what is urgent from a worker: one is left, where there are
  // two.
  const bool tries =
      trials + 1 < std::max<std::size_t>(2, config->operations.max_concurrent_actions);
  for (const auto& [place, entry] : queue) {
    if (entry->action->dry_run) return entry;
    if (entry->action->experiment && !tries) continue;
    const auto load = targets.find(plan::account_of(*entry->action));
    if (load == targets.end() || !load->second.running) return entry;
  }
  return nullptr;
}

EntryPtr Executor::Impl::take(std::size_t worker) {
  std::unique_lock lock(mutex);
  EntryPtr found;
  clock.wait_until(lock, changed, base::kForever, [&] {
    if (stopping) return true;
    found = config != nullptr && worker < config->operations.max_concurrent_actions
                ? next_runnable()
                : nullptr;
    return found != nullptr;
  });
  if (stopping || found == nullptr) return nullptr;
  queue.erase({found->recovered ? -1 : found->action->priority, found->order});
  found->claimed = true;
  found->taken = true;
  ++running;
  if (found->action->experiment) ++trials;
  ++generation;
  if (!found->action->dry_run) targets[plan::account_of(*found->action)].running = true;
  show_queue();
  return found;
}

bool Executor::Impl::claim_entry(const EntryPtr& entry) {
  if (entry->claimed || entry->recovered) return false;
  entry->claimed = true;
  queue.erase({entry->action->priority, entry->order});
  return true;
}

std::vector<EntryPtr> Executor::Impl::claim(const std::function<bool(const Action&)>& wanted) {
  const std::lock_guard guard(mutex);
  std::vector<EntryPtr> out;
  for (const auto& [id, entry] : entries) {
    if (wanted(*entry->action) && claim_entry(entry)) out.push_back(entry);
  }
  std::ranges::sort(out, {}, [](const EntryPtr& e) { return e->order; });
  if (!out.empty()) show_queue();
  return out;
}

EntryPtr Executor::Impl::claim_one(std::string_view id, std::optional<ActionState> state) {
  const std::lock_guard guard(mutex);
  const auto it = entries.find(id);
  if (it == entries.end() || (state && it->second->action->state != *state)) return nullptr;
  if (!claim_entry(it->second)) return nullptr;
  show_queue();
  return it->second;
}

std::vector<EntryPtr> Executor::Impl::claim_cause(std::string_view fingerprint) {
  const std::lock_guard guard(mutex);
  std::vector<EntryPtr> out;
  const auto [first, last] = by_cause.equal_range(fingerprint);
  for (auto it = first; it != last; ++it) {
    if (claim_entry(it->second)) out.push_back(it->second);
  }
  if (!out.empty()) show_queue();
  return out;
}

void Executor::Impl::end_early(const Entry& entry, ActionState state, std::string why,
                               std::string_view code) {
  Action action;
  {
    const std::lock_guard guard(mutex);
    action = *entry.action;
  }
  action.outcome.result = std::move(why);
  action.outcome.reason_code = code;
  finish(std::move(action), state);
}

Status Executor::Impl::reserve_place(const Action& action) {
  const std::lock_guard guard(mutex);
  if (config == nullptr || stopping) {
    return fail(Errc::kUnavailable,
                "{} {}: no actions are taken before the start and while stopping", action.type,
                action.target);
  }
  if (entries.contains(action.id))
    return fail(Errc::kAlreadyExists, "action {} was submitted before", action.id);
  const auto waiting = queue.size() + proposed + arriving;
  if (waiting >= config->operations.max_queue) {
    return fail(Errc::kExhausted, "{} {}: {} actions wait already ([operations] max_queue)",
                action.type, action.target, waiting);
  }
  ++arriving;
  return {};
}

void Executor::Impl::spawn_workers() {
  const std::size_t wanted = config != nullptr ? config->operations.max_concurrent_actions : 0;
  const auto missing =
      self.gauge("nexus_action_workers_missing",
                 "Threads for actions that could not be made (TasksMax=, memory).");
  try {
    while (workers.size() < wanted) {
      workers.emplace_back([this, index = workers.size()] { work(index); });
    }
  } catch (const std::system_error& error) {
    log::error("executor", "a thread for actions cannot be made, {} of {} are there: {}",
               workers.size(), wanted, error.what());
  }
  missing.set(static_cast<double>(wanted - std::min(wanted, workers.size())));
}

}  // namespace nexus::execute
