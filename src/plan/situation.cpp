// What the rails are asked about: everything that a decision has to know, gathered.
#include <algorithm>

#include "plan/planner_impl.hpp"

namespace nexus::plan {
namespace {

constexpr Millis kHour{3'600'000};
constexpr std::string_view kFailedName = "service_failed";
constexpr std::string_view kServiceAction = "restart_service";  // names services as units

/// Services are what an action's target is, or what its rungs' are, or what it is counted on.
bool is_about_units(const Action& action) {
  return is_unit_action(naming_type(action)) || action.account.ends_with(".service");
}

std::string how_it_is(std::string_view name, std::string_view how, std::string_view word) {
  return fmt::format("{}{}, which is {}", name, how.empty() ? "" : fmt::format(" ({})", how),
                     word == "failed" ? "down" : word);
}

}  // namespace

std::string Planner::Impl::service_name(std::string_view name) const {
  return sink.resolve(kServiceAction, canonical_target(kServiceAction, name));
}

void Planner::Impl::note_failed(const analyze::Finding& finding) {
  if (finding.name != kFailedName) return;
  const auto unit = service_name(finding.subject);
  const std::lock_guard guard(mutex);
  const bool news = finding.state == analyze::FindingState::kFiring
                        ? failed.add(finding.subject, unit)
                        : failed.remove(finding.subject);
  if (!news) return;
  ++failures;
  watched.reset();
}

void Planner::Impl::look_for_failed(const analyze::Findings& findings) {
  FailedServices now;
  for (const auto& finding : findings) {
    if (finding.name == kFailedName && finding.state == analyze::FindingState::kFiring)
      now.add(finding.subject, service_name(finding.subject));
  }
  const std::lock_guard guard(mutex);
  ++failures;
  failed = std::move(now);
  watched.reset();  // names may be known by now that were not
}

std::shared_ptr<const Watched> Planner::Impl::look_at_watched(
    const std::shared_ptr<const config::Config>& config) const {
  std::uint64_t seen = 0;
  {
    const std::lock_guard guard(mutex);
    if (watched != nullptr && watched->config == config) return watched;
    seen = failures;
  }
  auto made = std::make_shared<Watched>();
  made->config = config;
  // What is down because of something else is a symptom of that, and not counted; what was stopped
  // cleanly is how somebody wants it.
  const auto has_failed = [&](const std::string& name) { return is_down(name, false).has_value(); };
  for (const auto& service : config->services) {
    const auto unit = service_name(service.name);
    for (const auto& name : service.depends_on) {
      made->depends_on.emplace(unit, name);
      if (unit != service.name) made->depends_on.emplace(service.name, name);
    }
    if (has_failed(service.name) && std::ranges::none_of(service.depends_on, has_failed))
      ++made->down;
  }
  const std::lock_guard guard(mutex);
  if (seen == failures) watched = made;
  return made;
}

std::optional<std::string> Planner::Impl::is_down(std::string_view service, bool stopped) const {
  const auto unit = service_name(service);
  std::shared_ptr<const Surroundings> ask;
  {
    const std::lock_guard guard(mutex);
    if (failed.contains(unit) || failed.contains(service)) return "failed";
    ask = surroundings;
  }
  // By which name its manager knows it has to be known first.
  if (!stopped || ask == nullptr || !sink.name_known(kServiceAction, unit)) return std::nullopt;
  return ask->down(unit);
}

std::optional<std::string> Planner::Impl::dependency_down(
    const std::shared_ptr<const config::Config>& config, const Action& action) const {
  const bool unit = is_about_units(action);
  const auto& target = account_of(action);
  const auto all = look_at_watched(config);
  const auto [first, last] = all->depends_on.equal_range(target);
  for (auto it = first; it != last; ++it) {
    if (const auto word = is_down(it->second, true)) return how_it_is(it->second, "", *word);
  }
  std::shared_ptr<const Surroundings> ask;
  {
    const std::lock_guard guard(mutex);
    ask = surroundings;
  }
  if (!unit || ask == nullptr) return std::nullopt;
  for (const auto& need : ask->needs(target)) {
    if (const auto word = is_down(need.name, true)) return how_it_is(need.name, need.how, *word);
  }
  return std::nullopt;
}

/// When most of what is watched is down at once, it is not for each of them to be restarted: the
/// sensor is wrong, or something that all have in common is.
std::optional<std::string> Planner::Impl::too_many_unhealthy(
    const std::shared_ptr<const config::Config>& config, const Action& action) const {
  const auto& rails = config->guardrails;
  const auto watched_services = config->services.size();
  if (!is_about_units(action) || watched_services < rails.min_watched_for_share)
    return std::nullopt;
  const auto down = look_at_watched(config)->down;
  if (static_cast<double>(down) <=
      rails.max_unhealthy_share * static_cast<double>(watched_services))
    return std::nullopt;
  return fmt::format(
      "{} of {} watched services are down at once (max_unhealthy_share): the sensor, or what they "
      "have in common, is suspected",
      down, watched_services);
}

std::optional<std::string> Planner::Impl::protected_from(const config::Config& config,
                                                         const Action& action,
                                                         const std::string& named) const {
  const auto& extra = config.guardrails.protected_units;
  const auto type = naming_type(action);
  if (auto reason = protected_reason(type, action.target, extra)) return reason;
  if (named != action.target) {
    if (auto reason = protected_reason(type, named, extra)) return reason;
  }
  for (const auto& rung : action.rungs) {
    if (auto reason = protected_reason(rung.type, rung.target, extra)) return reason;
  }
  return std::nullopt;
}

std::optional<std::string> Planner::Impl::held(const Action& action, WallTime now) const {
  const std::lock_guard guard(mutex);
  return holds.reason(action.remedy, account_of(action), now);
}

Situation Planner::Impl::situation_of(const Case& c) {
  const auto& config = *c.settings->config;
  const auto& action = c.action;
  const bool by_remedy = c.asker == Asker::kRemedy;
  const auto& target = account_of(action);
  Situation s;
  s.now = clock.wall();
  s.asker = c.asker;
  s.stopped = c.stopped;
  s.mode = config.operations.mode;
  if (c.remedy != nullptr) s.mode = std::min(s.mode, c.remedy->definition.mode.value_or(s.mode));
  s.protected_reason = protected_from(config, action, c.named);
  // An alias would be a target of its own: without attempts, and past an open breaker. What cannot
  // be asked about its units cannot restart them either, so that waiting loses nothing.
  if (by_remedy && !sink.name_known(naming_type(action), c.named)) s.name_unknown = c.named;
  if (by_remedy) {
    s.maintenance = maintenance_for(c.settings->remedies->impl->windows, target, s.now);
    s.suspect = too_many_unhealthy(c.settings->config, action);
    s.not_seen = c.not_seen;
    s.flaps = c.flaps;
    s.missing_data = c.missing_data;
  }
  s.dependency_down = dependency_down(c.settings->config, action);
  // A proposal is itself in flight until it is approved; a person need not wait for one.
  s.in_flight = c.asker == Asker::kRemedy   ? sink.in_flight(target)
                : c.asker == Asker::kPerson ? sink.active(target)
                                            : false;
  s.remedy = action.remedy;
  s.target = target;
  s.fired = c.fired;
  if (is_about_units(action) && config.services.size() >= config.guardrails.min_watched_for_share)
    s.watched = config.services.size();
  // Reserved ones first: one that is handed on in between is then counted twice, rather than not.
  std::size_t others = reserved_targets() - 1;
  others += sink.targets_in_flight();
  const std::lock_guard guard(mutex);
  s.other_targets = others;
  if (by_remedy) {
    s.held = holds.reason(action.remedy, target, s.now);
    const PairKey key{action.remedy, target};
    if (!s.not_seen) s.pair = look(key, s.now);
  }
  if (c.asker == Asker::kApproval) {
    const auto known = pairs.find({action.remedy, target});
    if (known != pairs.end()) s.pair = known->second.state;
  }
  count_hour(s);
  return s;
}

void Planner::Impl::count_hour(Situation& s) {
  while (!recent.empty() && recent.front().time + kHour <= s.now) recent.pop_front();
  for (auto& [time, target, counts] : recent) {
    time = std::min(time, s.now);  // nothing holds anybody up for longer than an hour
    if (time + kHour <= s.now) continue;
    if (counts == Counts::kProposal) {
      if (s.hour_proposals++ == 0) s.proposals_free = time + kHour;
      continue;
    }
    // People and remedies have a rate each: neither uses up the other's in an incident.
    if ((counts == Counts::kRequest) != (s.asker == Asker::kPerson)) continue;
    if (s.hour_total++ == 0) s.total_frees = time + kHour;
    if (target == s.target && s.hour_target++ == 0) s.target_frees = time + kHour;
  }
}

Ruling Planner::Impl::judge_case(const Case& c) {
  return judge(situation_of(c), rails_of(*c.settings, c.action.remedy));
}

}  // namespace nexus::plan
