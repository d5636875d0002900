// The path from a finding, or a person's request, to an action handed on, or to the reason why not.
#include <algorithm>

#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/config/config.hpp"
#include "plan/planner_impl.hpp"

namespace nexus::plan {
namespace {

constexpr Millis kHour{3'600'000};

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

Result<Action> Planner::Impl::draft(const analyze::Finding& finding, const Settings& now,
                                    const Remedy& remedy) const {
  const auto& definition = remedy.definition;
  Action action;
  action.type = definition.action;
  action.priority = definition.priority;
  action.remedy = definition.name;
  action.timeout = definition.timeout.value_or(now.config->operations.action_timeout);
  action.cause = {.finding = finding.name,
                  .fingerprint = finding.fingerprint,
                  .summary = summary_of(finding),
                  .requested_by = "system",
                  .detected = finding.fired.value_or(finding.started)};
  action.received = finding.received;
  auto target = remedy.target_for(finding);
  if (!target) return propagate(std::move(target));
  action.target = *std::move(target);  // resolved by decide()
  auto parameters = remedy.parameters_for(finding);
  if (!parameters) return propagate(std::move(parameters));
  action.parameters = *std::move(parameters);
  auto verify = remedy.verify_for(finding);
  if (!verify) return propagate(std::move(verify));
  action.verify = *std::move(verify);
  return action;
}

void Planner::Impl::decide(const analyze::Finding& finding, const Settings& now,
                           const Remedy& remedy, const std::optional<std::string>& stop) {
  auto drafted = draft(finding, now, remedy);
  if (!drafted) {
    Action nameless;
    nameless.type = remedy.definition.action;
    nameless.remedy = remedy.definition.name;
    nameless.cause.finding = finding.name;
    nameless.cause.fingerprint = finding.fingerprint;
    note_skip(nameless, "no_target", "skipped: " + drafted.error().message());
    return;
  }
  const std::string named = drafted->target;
  drafted->target = sink.resolve(drafted->type, named);
  if (!finding.seen_now) {
    note_skip(
        *drafted, "not_seen",
        fmt::format("skipped: {} is not seen now: its condition has ended and is kept firing, "
                    "or nobody has looked since the agent started",
                    finding.name));
    return;
  }
  if (finding.flapping) {
    note_skip(*drafted, "flapping",
              fmt::format("skipped: {} flaps: what it says is not relied upon until it is steady",
                          finding.name));
    return;
  }
  // Another thread that decides about this target right now is as good as us; the next tick looks
  // again.
  const Reservation reservation(*this, drafted->target);
  if (!reservation.held() || own_action_under_way(finding.fingerprint, drafted->remedy)) return;
  const PairKey key{drafted->remedy, drafted->target};
  settle_pairs(now, &key);
  Case c{.settings = &now,
         .remedy = &remedy,
         .action = *std::move(drafted),
         .named = named,
         .asker = Asker::kRemedy,
         .fired = finding.fired.value_or(finding.started),
         .stopped = stop};
  auto ruling = judge_case(c);
  if (ruling.opens_breaker) open_breaker(key, ruling.reason.substr(ruling.reason.find(' ') + 1));
  if (ruling.verdict == Verdict::kSkip) {
    note_skip(c.action, ruling.code, std::move(ruling.reason));
    return;
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

/// A service that the target depends on ([services] watch) and that is a firing finding.
std::optional<std::string> Planner::Impl::dependency_down(const config::Config& config,
                                                          const Action& action) const {
  const auto service = std::ranges::find_if(config.services, [&](const auto& s) {
    return !s.depends_on.empty() &&
           (s.name == action.target || unit_of(action.type, s.name) == action.target);
  });
  if (service == config.services.end()) return std::nullopt;
  for (const auto& finding : *book.snapshot()) {
    if (finding.name != "service_failed" || finding.state != analyze::FindingState::kFiring) {
      continue;
    }
    const auto subject = unit_of(action.type, finding.subject);
    const bool needed = std::ranges::any_of(service->depends_on, [&](const auto& name) {
      return name == finding.subject || unit_of(action.type, name) == subject;
    });
    if (needed) return finding.subject;
  }
  return std::nullopt;
}

/// When most of what is watched is down at once, it is not for each of them to be restarted: the
/// sensor is wrong, or something that all have in common is.
std::optional<std::string> Planner::Impl::too_many_unhealthy(const config::Config& config,
                                                             const Action& action) const {
  const auto& rails = config.guardrails;
  const auto watched = config.services.size();
  if (!is_unit_action(action.type) || watched < rails.min_watched_for_share) return std::nullopt;
  const auto findings = book.snapshot();
  const auto is_down = [&](const std::string& name) {
    return std::ranges::any_of(*findings, [&](const analyze::Finding& finding) {
      return finding.name == "service_failed" && finding.state == analyze::FindingState::kFiring &&
             finding.subject == name;
    });
  };
  // What is down because of something else is a symptom of that, and not counted.
  const auto down = std::ranges::count_if(config.services, [&](const auto& service) {
    return is_down(service.name) && std::ranges::none_of(service.depends_on, is_down);
  });
  if (static_cast<double>(down) <= rails.max_unhealthy_share * static_cast<double>(watched))
    return std::nullopt;
  return fmt::format(
      "{} of {} watched services are down at once (max_unhealthy_share): the sensor, or what they "
      "have in common, is suspected",
      down, watched);
}

Ruling Planner::Impl::judge_case(const Case& c) {
  const auto& config = *c.settings->config;
  const auto& action = c.action;
  Situation s;
  s.now = clock.wall();
  s.asker = c.asker;
  s.stopped = c.stopped;
  s.mode = config.operations.mode;
  if (c.remedy != nullptr) s.mode = std::min(s.mode, c.remedy->definition.mode.value_or(s.mode));
  const auto& extra = config.guardrails.protected_units;
  s.protected_reason = protected_reason(action.type, action.target, extra);
  if (!s.protected_reason) s.protected_reason = protected_reason(action.type, c.named, extra);
  // An alias would be a target of its own: without attempts, and past an open breaker. What cannot
  // be asked about its units cannot restart them either, so that waiting loses nothing.
  if (c.asker == Asker::kRemedy && !sink.name_known(action.type, c.named)) s.name_unknown = c.named;
  if (c.asker == Asker::kRemedy) {
    s.maintenance = maintenance_for(c.settings->remedies->impl->windows, action.target, s.now);
    s.suspect = too_many_unhealthy(config, action);
  }
  s.dependency_down = dependency_down(config, action);
  // A proposal is itself in flight until it is approved.
  s.in_flight = c.asker != Asker::kApproval && sink.in_flight(action.target);
  s.remedy = action.remedy;
  s.target = action.target;
  s.fired = c.fired;
  const auto rails = rails_of(*c.settings, action.remedy);
  // Reserved ones first: one that is handed on in between is then counted twice, rather than not.
  std::size_t others = reserved_targets() - 1;
  others += sink.targets_in_flight();
  {
    const std::lock_guard guard(mutex);
    s.other_targets = others;
    if (c.asker == Asker::kRemedy) s.pair = look({action.remedy, action.target}, s.now);
    if (c.asker == Asker::kApproval) {
      const auto known = pairs.find({action.remedy, action.target});
      if (known != pairs.end()) s.pair = known->second.state;
    }
    while (!recent.empty() && recent.front().time + kHour <= s.now) recent.pop_front();
    for (auto& [time, target] : recent) {
      time = std::min(time,
                      s.now);  // a clock that was set back holds nobody up for longer than an hour
      if (s.hour_total++ == 0) s.total_frees = time + kHour;
      if (target == action.target && s.hour_target++ == 0) s.target_frees = time + kHour;
    }
  }
  return judge(s, rails);
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
  StoredPair pair{{action.remedy, action.target}, {}};
  bool crowded = false;
  {
    const std::lock_guard guard(mutex);
    if (by_remedy) {
      const auto state = attempt(pair.key, rails_of(*c.settings, action.remedy), now);
      crowded = !state;
      pair.state = state.value_or(PairState{});
      action.attempt = pair.state.attempts;
    }
    if (!crowded) {
      if (verdict == Verdict::kAct) recent.push_back({now, action.target});
      pending[action.id] = {.fingerprint = action.cause.fingerprint,
                            .remedy = action.remedy,
                            .proposed = verdict == Verdict::kPropose};
      last_reason.erase({action.cause.fingerprint, action.remedy});
    }
  }
  if (crowded) {
    note_skip(action, "too_many_targets",
              fmt::format("skipped: {} targets have attempts already", kMaxPairs));
    return fail(Errc::kExhausted, "{} targets have attempts already", kMaxPairs);
  }
  auto decision = decision_of(action, to_string(verdict), "ok", acted_reason(action));
  decision.time = now;  // that of what it counts against the rates
  auto done = store->intend(by_remedy ? &pair : nullptr, verdict == Verdict::kAct, decision);
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
    pending.erase(action.id);
    uncount(decision);
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
    if (auto ok = store->correct(decision); !ok) log::error("planner", "{}", ok.error().message());
  }
  if (news)
    log::error("planner", "{} {} was not begun: {}", action.type, action.target, error.message());
  return std::unexpected(std::move(error));
}

void Planner::Impl::note_skip(const Action& action, std::string_view code, std::string reason) {
  if (!action.remedy.empty()) {
    const std::lock_guard guard(mutex);
    auto& last = last_reason[{action.cause.fingerprint, action.remedy}];
    if (last == code) return;
    last = code;
  }
  record_skip(action, code, std::move(reason));
}

void Planner::Impl::record_skip(const Action& action, std::string_view code, std::string reason) {
  const auto decision = decision_of(action, to_string(Verdict::kSkip), code, std::move(reason));
  count(decision.verdict, code);
  log::info("planner", "{} {} {}", action.type, action.target, decision.reason);
  if (auto ok = store->record(decision); !ok) log::error("planner", "{}", ok.error().message());
}

void Planner::Impl::count(std::string_view verdict, std::string_view code) {
  self.counter("nexus_decisions_total",
               "Decisions about findings and requests, once per change of the reason.",
               {{"verdict", verdict}, {"reason", code}})
      .add();
}

bool Planner::Impl::own_action_under_way(const std::string& fingerprint,
                                         const std::string& remedy) const {
  const std::lock_guard guard(mutex);
  return std::ranges::any_of(pending, [&](const auto& known) {
    return known.second.fingerprint == fingerprint && known.second.remedy == remedy;
  });
}

}  // namespace nexus::plan
