// The queue and the entries: who is next, who may change what, what counts as in flight.
#include <algorithm>

#include "execute/executor_impl.hpp"

namespace nexus::execute {

using plan::Action;
using plan::ActionState;

std::shared_ptr<const config::Config> Executor::Impl::settings() const {
  const std::lock_guard guard(mutex);
  return config;
}

StepContext Executor::Impl::context() const {
  return {.clock = clock, .systemd = systemd, .config = settings(), .privileged = privileged};
}

Step* Executor::Impl::step_of(const Action& action) const {
  const auto it = steps.find(action.type);
  return it == steps.end() ? nullptr : it->second.get();
}

std::optional<std::string> Executor::Impl::refused(const Action& action) const {
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
  auto& load = targets[action.target];
  const bool was_busy = load.active > 0;
  change(is_proposed ? load.proposed : load.active);
  if (was_busy != (load.active > 0)) change(busy_targets);
  if (load.active == 0 && load.proposed == 0) targets.erase(action.target);
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
  if (action.state != ActionState::kProposed)
    queue.emplace(std::pair{priority, entry->order}, entry);
  entries.emplace(action.id, std::move(entry));
  ++generation;
  show_queue();
}

EntryPtr Executor::Impl::next_runnable() const {
  for (const auto& [place, entry] : queue) {
    if (entry->action->dry_run) return entry;
    const auto load = targets.find(entry->action->target);
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
  ++generation;
  if (!found->action->dry_run) targets[found->action->target].running = true;
  show_queue();
  return found;
}

std::vector<EntryPtr> Executor::Impl::claim(const std::function<bool(const Action&)>& wanted) {
  const std::lock_guard guard(mutex);
  std::vector<EntryPtr> out;
  for (const auto& [id, entry] : entries) {
    if (entry->claimed || entry->recovered || !wanted(*entry->action)) continue;
    entry->claimed = true;
    queue.erase({entry->action->priority, entry->order});
    out.push_back(entry);
  }
  std::ranges::sort(out, {}, [](const EntryPtr& e) { return e->order; });
  if (!out.empty()) show_queue();
  return out;
}

void Executor::Impl::end_early(const Entry& entry, ActionState state, std::string why) {
  Action action;
  {
    const std::lock_guard guard(mutex);
    action = *entry.action;
  }
  action.outcome.result = std::move(why);
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
  while (workers.size() < wanted) {
    workers.emplace_back([this, index = workers.size()] { work(index); });
  }
}

}  // namespace nexus::execute
