// Counters, cool-downs and breakers of (remedy, target).
#include <algorithm>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"
#include "plan/planner_impl.hpp"

namespace nexus::plan {
namespace {

constexpr std::string_view kSource = "planner";
constexpr std::string_view kBreakerFinding = "remedy_breaker_open";

config::StringMap breaker_labels(const PairKey& key) {
  return {{"remedy", key.remedy}, {"target", key.target}};
}

std::string breaker_fingerprint(const PairKey& key) {
  return analyze::fingerprint(analyze::FindingKind::kAgent, kBreakerFinding, breaker_labels(key));
}

/// It ended before it had begun to change anything.
bool never_begun(const Action& action) {
  return !action.started &&
         (action.state == ActionState::kCancelled || action.state == ActionState::kExpired ||
          action.state == ActionState::kInterrupted);
}

/// Asked just before it was to begin, somebody else's place or a condition said: not now.
bool was_kept_waiting(const Action& action) {
  const auto& code = action.outcome.reason_code;
  return code == "fleet_lock" || code == "fleet_unreachable" || code == "condition" ||
         code == "missing_data";
}

bool went_wrong(ActionState state) {
  return state == ActionState::kFailed || state == ActionState::kUnverified ||
         state == ActionState::kInterrupted;
}

double unit_interval(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11U) * 0x1p-53;
}

}  // namespace

Rails Planner::Impl::rails_of(const Settings& now, std::string_view remedy) const {
  Rails rails{.limits = now.config->guardrails,
              .cooldown = now.config->guardrails.cooldown,
              .max_attempts = now.config->guardrails.max_attempts};
  if (const auto* found = now.remedies->impl->find(remedy); found != nullptr) {
    rails.cooldown = found->definition.cooldown.value_or(rails.cooldown);
    rails.max_attempts = found->definition.max_attempts.value_or(rails.max_attempts);
  }
  return rails;
}

PairState Planner::Impl::look(const PairKey& key, WallTime now) {
  const auto it = pairs.find(key);
  if (it == pairs.end()) return {};
  it->second.last_trouble = now;
  return it->second.state;
}

bool Planner::Impl::make_room(std::optional<PairKey>& gone) {
  if (pairs.size() < kMaxPairs) return true;
  auto idlest = pairs.end();
  for (auto it = pairs.begin(); it != pairs.end(); ++it) {
    if (it->second.state.open || it->second.state.attempts > 0) continue;
    if (idlest == pairs.end() || it->second.state.last_end < idlest->second.state.last_end)
      idlest = it;
  }
  if (idlest == pairs.end()) return false;
  gone = idlest->first;  // on disk too, or it is back after a restart
  pairs.erase(idlest);
  return true;
}

std::optional<PairState> Planner::Impl::attempt(const PairKey& key, const Rails& rails,
                                                WallTime now) {
  if (!pairs.contains(key) && !make_room(forgotten)) return std::nullopt;
  auto& entry = pairs[key];
  auto& state = entry.state;
  ++state.attempts;
  state.last_end = now;
  // Measured again from the action's end; this one counts when the agent dies before it learns of
  // the end.
  state.cooldown_until =
      now + cooldown_after(state.attempts + state.unanswered, rails, unit_interval(random));
  state.version = ++version;
  entry.last_trouble = now;
  return state;
}

void Planner::Impl::save(const PairKey& key, const PairState& state) {
  if (auto ok = store->save(StoredPair{key, state}); !ok)
    log::error("planner", "{}", ok.error().message());
}

