#include <boost/json/serialize.hpp>

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

Response switch_to(const Rooms& rooms, const Request& request, bool running) {
  return audited(
      rooms, request, running ? "operations.start" : "operations.stop", "operations", "", [&] {
        if (auto done = rooms.planner.set_running(running, request.caller.who); !done)
          return error(done.error());
        if (!running)
          rooms.executor.cancel_queued("operations were stopped by " + request.caller.who);
        return to_response({{"operations_running", rooms.planner.running()}});
      });
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
  add(
      Method::kPost, "/operations/start", Role::kOperator,
      [rooms](const Request& r) { return switch_to(*rooms, r, true); }, "Let the loop act");
  add(
      Method::kPost, "/operations/stop", Role::kOperator,
      [rooms](const Request& r) { return switch_to(*rooms, r, false); }, "Stop it from acting");
  add(
      Method::kGet, "/operations/decisions", Role::kViewer,
      [rooms](const Request& r) { return decisions(*rooms, r); }, "Decisions and their reasons");
  add(
      Method::kGet, "/operations/breakers", Role::kViewer,
      [rooms](const Request&) { return breakers(*rooms); }, "Attempts and breakers");
  add(
      Method::kPost, "/operations/breakers/reset", Role::kOperator,
      [rooms](const Request& r) { return reset_breaker(*rooms, r); }, "Re-arm a remedy");
  add(
      Method::kGet, "/operations/audit", Role::kOperator,
      [rooms](const Request& r) { return audit(*rooms, r); }, "Every change, by whom");
}

}  // namespace nexus::serve
