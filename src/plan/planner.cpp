#include "nexus/plan/planner.hpp"
#include "nexus/config/config.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "plan/planner_impl.hpp"

namespace nexus::plan {
namespace {

constexpr Millis kPruneEvery{3'600'000};

std::uint64_t random_seed() {
  return base::parse_uint(base::random_hex(8), 16).value_or(1);
}

}  // namespace

Planner::Planner(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Planner::~Planner() {
  impl_->write_records();
}

void Planner::set_surroundings(std::shared_ptr<const Surroundings> surroundings) {
  const std::lock_guard guard(impl_->mutex);
  impl_->surroundings = std::move(surroundings);
}

Result<std::unique_ptr<Planner>> Planner::open(Clock& clock, knowledge::StateDb& db,
                                               knowledge::SelfMetrics& self, analyze::Book& book,
                                               ActionSink& sink, std::string stop_file,
                                               std::uint64_t seed, std::string boot) {
  auto opened = PlannerStore::open(db);
  if (!opened) return propagate(std::move(opened));
  auto impl =
      std::make_unique<Impl>(clock, self, book, sink, std::move(stop_file), *std::move(opened),
                             seed != 0 ? seed : random_seed(), std::move(boot));
  auto& store = *impl->store;
  // First: what is read next has to be as the clock is now.
  if (auto ok = open_clock(*impl); !ok) return propagate(std::move(ok));
  auto pairs = store.pairs();
  if (!pairs) return propagate(std::move(pairs));
  auto recent = store.recent(clock.wall() - kPruneEvery);
  if (!recent) return propagate(std::move(recent));
  auto kill_switch = store.load_switch();
  if (!kill_switch) return propagate(std::move(kill_switch));
  auto holds = Holds::load(db);
  if (!holds) return propagate(std::move(holds));
  auto shadows = ShadowLedger::open_entries(db);
  if (!shadows) return propagate(std::move(shadows));
  impl->holds.set(*std::move(holds));
  impl->shadow.restore(*shadows);
  auto lately = ShadowLedger::begun_since(db, clock.wall() - kPruneEvery);
  if (!lately) return propagate(std::move(lately));
  impl->shadow_rails.restore(*lately);
  for (auto& pair : *pairs) {
    impl->version = std::max(impl->version, pair.state.version);
    // What happened while the agent was away is not known: quiet is measured from now.
    if (!pair.state.fresh() || pair.state.cooldown_until > clock.wall()) {
      impl->pairs[pair.key] = {.state = std::move(pair.state), .last_trouble = clock.wall()};
    }
  }
  impl->recent.assign(recent->begin(), recent->end());
  impl->kill_switch = *std::move(kill_switch);
  return std::unique_ptr<Planner>(new Planner(std::move(impl)));
}

void Planner::configure(std::shared_ptr<const config::Config> config,
                        std::shared_ptr<const RemedySet> remedies) {
  NEXUS_CHECK(config != nullptr && remedies != nullptr);
  const auto known = remedies;
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->settings = {std::move(config), std::move(remedies)};
    impl_->last_reason.clear();
  }
  impl_->drop_unknown_pairs(*known);
  impl_->look_for_failed(*impl_->book.snapshot());
}

Settings Planner::Impl::current() const {
  const std::lock_guard guard(mutex);
  return settings;
}

std::optional<std::string> Planner::Impl::stopped() const {
  {
    const std::lock_guard guard(mutex);
    if (!kill_switch.running) {
      return fmt::format("operations were stopped by {} at {}", kill_switch.who,
                         base::to_rfc3339(kill_switch.time));
    }
  }
  if (stop_file.empty()) return std::nullopt;
  struct stat found{};
  if (::stat(stop_file.c_str(), &found) == 0)
    return fmt::format("the stop file {} is there", stop_file);
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  // Whether people want us to stop cannot be told: then we do.
  return Error::from_errno(fmt::format("look for the stop file {}", stop_file)).message();
}

void Planner::on_finding(const analyze::Finding& finding) {
  const auto now = impl_->current();
  if (now.config == nullptr) return;
  impl_->note_failed(finding);
  impl_->follow_clock();
  switch (finding.state) {
    case analyze::FindingState::kPending:
      return;
    case analyze::FindingState::kFiring:
      impl_->consider(finding, now, impl_->stopped());
      return;
    case analyze::FindingState::kResolved:
      break;
  }
  {
    const std::lock_guard guard(impl_->mutex);
    // Ordered by fingerprint: this finding's stand together.
    auto& reasons = impl_->last_reason;
    const auto first = reasons.lower_bound({finding.fingerprint, std::string()});
    auto last = first;
    while (last != reasons.end() && last->first.first == finding.fingerprint) ++last;
    reasons.erase(first, last);
    for (auto& [id, pending] : impl_->pending)
      pending.withdrawn |= pending.fingerprint == finding.fingerprint;
    impl_->shadow.resolve(finding.fingerprint, impl_->clock.wall());
  }
  impl_->sink.withdraw(finding.fingerprint,
                       fmt::format("{} on {} has resolved", finding.name, finding.subject));
}

void Planner::Impl::reconsider() {
  const auto now = current();
  if (now.config == nullptr) return;
  const auto stop = stopped();
  const auto findings = book.snapshot();
  look_for_failed(*findings);
  std::set<std::string> firing;
  for (const auto& finding : *findings) {
    if (finding.state != analyze::FindingState::kFiring) continue;
    firing.insert(finding.fingerprint);
    consider(finding, now, stop);
  }
  forget_resolved(firing);
}

void Planner::Impl::forget_resolved(const std::set<std::string>& firing) {
  const std::lock_guard guard(mutex);
  std::erase_if(last_reason,
                [&](const auto& known) { return !firing.contains(known.first.first); });
  shadow.lose_all_but(firing, clock.wall());
}

void Planner::tick() {
  const auto now = impl_->current();
  if (now.config == nullptr) return;
  impl_->follow_clock();
  impl_->move_aliases(now);
  impl_->settle_pairs(now);
  impl_->reconsider();
  impl_->write_records();
  impl_->self.gauge("nexus_operations_running", "1 while the agent may act, 0 while it is stopped.")
      .set(running() ? 1 : 0);
  const auto time = impl_->clock.wall();
  impl_->prune(time);
  const std::lock_guard guard(impl_->mutex);
  impl_->last_check = time;
}

void Planner::Impl::prune(WallTime now) {
  {
    const std::lock_guard guard(mutex);
    if (now >= last_prune && now < last_prune + kPruneEvery) return;
    last_prune = now;
  }
  {
    const std::lock_guard guard(mutex);
    holds.forget_expired(now);
  }
  if (auto ok = store->prune(now - kPruneEvery, now); !ok)
    log::warning("planner", "{}", ok.error().message());
}

void Planner::on_finished(const Action& action) {
  impl_->follow_clock();
  impl_->finished(action);
}

Status Planner::set_running(bool running, std::string_view who) {
  const StoredSwitch wanted{running, std::string(who), impl_->clock.wall()};
  std::uint64_t stops = 0;
  {
    const std::lock_guard guard(impl_->mutex);
    stops = running ? impl_->stops : ++impl_->stops;
    if (!running) impl_->kill_switch = wanted;
  }
  if (auto ok = impl_->store->save(wanted); !ok) return ok;
  if (running) {
    std::unique_lock lock(impl_->mutex);
    if (stops != impl_->stops) {
      // It was stopped while this was being written down; the stop holds, in the database too.
      const StoredSwitch held = impl_->kill_switch;
      lock.unlock();
      if (auto ok = impl_->store->save(held); !ok) return ok;
      return fail(Errc::kConflict, "operations were stopped by {} meanwhile; they stay stopped",
                  held.who);
    }
    impl_->kill_switch = wanted;
  }
  log::warning("planner", "operations were {} by {}", running ? "started" : "stopped", who);
  impl_->self.gauge("nexus_operations_running", "1 while the agent may act, 0 while it is stopped.")
      .set(this->running() ? 1 : 0);
  if (running) impl_->reconsider();
  return {};
}

bool Planner::running() const {
  return !impl_->stopped();
}

Result<std::vector<Decision>> Planner::decisions(std::size_t limit, std::int64_t before) {
  impl_->write_records();
  return impl_->store->decisions(limit, before);
}

Result<std::vector<Decision>> Planner::decisions_about(const std::string& fingerprint,
                                                       std::size_t limit) {
  return impl_->store->decisions_about(fingerprint, limit);
}

std::vector<Planner::Answer> Planner::answers_to(const analyze::Finding& finding) const {
  const auto [config, remedies] = impl_->current();
  std::vector<Answer> out;
  if (!remedies || !config) return out;
  for (const Remedy& remedy : remedies->impl->remedies) {
    if (!remedy.definition.enabled || !remedy.matches(finding)) continue;
    const auto target = remedy.target_for(finding);
    if (!target) continue;  // a label is missing: it would be refused
    out.push_back({remedy.definition.name, remedy.definition.action, *target,
                   std::min(config->operations.mode,
                            remedy.definition.mode.value_or(config->operations.mode))});
  }
  return out;
}

WallTime Planner::last_check() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->last_check;
}

}  // namespace nexus::plan
