#include <boost/json/serialize.hpp>

#include "nexus/base/log.hpp"
#include "nexus/config/config.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/requests.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

WallTime midnight(WallTime now) {
  return std::chrono::floor<std::chrono::days>(now);
}

Response status(const Rooms& rooms) {
  const auto executor = rooms.executor.status();
  const auto done = rooms.journal.finished_since(midnight(rooms.clock.wall()));
  if (!done) return error(done.error());
  std::int64_t incidents = 0;
  for (const auto& f : *rooms.book.snapshot()) {
    const auto category = f.labels.find("category");
    const bool security = category != f.labels.end() && category->second == "security";
    incidents += security && f.state == analyze::FindingState::kFiring ? 1 : 0;
  }
  return to_response({{"operations_running", rooms.planner.running()},
                      {"mode", config::to_string(rooms.config()->operations.mode)},
                      {"queue_size", executor.queued},
                      {"proposed_actions", executor.proposed},
                      {"in_progress_actions", executor.running},
                      {"completed_actions_today", *done},
                      {"active_security_incidents", incidents},
                      {"last_check", time(rooms.planner.last_check())}});
}

Response let_act(const Rooms& rooms, const Request& request) {
  return audited(rooms, request, "operations.start", "operations", "", [&] {
    if (auto done = rooms.planner.set_running(true, request.caller.who); !done)
      return error(done.error());
    return to_response(
        {{"operations_running", rooms.planner.running()}, {"warnings", json_ns::array()}});
  });
}

/// The kill switch stops first and is written down afterwards: a full disk is when it is needed.
/// What could not be written is in the answer, the log and a counter.
Response stop_acting(const Rooms& rooms, const Request& request) {
  json_ns::array warnings;
  const auto warn = [&](std::string text) {
    log::error("serve", "{}", text);
    warnings.push_back(json_ns::value(std::move(text)));
  };
  if (auto stored = rooms.planner.set_running(false, request.caller.who); !stored)
    warn("stopped, but not stored: a restart lets it act again: " + stored.error().message());
  rooms.executor.cancel_queued("operations were stopped by " + request.caller.who);
  auto record = audit_record(request, "operations.stop", "operations", "");
  record.result = rooms.planner.running() ? "it acts still" : "ok";
  if (auto written = rooms.audit.record(std::move(record)); !written) {
    warn("the stop is not in the audit log: " + written.error().message());
    rooms.self
        .counter("nexus_audit_lost_records_total",
                 "Changes that were made although the audit log could not be written.")
        .add();
  }
  return to_response(
      {{"operations_running", rooms.planner.running()}, {"warnings", std::move(warnings)}});
}

Response decisions(const Rooms& rooms, const Request& request) {
  const auto limit = integer_param(request, "limit", 100, 1, 1000);
  const auto before = integer_param(request, "before", 0, 0, INT64_MAX);
  if (!limit) return error(limit.error());
  if (!before) return error(before.error());
  const auto found = rooms.planner.decisions(static_cast<std::size_t>(*limit), *before);
  if (!found) return error(found.error());
  json_ns::array out;
  for (const auto& d : *found) out.push_back(decision(d));
  return to_response({{"decisions", std::move(out)}});
}

Response breakers(const Rooms& rooms) {
  json_ns::array out;
  for (const auto& b : rooms.planner.breakers()) out.push_back(breaker(b));
  return to_response({{"breakers", std::move(out)}});
}

Response reset_breaker(const Rooms& rooms, const Request& request) {
  const auto object = parse_object(request, {"remedy", "target"});
  if (!object) return error(object.error());
  const auto remedy = string_member(*object, "remedy");
  const auto target = string_member(*object, "target");
  if (!remedy) return error(remedy.error());
  if (!target) return error(target.error());
  if (remedy->empty() || target->empty())
    return error(400, "invalid_argument", "remedy and target are expected");
  return audited(rooms, request, "breakers.reset", *remedy + " on " + *target, "", [&] {
    if (auto done = rooms.planner.reset(*remedy, *target); !done) return error(done.error());
    return to_response({{"remedy", *remedy}, {"target", *target}, {"state", "closed"}});
  });
}

Response audit(const Rooms& rooms, const Request& request) {
  const auto limit = integer_param(request, "limit", 100, 1, 1000);
  const auto before = integer_param(request, "before", 0, 0, INT64_MAX);
  if (!limit) return error(limit.error());
  if (!before) return error(before.error());
  const auto found = rooms.audit.list(static_cast<std::size_t>(*limit), *before);
  if (!found) return error(found.error());
  json_ns::array out;
  for (const auto& r : *found) {
    out.push_back({{"id", r.id},
                   {"time", time(r.time)},
                   {"who", r.who},
                   {"from", r.from},
                   {"what", r.what},
                   {"subject", r.subject},
                   {"result", r.result},
                   {"details", r.details}});
  }
  return to_response({{"records", std::move(out)}});
}

