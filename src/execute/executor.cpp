#include "nexus/execute/executor.hpp"

#include <algorithm>

#include "execute/executor_impl.hpp"
#include "nexus/base/log.hpp"

namespace nexus::execute {

using plan::Action;
using plan::ActionState;

Executor::Impl::Impl(Clock& the_clock, Journal& the_journal, const knowledge::Queryable& the_data,
                     knowledge::SelfMetrics& metrics, drivers::Systemd* the_systemd)
    : clock(the_clock), journal(the_journal), data(the_data), self(metrics), systemd(the_systemd) {
  for (const auto* descriptor : actions()) steps.emplace(descriptor->name, descriptor->make());
}

std::shared_ptr<const config::Config> Executor::Impl::settings() const {
  const std::lock_guard guard(mutex);
  return config;
}

StepContext Executor::Impl::context() const {
  return {.clock = clock, .systemd = systemd, .config = settings()};
}

Step* Executor::Impl::step_of(const Action& action) const {
  const auto it = steps.find(action.type);
  return it == steps.end() ? nullptr : it->second.get();
}

bool Executor::Impl::permitted() const {
  std::shared_ptr<const std::function<bool()>> ask;
  {
    const std::lock_guard guard(mutex);
    ask = may_start;
  }
  return ask == nullptr || !*ask || (*ask)();
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
  if (config == nullptr || stopping)
    return fail(Errc::kUnavailable, "{} {}: the agent is stopping", action.type, action.target);
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

Executor::Executor(Clock& clock, Journal& journal, const knowledge::Queryable& data,
                   knowledge::SelfMetrics& self, drivers::Systemd* systemd)
    : impl_(std::make_unique<Impl>(clock, journal, data, self, systemd)) {}

Executor::~Executor() {
  stop(Millis(0));
}

void Executor::configure(std::shared_ptr<const config::Config> config) {
  const std::lock_guard guard(impl_->mutex);
  impl_->config = std::move(config);
  if (impl_->started && !impl_->stopping) impl_->spawn_workers();
  impl_->changed.notify_all();
}

void Executor::on_finished(Finished callback) {
  const std::lock_guard guard(impl_->mutex);
  impl_->finished_callback = std::make_shared<const Finished>(std::move(callback));
}

void Executor::set_permission(std::function<bool()> may_start) {
  const std::lock_guard guard(impl_->mutex);
  impl_->may_start = std::make_shared<const std::function<bool()>>(std::move(may_start));
}

void Executor::Impl::spawn_workers() {
  const std::size_t wanted = config != nullptr ? config->operations.max_concurrent_actions : 0;
  while (workers.size() < wanted) {
    workers.emplace_back([this, index = workers.size()] { work(index); });
  }
}

void Executor::start() {
  const std::lock_guard guard(impl_->mutex);
  NEXUS_CHECK(impl_->config != nullptr);
  impl_->started = true;
  impl_->stopping = false;
  impl_->abandon = false;
  impl_->spawn_workers();
}

void Executor::stop(Millis grace) {
  auto& impl = *impl_;
  std::vector<std::thread> leaving;
  {
    std::unique_lock lock(impl.mutex);
    impl.stopping = true;
    impl.started = false;
    impl.changed.notify_all();
    impl.clock.wait_until(lock, impl.changed, impl.clock.steady() + grace,
                          [&] { return impl.running == 0; });
    impl.abandon = true;
    impl.changed.notify_all();
    leaving.swap(impl.workers);
  }
  for (auto& worker : leaving) worker.join();
}

Status Executor::submit(Action action) {
  NEXUS_CHECK(action.state == ActionState::kQueued || action.state == ActionState::kProposed);
  if (auto place = impl_->reserve_place(action); !place) return place;
  const auto taken = [&] {
    const auto known = impl_->journal.find_by_key(action.idempotency_key);
    return known && *known;
  };
  Status written;
  if (taken()) {
    written = fail(Errc::kAlreadyExists, "idempotency key \"{}\" was used before",
                   action.idempotency_key);
  } else if (written = impl_->journal.write(action); !written && taken()) {
    written = fail(Errc::kAlreadyExists, "idempotency key \"{}\" was used before",
                   action.idempotency_key);
  }
  const std::lock_guard guard(impl_->mutex);
  --impl_->arriving;
  if (!written) return written;
  auto entry = std::make_shared<Entry>();
  entry->action = std::make_shared<const Action>(std::move(action));
  impl_->add(std::move(entry));
  impl_->changed.notify_all();
  return {};
}

bool Executor::in_flight(std::string_view target) const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->targets.contains(target);
}

std::size_t Executor::targets_in_flight() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->busy_targets;
}

