// The path from a finding, or a person's request, to an action handed on, or to the reason why not.
#include <algorithm>

#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"
#include "plan/planner_impl.hpp"

namespace nexus::plan {
namespace {

std::string summary_of(const analyze::Finding& finding) {
  if (!finding.evidence.text.empty()) return finding.evidence.text;
  if (const auto it = finding.annotations.find("summary"); it != finding.annotations.end())
    return it->second;
  return fmt::format("{} on {}", finding.name, finding.subject);
}

std::string acted_reason(const Action& action) {
  const bool person = action.remedy.empty();
  return fmt::format(
      "{} {}: {}", action.type, action.target,
      person ? action.cause.summary : action.cause.finding + ", " + action.cause.summary);
}

}  // namespace

Reservation::Reservation(Planner::Impl& planner, std::string target)
    : planner_(planner), target_(std::move(target)) {
  const std::lock_guard guard(planner_.mutex);
  held_ = planner_.reserved.insert(target_).second;
}

Reservation::~Reservation() {
  if (!held_) return;
  const std::lock_guard guard(planner_.mutex);
  planner_.reserved.erase(target_);
}

void Planner::Impl::consider(const analyze::Finding& finding, const Settings& now,
                             const std::optional<std::string>& stop) {
  for (const auto& remedy : now.remedies->impl->remedies) {
    if (remedy.matches(finding)) decide(finding, now, remedy, stop);
  }
}

Result<Action> Planner::Impl::outline(const analyze::Finding& finding, const Settings& now,
                                      const Remedy& remedy) const {
  const auto& definition = remedy.definition;
  Action action;
  action.type = definition.action;
  action.remedy = definition.name;
  action.cause.finding = finding.name;
  action.cause.fingerprint = finding.fingerprint;
  auto target = remedy.target_for(finding);
  if (!target) return propagate(std::move(target));
  action.target = *std::move(target);  // resolved by decide()
  if (!definition.parameters.empty()) {
    auto parameters = remedy.parameters_for(finding);
    if (!parameters) return propagate(std::move(parameters));
    action.parameters = *std::move(parameters);
  }
  if (definition.steps.empty()) return action;
  if (auto ok = complete(action, finding, now, remedy); !ok) return propagate(std::move(ok));
  auto rungs = remedy.rungs_for(finding, action);
  if (!rungs) return propagate(std::move(rungs));
  action.rungs = *std::move(rungs);
  action.all_rungs = definition.all_steps;
  return action;
}

Status Planner::Impl::complete(Action& action, const analyze::Finding& finding, const Settings& now,
                               const Remedy& remedy) const {
  const auto& definition = remedy.definition;
  action.priority = definition.priority;
  action.timeout = definition.timeout.value_or(now.config->operations.action_timeout);
  action.cause.summary = summary_of(finding);
  action.cause.requested_by = "system";
  action.cause.detected = finding.fired.value_or(finding.started);
  action.received = finding.received;
  auto verify = remedy.verify_for(finding);
  if (!verify) return propagate(std::move(verify));
  action.verify = *std::move(verify);
  auto only_if = remedy.only_if_for(finding);
  if (!only_if) return propagate(std::move(only_if));
  action.only_if = *std::move(only_if);
  auto experiment = remedy.experiment_for(finding);
  if (!experiment) return propagate(std::move(experiment));
  action.experiment = *std::move(experiment);
  action.definition = remedy.digest;
  return {};
}

bool is_seen(const analyze::Finding& finding, WallTime now) {
  // A detector tells an anomaly once, of a minute that has passed; it is news for as long again.
  constexpr Millis kNews{120'000};
  return finding.seen_now ||
         (finding.kind == analyze::FindingKind::kAnomaly && now - finding.last_seen <= kNews);
}

namespace {

std::optional<std::string> flaps_now(const analyze::Finding& finding) {
  if (!finding.flapping) return std::nullopt;
  return fmt::format("{} flaps: what it says is not relied upon until it is steady", finding.name);
}

std::optional<std::string> not_seen_now(const analyze::Finding& finding, WallTime now) {
  if (is_seen(finding, now)) return std::nullopt;
  return fmt::format(
      "{} is not seen now: its condition has ended and is kept firing, or nobody has looked since "
      "the agent started",
      finding.name);
}

/// What is measured has to have been measured lately; an event stays true until the next one.
std::optional<std::string> too_old(const analyze::Finding& finding, Millis most, WallTime now) {
  const bool event = finding.kind == analyze::FindingKind::kService ||
                     finding.kind == analyze::FindingKind::kAgent;
  if (event || now - finding.last_seen <= most) return std::nullopt;
  return fmt::format(
      "{} was last looked at {} ago (max_finding_age): what is so now is not known", finding.name,
      base::format_duration(std::chrono::floor<std::chrono::seconds>(now - finding.last_seen)));
}

}  // namespace

void Planner::Impl::decide(const analyze::Finding& finding, const Settings& now,
                           const Remedy& remedy, const std::optional<std::string>& stop) {
  if (own_action_under_way(finding.fingerprint, remedy.definition.name)) return;
  const auto cannot_be_said = [&](const Error& error) {
    Action nameless;
    nameless.type = remedy.definition.action;
    nameless.remedy = remedy.definition.name;
    nameless.cause.finding = finding.name;
    nameless.cause.fingerprint = finding.fingerprint;
    note_skip(nameless, "no_target", "skipped: " + error.message());
  };
  auto drafted = outline(finding, now, remedy);
  if (!drafted) return cannot_be_said(drafted.error());
  const std::string named = drafted->target;
  drafted->target = sink.resolve(naming_type(*drafted), named);
  for (auto& rung : drafted->rungs) rung.target = sink.resolve(rung.type, rung.target);
  drafted->account = sink.account(*drafted);
  // Another thread that decides about this target right now is as good as us; the next tick looks
  // again.
  const Reservation reservation(*this, account_of(*drafted));
  if (!reservation.held() || own_action_under_way(finding.fingerprint, drafted->remedy)) return;
  const PairKey key{drafted->remedy, account_of(*drafted)};
  settle_pairs(now, &key);
  Case c{.settings = &now,
         .remedy = &remedy,
         .action = *std::move(drafted),
         .named = named,
         .asker = Asker::kRemedy,
         .fired = fired_at(finding),
         .stopped = stop,
         .not_seen = not_seen_now(finding, clock.wall()),
         .flaps = flaps_now(finding),
         .missing_data = too_old(finding, now.config->guardrails.max_finding_age, clock.wall())};
  auto situation = situation_of(c);
  const auto rails = rails_of(now, key.remedy);
  auto ruling = judge(situation, rails);
  if (ruling.opens_breaker) open_breaker(key, ruling.reason.substr(ruling.reason.find(' ') + 1));
  if (ruling.verdict == Verdict::kSkip) {
    if (ruling.code == "observe") follow_shadow(c, std::move(situation), rails);
    note_skip(c.action, ruling.code, std::move(ruling.reason));
    return;
  }
  if (c.action.rungs.empty()) {
    if (auto ok = complete(c.action, finding, now, remedy); !ok) return cannot_be_said(ok.error());
  }
  if (auto valid = sink.validate(c.action); !valid) {
    note_skip(c.action, "invalid", "skipped: " + valid.error().message());
    return;
  }
  // What goes wrong here has been recorded with its reason.
  std::ignore = act(std::move(c), ruling.verdict);
}

std::string Planner::Impl::unit_of(std::string_view action_type, std::string_view name) const {
  if (!is_unit_action(action_type)) return std::string(name);
  return sink.resolve(action_type, canonical_target(action_type, name));
}

std::size_t Planner::Impl::reserved_targets() const {
  const std::lock_guard guard(mutex);
  return reserved.size();
}

Decision Planner::Impl::decision_of(const Action& action, std::string_view verdict,
                                    std::string_view code, std::string reason) const {
  return {.time = clock.wall(),
          .remedy = action.remedy,
          .finding = action.cause.finding,
          .fingerprint = action.cause.fingerprint,
          .action_type = action.type,
          .target = action.target,
          .verdict = std::string(verdict),
          .reason_code = std::string(code),
          .reason = std::move(reason),
          .action_id = action.id};
}

Result<Action> Planner::Impl::act(Case c, Verdict verdict) {
  auto& action = c.action;
  const auto now = clock.wall();
  action.id = base::make_id(now);
  action.created = now;
  action.state = verdict == Verdict::kPropose ? ActionState::kProposed : ActionState::kQueued;
  const bool by_remedy = c.remedy != nullptr;
  StoredPair pair{{action.remedy, account_of(action)}, {}};
  const auto counts = verdict == Verdict::kPropose ? Counts::kProposal
                      : by_remedy                  ? Counts::kAction
                                                   : Counts::kRequest;
  bool crowded = false;
  std::optional<Ruling> late;
  {
    const std::lock_guard guard(mutex);
    // Judged some time ago: others may have counted since, and the last place is taken once.
    Situation hour;
    hour.now = now;
    hour.target = account_of(action);
    hour.asker = c.asker;
    count_hour(hour);
    late = over_rate(hour, rails_of(*c.settings, action.remedy), verdict);
    if (!late && by_remedy) {
      const auto state = attempt(pair.key, rails_of(*c.settings, action.remedy), now);
      crowded = !state;
      pair.state = state.value_or(PairState{});
      action.attempt = pair.state.attempts;
    }
    if (!crowded && !late) {
      recent.push_back({now, account_of(action), counts});
      add_pending(action, verdict == Verdict::kPropose);
      if (verdict == Verdict::kAct) shadow.lose(action.cause.fingerprint, now);
      last_reason.erase({action.cause.fingerprint, action.remedy});
    }
  }
  {
    std::optional<PairKey> gone;
    {
      const std::lock_guard guard(mutex);
      gone = std::exchange(forgotten, std::nullopt);
    }
    forget_on_disk(gone);
  }
  if (late) {
    auto error = fail(Errc::kConflict, "{} {}: {}", action.type, action.target, late->reason);
    action.id.clear();
    note_skip(action, late->code, std::move(late->reason));
    return error;
  }
  if (crowded) {
    action.id.clear();
    note_skip(action, "too_many_targets",
              fmt::format("skipped: {} targets have attempts already", kMaxPairs));
    return fail(Errc::kExhausted, "{} targets have attempts already", kMaxPairs);
  }
  auto decision = decision_of(action, to_string(verdict), "ok", acted_reason(action));
  decision.time = now;  // that of what it counts against the rates
  auto done = store->intend(by_remedy ? &pair : nullptr, counts, account_of(action), decision,
                            take_refused());
  if (done) done = sink.submit(action);
  if (!done) return give_back(action, pair.key, decision, std::move(done).error());
  handed_on(decision);
  count(decision.verdict, decision.reason_code);
  log::info("planner", "{} {}", decision.verdict, decision.reason);
  return action;
}

void Planner::Impl::handed_on(const Decision& decision) {
  // What stays open is looked at after the next start, and found in the journal.
  if (auto ok = store->close(decision.id); !ok) log::warning("planner", "{}", ok.error().message());
}

std::unexpected<Error> Planner::Impl::give_back(const Action& action, const PairKey& key,
                                                Decision decision, Error error) {
  const bool written = decision.id != 0;
  const std::string code = written ? "not_submitted" : "state_unavailable";
  PairState state;
  bool news = true;
  {
    const std::lock_guard guard(mutex);
    erase_pending(action.id);
    uncount(decision, account_of(action));
    // The attempt was none; its cool-down stays, so that a full queue or disk is not asked again at
    // every tick.
    if (const auto it = pairs.find(key); it != pairs.end() && !key.remedy.empty()) {
      if (it->second.state.attempts > 0) --it->second.state.attempts;
      it->second.state.version = ++version;
      state = it->second.state;
    }
    auto& last = last_reason[{action.cause.fingerprint, action.remedy}];
    news = std::exchange(last, code) != code;
  }
  if (!key.remedy.empty() && written) save(key, state);
  decision.verdict = to_string(Verdict::kSkip);
  decision.reason_code = code;
  decision.reason = "skipped: " + error.message();
  count(decision.verdict, code);
  if (written) {
    if (auto ok = store->correct(decision, account_of(action)); !ok)
      log::error("planner", "{}", ok.error().message());
  }
  if (news)
    log::error("planner", "{} {} was not begun: {}", action.type, action.target, error.message());
  return std::unexpected(std::move(error));
}

bool Planner::Impl::own_action_under_way(std::string_view fingerprint,
                                         std::string_view remedy) const {
  const std::lock_guard guard(mutex);
  return causes.contains(BothNames::View(fingerprint, remedy));
}

void Planner::Impl::add_pending(const Action& action, bool proposed) {
  pending[action.id] = {
      .fingerprint = action.cause.fingerprint, .remedy = action.remedy, .proposed = proposed};
  if (!action.remedy.empty()) causes.emplace(action.cause.fingerprint, action.remedy);
}

bool Planner::Impl::erase_pending(const std::string& id) {
  const auto known = pending.find(id);
  if (known == pending.end()) return false;
  causes.erase({known->second.fingerprint, known->second.remedy});
  pending.erase(known);
  return true;
}

}  // namespace nexus::plan