void Planner::Impl::finished(const Action& action) {
  const auto now = clock.wall();
  PairKey key{action.remedy, account_of(action)};
  const auto unit = unit_of(naming_type(action), account_of(action));
  if (never_begun(action) && !action.outcome.reason_code.empty() && !action.remedy.empty())
    record_skip(action, action.outcome.reason_code, "skipped: " + action.outcome.result);
  if (never_begun(action) && action.state == ActionState::kCancelled) uncount_unbegun(action);
  PairState changed;
  {
    const std::lock_guard guard(mutex);
    const auto mine = pending.find(action.id);
    const bool withdrawn = mine != pending.end() && mine->second.withdrawn;
    // Of what has not started, proposals alone outlive a restart of the agent.
    const bool was_proposed = mine == pending.end() || mine->second.proposed;
    erase_pending(action.id);
    if (!pairs.contains(key)) key.target = unit;  // its pair has moved, the alias is known now
    const auto it = pairs.find(key);
    if (action.remedy.empty() || it == pairs.end() || settings.config == nullptr) return;
    const auto rails = rails_of(settings, action.remedy);
    auto& state = it->second.state;
    state.last_end = now;
    if (!never_begun(action)) state.unanswered = 0;
    state.cooldown_until =
        now + cooldown_after(state.attempts + state.unanswered, rails, unit_interval(random));
    if (never_begun(action)) {  // no attempt; a proposal that nobody wanted is not made again soon
      if (state.attempts > 0) --state.attempts;
      const bool answered = withdrawn || action.approved || !action.outcome.reason_code.empty();
      // An agent that ends before it begins, again and again, must not come back at once each time.
      const bool lost_its_agent = action.state == ActionState::kInterrupted;
      if (lost_its_agent || (was_proposed && !answered) || was_kept_waiting(action))
        ++state.unanswered;
    }
    // There is no further attempt to wait for: the next look opens the breaker, should the trouble
    // still be there.
    if (state.attempts >= rails.max_attempts && !never_begun(action) && went_wrong(action.state))
      state.cooldown_until = now;
    state.version = ++version;
    changed = state;
  }
  save(key, changed);
}

void Planner::Impl::uncount_unbegun(const Action& action) {
  const auto account = account_of(action);
  {
    const std::lock_guard guard(mutex);
    const auto it = std::find_if(recent.rbegin(), recent.rend(), [&](const RecentAction& counted) {
      return counted.time == action.created && counted.target == account &&
             counted.counts != Counts::kProposal;
    });
    // Its clock was set meanwhile, or what was counted is its approval: it stays counted.
    if (it == recent.rend()) return;
    recent.erase(std::next(it).base());
  }
  if (auto ok = store->uncount(action.created, account); !ok)
    log::warning("planner", "{}", ok.error().message());
}

void Planner::Impl::forget_on_disk(const std::optional<PairKey>& key) {
  if (!key) return;
  if (auto ok = store->forget(*key); !ok) log::error("planner", "{}", ok.error().message());
}

void Planner::Impl::open_breaker(const PairKey& key, std::string why) {
  PairState state;
  std::optional<PairKey> gone;
  {
    const std::lock_guard guard(mutex);
    if (!pairs.contains(key) && !make_room(gone)) return;
    auto& entry = pairs[key];
    if (entry.state.open) return;
    entry.state.open = true;
    entry.state.opened = clock.wall();
    ++entry.state.openings;
    entry.state.why = std::move(why);
    if (entry.state.openings > 1)
      entry.state.why += fmt::format(" (for the {}. time in a row)", entry.state.openings);
    entry.state.version = ++version;
    entry.announced = true;
    state = entry.state;
  }
  forget_on_disk(gone);
  save(key, state);
  log::error("planner", "breaker of remedy {} on {} is open: {}", key.remedy, key.target,
             state.why);
  show_breakers();
  announce(key, state);
}

void Planner::Impl::announce(const PairKey& key, const PairState& state) {
  book.report(
      kSource,
      {.kind = analyze::FindingKind::kAgent,
       .name = std::string(kBreakerFinding),
       .severity = config::Severity::kCritical,
       .subject = key.target,
       .labels = breaker_labels(key),
       .annotations = {{"summary",
                        fmt::format("Remedy {} has given up on {}", key.remedy, key.target)}},
       .evidence = {.source = "planner",
                    .value = static_cast<double>(state.attempts),
                    .threshold = std::nullopt,
                    .text = fmt::format(
                        "{}. Find out why it does not help, then reset the breaker of remedy "
                        "\"{}\" on \"{}\" to re-arm it",
                        state.why, key.remedy, key.target)},
       .received = clock.steady()});
}

void Planner::Impl::withdraw_breaker(const PairKey& key) {
  book.clear(kSource, breaker_fingerprint(key));
}

