#include "nexus/execute/executor.hpp"
#include "nexus/config/config.hpp"

#include <algorithm>

#include "execute/executor_impl.hpp"
#include "nexus/base/log.hpp"

namespace nexus::execute {

using plan::Action;
using plan::ActionState;

Executor::Impl::Impl(Clock& the_clock, Journal& the_journal, const knowledge::Queryable& the_data,
                     knowledge::SelfMetrics& metrics, drivers::Systemd* the_systemd,
                     host::Privileged& the_privileged)
    : clock(the_clock),
      journal(the_journal),
      data(the_data),
      self(metrics),
      systemd(the_systemd),
      privileged(the_privileged),
      names(the_clock) {
  for (const auto* descriptor : actions()) steps.emplace(descriptor->name, descriptor->make());
}

Executor::Executor(Clock& clock, Journal& journal, const knowledge::Queryable& data,
                   knowledge::SelfMetrics& self, drivers::Systemd* systemd,
                   host::Privileged& privileged)
    : impl_(std::make_unique<Impl>(clock, journal, data, self, systemd, privileged)) {}

Executor::~Executor() {
  stop(Millis(0));
}

void Executor::configure(std::shared_ptr<const config::Config> config) {
  impl_->names.expect(*config);
  const std::lock_guard guard(impl_->mutex);
  if (impl_->fleet_section != config->fleet || impl_->fleet_servers != config->connections) {
    impl_->fleet_section = config->fleet;
    impl_->fleet_servers = config->connections;
    impl_->fleet = make_fleet(impl_->clock, *config);
  }
  impl_->config = std::move(config);
  if (impl_->started && !impl_->stopping) impl_->spawn_workers();
  impl_->changed.notify_all();
}

void Executor::on_finished(Finished callback) {
  const std::lock_guard guard(impl_->mutex);
  impl_->finished_callback = std::make_shared<const Finished>(std::move(callback));
}

void Executor::on_started(Started callback) {
  const std::lock_guard guard(impl_->mutex);
  impl_->started_callback = std::make_shared<const Started>(std::move(callback));
}

void Executor::set_permission(Permission refusal) {
  const std::lock_guard guard(impl_->mutex);
  impl_->refusal = std::make_shared<const Permission>(std::move(refusal));
}

void Executor::set_halted(std::function<bool()> halted) {
  const std::lock_guard guard(impl_->mutex);
  impl_->halted = std::make_shared<const std::function<bool()>>(std::move(halted));
}

void Executor::set_notifier(Notifier notifier) {
  const std::lock_guard guard(impl_->mutex);
  impl_->notifier = std::move(notifier);
}

void Executor::set_witness(Witness witness) {
  const std::lock_guard guard(impl_->mutex);
  impl_->witness = std::make_shared<const Witness>(std::move(witness));
}

void Executor::set_fleet(std::shared_ptr<FleetLock> fleet) {
  const std::lock_guard guard(impl_->mutex);
  impl_->fleet = std::move(fleet);
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
  // A remedy is about the run of a service that has failed; a person means whatever there is.
  if (!action.remedy.empty() && plan::is_unit_action(action.type))
    action.identity = impl_->names.run_of(action.target);
  if (auto place = impl_->reserve_place(action); !place) return place;
  const auto taken = [&] {
    const auto known = impl_->journal.find_by_key(action.idempotency_key);
    return known && *known;
  };
  Status written;
  bool used = taken();
  if (!used) {
    written = impl_->journal.write(action);
    used = !written && taken();
  }
  if (used) {
    written = fail(Errc::kAlreadyExists, "idempotency key \"{}\" was used before",
                   action.idempotency_key);
  }
  const std::lock_guard guard(impl_->mutex);
  --impl_->arriving;
  if (!written) return written;
  auto entry = std::make_shared<Entry>();
  entry->expires = impl_->clock.steady() + impl_->config->operations.approval_timeout;
  entry->action = std::make_shared<const Action>(std::move(action));
  impl_->add(std::move(entry));
  impl_->changed.notify_all();
  return {};
}

bool Executor::active(std::string_view account) const {
  const std::lock_guard guard(impl_->mutex);
  const auto load = impl_->targets.find(account);
  return load != impl_->targets.end() && load->second.active > 0;
}

void Executor::supersede(std::string_view account, std::string_view why) {
  const auto ended = impl_->claim([&](const Action& a) {
    return a.state == ActionState::kProposed && plan::account_of(a) == account;
  });
  for (const auto& entry : ended)
    impl_->end_early(*entry, ActionState::kCancelled, fmt::format("superseded: {}", why),
                     "superseded");
}

std::string Executor::account(const Action& action) const {
  return impl_->account_for(action);
}

std::string Executor::Impl::account_for(const Action& action) const {
  const auto* step = step_of(action);
  auto with = context();
  return step == nullptr || with.config == nullptr ? std::string() : step->account(action, with);
}

bool Executor::in_flight(std::string_view target) const {
  const std::lock_guard guard(impl_->mutex);
  if (impl_->targets.contains(target)) return true;
  // Begun under an alias, before its name was known.
  return std::ranges::any_of(
      impl_->unnamed, [&](const auto& name) { return impl_->names.stands_for(name, target); });
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
  if (!action.rungs.empty()) return impl_->validate_rungs(action, context);
  if (auto ok = impl_->step_of(action)->validate(action, context); !ok)
    return propagate(std::move(ok), "{}", action.type);
  return {};
}

Result<std::optional<Action>> Executor::find_by_key(std::string_view idempotency_key) const {
  return impl_->journal.find_by_key(idempotency_key);
}

void Executor::withdraw(std::string_view fingerprint, std::string_view why) {
  if (fingerprint.empty()) return;
  for (const auto& entry : impl_->claim_cause(fingerprint))
    impl_->end_early(*entry, ActionState::kCancelled, fmt::format("withdrawn: {}", why),
                     "resolved");
}

std::string Executor::resolve(std::string_view action_type, std::string_view target) {
  return plan::is_unit_action(action_type) ? impl_->names.resolve(target) : std::string(target);
}

bool Executor::name_known(std::string_view action_type, std::string_view target) const {
  return !plan::is_unit_action(action_type) || impl_->names.is_known(target);
}

void Executor::learn_run(const std::string& unit, const std::string& invocation_id) {
  impl_->names.learn_run(unit, invocation_id);
}

Result<std::optional<double>> Executor::usual_seconds(std::string_view type) const {
  return impl_->journal.usual_seconds(type);
}

void Executor::learn_names(const std::string& unit, const std::vector<std::string>& names) {
  impl_->names.learn(unit, names);
}

Result<Action> Executor::find(std::string_view id) const {
  return impl_->journal.get(id);
}

void Executor::refuse(std::string_view id, std::string_view why) {
  if (const auto entry = impl_->claim_one(id, ActionState::kProposed))
    impl_->end_early(*entry, ActionState::kCancelled, fmt::format("refused: {}", why));
}

Status Executor::approve(std::string_view id, std::string_view who, std::string_view why) {
  const auto found = impl_->claim_one(id, ActionState::kProposed);
  if (found == nullptr) {
    auto known = impl_->journal.get(id);
    if (!known) return propagate(std::move(known));
    return fail(Errc::kConflict, "action {} is {}, only a proposed one can be approved", id,
                plan::to_string(known->state));
  }
  auto& entry = *found;
  Action action = *entry.action;
  action.state = ActionState::kQueued;
  action.approved = impl_->clock.wall();
  action.approved_by = who;
  action.approval_reason = why;
  auto written = impl_->journal.write(action);
  const std::lock_guard guard(impl_->mutex);
  entry.claimed = false;
  if (!written) return written;
  impl_->publish(entry, std::move(action));
  impl_->queue.emplace(std::pair{entry.action->priority, entry.order}, found);
  impl_->show_queue();
  impl_->changed.notify_all();
  return {};
}

Status Executor::cancel(std::string_view id, std::string_view who) {
  if (const auto found = impl_->claim_one(id)) {
    impl_->end_early(*found, ActionState::kCancelled, fmt::format("cancelled by {}", who));
    return {};
  }
  std::string rung;
  {
    const std::lock_guard guard(impl_->mutex);
    const auto it = impl_->entries.find(id);
    if (it != impl_->entries.end()) {
      it->second->cancelled_by = who;
      it->second->cancel = true;
      impl_->changed.notify_all();
      if (!it->second->parked) return {};
      for (const auto& step : it->second->action->rungs) {
        if (impl_->entries.contains(step.action_id)) rung = step.action_id;
      }
      if (rung.empty()) return {};
    }
  }
  // A ladder ends with the rung that is under way.
  if (!rung.empty()) return cancel(rung, who);
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

StepContext Executor::step_context() const {
  return impl_->context();
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