Status Executor::validate(const Action& action) const {
  const auto* descriptor = find_action(action.type);
  if (descriptor == nullptr)
    return fail(Errc::kInvalidArgument, "there is no action \"{}\"", action.type);
  if (action.target.empty()) {
    return fail(Errc::kInvalidArgument, "{}: the target is missing: expected {}", action.type,
                descriptor->target_help);
  }
  if (action.priority < 0 || action.priority > 100) {
    return fail(Errc::kInvalidArgument, "{}: priority {}: expected 0 (first) to 100 (last)",
                action.type, action.priority);
  }
  if (auto ok = check_parameters(*descriptor, action.parameters); !ok) return ok;
  const auto context = impl_->context();
  if (context.config == nullptr)
    return fail(Errc::kUnavailable, "the executor has no configuration yet");
  if (auto ok = impl_->step_of(action)->validate(action, context); !ok)
    return propagate(std::move(ok), "{}", action.type);
  return {};
}

Result<std::optional<Action>> Executor::find_by_key(std::string_view idempotency_key) const {
  return impl_->journal.find_by_key(idempotency_key);
}

void Executor::withdraw(std::string_view fingerprint, std::string_view why) {
  if (fingerprint.empty()) return;
  const auto ended =
      impl_->claim([&](const Action& a) { return a.cause.fingerprint == fingerprint; });
  for (const auto& entry : ended)
    impl_->end_early(*entry, ActionState::kCancelled, fmt::format("withdrawn: {}", why));
}

Status Executor::approve(std::string_view id, std::string_view who) {
  if (!impl_->permitted()) return fail(Errc::kConflict, "action {}: operations are stopped", id);
  const auto found = impl_->claim(
      [&](const Action& a) { return a.id == id && a.state == ActionState::kProposed; });
  if (found.empty()) {
    auto known = impl_->journal.get(id);
    if (!known) return propagate(std::move(known));
    return fail(Errc::kConflict, "action {} is {}, only a proposed one can be approved", id,
                plan::to_string(known->state));
  }
  auto& entry = *found.front();
  Action action = *entry.action;
  action.state = ActionState::kQueued;
  action.approved = impl_->clock.wall();
  action.approved_by = who;
  auto written = impl_->journal.write(action);
  const std::lock_guard guard(impl_->mutex);
  entry.claimed = false;
  if (!written) return written;
  impl_->publish(entry, std::move(action));
  impl_->queue.emplace(std::pair{entry.action->priority, entry.order}, found.front());
  impl_->show_queue();
  impl_->changed.notify_all();
  return {};
}

Status Executor::cancel(std::string_view id, std::string_view who) {
  const auto found = impl_->claim([&](const Action& a) { return a.id == id; });
  if (!found.empty()) {
    impl_->end_early(*found.front(), ActionState::kCancelled, fmt::format("cancelled by {}", who));
    return {};
  }
  {
    const std::lock_guard guard(impl_->mutex);
    if (const auto it = impl_->entries.find(id); it != impl_->entries.end()) {
      it->second->cancelled_by = who;
      it->second->cancel = true;
      impl_->changed.notify_all();
      return {};
    }
  }
  auto known = impl_->journal.get(id);
  if (!known) return propagate(std::move(known));
  return fail(Errc::kConflict, "action {} has ended: {}", id, plan::to_string(known->state));
}

void Executor::cancel_queued(std::string_view why) {
  const auto ended =
      impl_->claim([](const Action& a) { return a.state == ActionState::kQueued && !a.dry_run; });
  for (const auto& entry : ended)
    impl_->end_early(*entry, ActionState::kCancelled, fmt::format("cancelled: {}", why));
}

ExecutorStatus Executor::status() const {
  const std::lock_guard guard(impl_->mutex);
  return {.proposed = impl_->proposed, .queued = impl_->queue.size(), .running = impl_->running};
}

std::shared_ptr<const Activity> Executor::activity() const {
  std::vector<std::shared_ptr<const Action>> waiting;
  std::vector<std::shared_ptr<const Action>> others;
  std::uint64_t generation = 0;
  {
    const std::lock_guard guard(impl_->mutex);
    if (impl_->shown != nullptr && impl_->shown_generation == impl_->generation)
      return impl_->shown;
    generation = impl_->generation;
    for (const auto& [place, entry] : impl_->queue) waiting.push_back(entry->action);
    for (const auto& [id, entry] : impl_->entries) {
      if (entry->claimed || entry->action->state == ActionState::kProposed)
        others.push_back(entry->action);
    }
  }
  auto made = std::make_shared<Activity>();
  for (const auto& action : waiting) made->queue.push_back(*action);
  for (const auto& action : others) {
    (action->state == ActionState::kProposed ? made->proposed : made->in_progress)
        .push_back(*action);
  }
  const std::lock_guard guard(impl_->mutex);
  if (generation >= impl_->shown_generation) {
    impl_->shown = made;
    impl_->shown_generation = generation;
  }
  return made;
}

}  // namespace nexus::execute