void Planner::Impl::settle_pairs(const Settings& now, const PairKey* only) {
  std::vector<StoredPair> changed;
  std::vector<PairKey> closed;
  std::vector<StoredPair> unannounced;
  {
    const std::lock_guard guard(mutex);
    const auto first = only == nullptr ? pairs.begin() : pairs.find(*only);
    const auto last = only == nullptr || first == pairs.end() ? pairs.end() : std::next(first);
    for (auto it = first; it != last; ++it) {
      const auto& key = it->first;
      auto& entry = it->second;
      const bool was_open = entry.state.open;
      if (settle(entry.state, entry.last_trouble, rails_of(now, key.remedy), clock.wall())) {
        entry.state.version = ++version;
        changed.push_back({key, entry.state});
        if (was_open && !entry.state.open) closed.push_back(key);
      }
      if (entry.state.open && !entry.announced) unannounced.push_back({key, entry.state});
      entry.announced = entry.state.open;
    }
  }
  for (const auto& pair : changed) save(pair.key, pair.state);
  for (const auto& key : closed) {
    log::info("planner", "breaker of remedy {} on {} has cooled off: one more attempt", key.remedy,
              key.target);
    withdraw_breaker(key);
  }
  for (const auto& pair : unannounced) announce(pair.key, pair.state);
  if (!closed.empty() || !unannounced.empty()) show_breakers();
}

void Planner::Impl::show_breakers() {
  std::map<std::string, double> open;
  {
    const std::lock_guard guard(mutex);
    for (const auto& [key, entry] : pairs) open[key.remedy] += entry.state.open ? 1 : 0;
  }
  for (const auto& [remedy, number] : open) {
    self.gauge("nexus_breaker_open", "Targets on which the remedy has given up, until it is reset.",
               {{"remedy", remedy}})
        .set(number);
  }
}

void Planner::Impl::drop_unknown_pairs(const RemedySet& remedies) {
  std::vector<StoredPair> gone;
  {
    const std::lock_guard guard(mutex);
    for (auto& [key, entry] : pairs) {
      if (remedies.impl->find(key.remedy) != nullptr) continue;
      entry.state = PairState{.version = ++version};
      gone.push_back({key, entry.state});
    }
  }
  for (const auto& pair : gone) {
    save(pair.key, pair.state);
    withdraw_breaker(pair.key);
  }
  show_breakers();
  const std::lock_guard guard(mutex);
  for (const auto& pair : gone) pairs.erase(pair.key);
}

std::vector<Breaker> Planner::breakers() const {
  const std::lock_guard guard(impl_->mutex);
  std::vector<Breaker> out;
  for (const auto& [key, entry] : impl_->pairs) {
    const auto& state = entry.state;
    if (state.fresh()) continue;
    out.push_back({.remedy = key.remedy,
                   .target = key.target,
                   .state = state.open ? "open" : "closed",
                   .attempts = state.attempts,
                   .unanswered = state.unanswered,
                   .cooldown_until = state.cooldown_until,
                   .opened = state.opened,
                   .reason = state.why});
  }
  return out;
}

Status Planner::reset(std::string_view remedy, std::string_view target) {
  std::vector<StoredPair> fresh;
  for (const auto& key : impl_->pairs_of(remedy, target)) {
    const std::lock_guard guard(impl_->mutex);
    const auto it = impl_->pairs.find(key);
    if (it == impl_->pairs.end() || it->second.state.fresh()) continue;
    it->second.state = PairState{.version = ++impl_->version};
    it->second.announced = false;
    fresh.push_back({key, it->second.state});
  }
  if (fresh.empty())
    return fail(Errc::kNotFound, "remedy {} has no attempts on {} to forget", remedy, target);
  {
    const std::lock_guard guard(impl_->mutex);
    std::erase_if(impl_->last_reason,
                  [&](const auto& known) { return known.first.second == remedy; });
  }
  for (const auto& pair : fresh) {
    if (auto ok = impl_->store->save(pair); !ok) return ok;
    log::info("planner", "remedy {} on {} was reset", remedy, pair.key.target);
    impl_->withdraw_breaker(pair.key);
  }
  impl_->show_breakers();
  impl_->reconsider();
  return {};
}

}  // namespace nexus::plan