json_ns::object reach(const analyze::Reach& r) {
  return {{"threshold", number(r.threshold)},
          {"seconds", number(r.seconds)},
          {"earliest_seconds", number(r.earliest)},
          {"latest_seconds", number(r.latest)}};
}

/// What fills when, and what would be needed.
Response capacity(const Rooms& rooms) {
  json_ns::array out;
  for (const auto& c : rooms.forecaster.capacity()) {
    json_ns::array plan;
    for (std::size_t i = 0; i < analyze::Capacity::kPlanDays.size(); ++i) {
      plan.push_back({{"days", analyze::Capacity::kPlanDays[i]},
                      {"expected", number(c.planned[i])},
                      {"times_needed", number(c.needed[i])}});
    }
    out.push_back({{"metric_name", c.metric_name},
                   {"labels", labels(c.labels)},
                   {"unit", c.unit},
                   {"current_value", number(c.current)},
                   {"per_day", number(c.per_day)},
                   {"per_day_error", number(c.per_day_error)},
                   {"certain", c.certain},
                   {"pattern", c.pattern},
                   {"days_seen", number(c.days_seen)},
                   {"warning", reach(c.warning)},
                   {"critical", reach(c.critical)},
                   {"exhaustion", reach(c.exhaustion)},
                   {"plan", std::move(plan)}});
  }
  json_ns::array performance;
  for (const auto& p : *rooms.forecaster.performance()) {
    json_ns::value knee = nullptr;
    if (p.knee) {
      knee = {{"load", number(p.knee->load)},
              {"response_below", number(p.knee->flat)},
              {"slope_above", number(p.knee->slope)},
              {"p_value", number(p.knee->p_value)},
              {"highest_load", number(p.knee->highest)}};
    }
    performance.push_back({{"metric_name", p.metric_name},
                           {"load_name", p.load_name},
                           {"labels", labels(p.labels)},
                           {"unit", p.unit},
                           {"load", number(p.load)},
                           {"response", number(p.response)},
                           {"minutes", p.minutes},
                           {"knee", std::move(knee)},
                           {"seconds_to_knee", number(p.seconds)},
                           {"earliest_seconds_to_knee", number(p.earliest)}});
  }
  json_ns::array leaks;
  for (const auto& leak : *rooms.forecaster.leaks()) {
    leaks.push_back({{"group", leak.group},
                     {"resource", leak.resource},
                     {"unit", leak.unit},
                     {"current_value", number(leak.current)},
                     {"per_day", number(leak.per_day)},
                     {"per_day_error", number(leak.per_day_error)},
                     {"p_value", number(leak.p_value)},
                     {"certain", leak.certain},
                     {"from", time(leak.from)},
                     {"to", time(leak.to)},
                     {"hours", leak.hours},
                     {"restarts", leak.restarts}});
  }
  return to_response({{"capacity", std::move(out)},
                      {"leaks", std::move(leaks)},
                      {"performance", std::move(performance)},
                      {"timestamp", base::to_rfc3339(rooms.clock.wall())}});
}

}  // namespace

void add_operations(std::vector<Route>& routes, const SharedRooms& rooms) {
  using config::Role;
  const auto add = [&](Method method, std::string path, Role role, Handler handler,
                       std::string_view help) {
    routes.push_back({method, std::move(path), role, Runs::kBlocking, std::move(handler), help});
  };
  add(
      Method::kGet, "/operations/status", Role::kViewer,
      [rooms](const Request&) { return status(*rooms); }, "Acting or not, and how much");
  routes.push_back({Method::kPost, "/operations/start", Role::kOperator, Runs::kSwitch,
                    [rooms](const Request& r) { return let_act(*rooms, r); }, "Let the loop act"});
  routes.push_back({Method::kPost, "/operations/stop", Role::kOperator, Runs::kSwitch,
                    [rooms](const Request& r) { return stop_acting(*rooms, r); },
                    "Stop it from acting"});
  add(
      Method::kGet, "/operations/decisions", Role::kViewer,
      [rooms](const Request& r) { return decisions(*rooms, r); }, "Decisions and their reasons");
  add(
      Method::kGet, "/operations/breakers", Role::kViewer,
      [rooms](const Request&) { return breakers(*rooms); }, "Attempts and breakers");
  add(
      Method::kPost, "/operations/breakers/reset", Role::kOperator,
      [rooms](const Request& r) { return reset_breaker(*rooms, r); }, "Re-arm a remedy");
  routes.push_back({Method::kGet, "/operations/capacity", Role::kViewer, Runs::kSnapshot,
                    [rooms](const Request&) { return capacity(*rooms); },
                    "What fills when, and what would be needed"});
  add(
      Method::kGet, "/operations/audit", Role::kOperator,
      [rooms](const Request& r) { return audit(*rooms, r); }, "Every change, by whom");
}

}  // namespace nexus::serve
