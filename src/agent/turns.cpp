// What the loops do at each turn.
#include <fmt/ranges.h>

#include <algorithm>

#include "agent/agent_impl.hpp"
#include "nexus/base/log.hpp"

namespace nexus::agent {

SteadyTime Agent::Impl::analyze_turn() {
  const auto now = clock.steady();
  const auto configuration = current();
  const auto due = [&](SteadyTime& next, Millis interval) {
    if (now < next) return false;
    // Aligned to the interval; a late turn skips what it missed instead of catching up in a burst.
    next = next + interval > now ? next + interval : now + interval;
    return true;
  };
  const bool fresh = due(next_vitals, configuration->collect.interval);
  if (fresh) rules->tick_vitals();
  if (due(next_alerts, configuration->operations.check_interval)) rules->tick_alerts();
  const auto vitals = rules->vitals();
  if (fresh) {
    // Ready is when there is something to show, not only something collected.
    const bool shown = vitals->definitions->empty() || !vitals->values.empty();
    if (shown && collectors()->warmed_up()) vitals_stand = true;
    budget.weigh(*vitals, configuration->agent);
    look_closer(*vitals, configuration->agent.cpu_budget_percent);
  }
  if (budget.allows_forecasts() && due(next_forecast, configuration->forecast.interval))
    forecaster->tick(*vitals);
  if (budget.allows_anomalies() && due(next_anomaly, configuration->anomaly.interval))
    anomalies->tick(*vitals);
  return std::min(next_vitals, next_alerts);
}

void Agent::Impl::look_closer(const analyze::VitalsSnapshot& vitals, double cpu_budget_percent) {
  const auto findings = book->snapshot();
  const auto is_firing = [](const analyze::Finding& finding) {
    return finding.state == analyze::FindingState::kFiring;
  };
  const bool may = budget.allows_anomalies() && std::ranges::any_of(*findings, is_firing);
  if (!may && !hurries) return;
  const auto scheduler_now = collectors();
  std::vector<monitor::Scheduler::Hurry> hurry;
  if (may) {
    hurry = incident.look(*findings, *vitals.definitions, scheduler_now->status(),
                          cpu_budget_percent, clock.wall());
  } else {
    incident.rest();
  }
  hurries = !hurry.empty();
  scheduler_now->hurry(hurry);
}

void Agent::Impl::look_at_listeners() {
  constexpr std::string_view kName = "http_listener_missing";
  auto missing = server->waits_for();
  if (missing == listeners_missing) return;
  if (missing.empty()) {
    book->clear("agent", analyze::fingerprint(analyze::FindingKind::kAgent, kName, {}));
  } else {
    book->report("agent", {.kind = analyze::FindingKind::kAgent,
                           .name = std::string(kName),
                           .severity = config::Severity::kWarning,
                           .subject = "nexus-agent",
                           .evidence = {.text = fmt::format("{}", fmt::join(missing, "; "))}});
  }
  listeners_missing = std::move(missing);
  if (stopping) return;
  // What was waited for is there now, or not any more: scripts read where it is.
  if (auto written = write_addresses(); !written)
    log::error("agent", "{}", written.error().message());
}

SteadyTime Agent::Impl::plan_turn() {
  if (auto looked = changes->tick(); !looked) log::error("agent", "{}", looked.error().message());
  if (auto graph = surroundings->look_for_graph(*current())) book->set_graph(std::move(graph));
  tell_of_life();
  look_at_listeners();
  drift->hangs();  // says so; it is not waited for
  tunings->look();
  book->tick();
  incidents->tick();
  save_services();  // what could not be written when it happened
  surroundings->look(*current());
  executor->tick();  // first: it learns the names of units that the planner waits for
  planner->tick();
  connectivity->look();
  return clock.steady() + current()->operations.check_interval;
}

}  // namespace nexus::agent
