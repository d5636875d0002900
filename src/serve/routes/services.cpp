#include <algorithm>

#include "nexus/config/config.hpp"
#include "nexus/drivers/systemd.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/requests.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

/// The configured service of that name, with or without its suffix.
std::optional<config::ServiceConfig> watched(const Rooms& rooms, const std::string& unit) {
  const auto configuration = rooms.config();
  const auto found = std::ranges::find(configuration->services, unit, &config::ServiceConfig::name);
  if (found == configuration->services.end()) return std::nullopt;
  return *found;
}

json_ns::object summary(const Rooms& rooms, const config::ServiceConfig& service) {
  json_ns::object out = {{"name", service.name}, {"kind", service.kind}, {"state", "unknown"}};
  for (const auto& event : rooms.services.states()) {
    if (event.service != service.name) continue;
    out["state"] = event.state;
    out["detail"] = event.detail;
    out["main_pid"] = event.pid;
    out["since"] = time(event.time);
  }
  return out;
}

Response list(const Rooms& rooms) {
  json_ns::array out;
  for (const auto& service : rooms.config()->services) out.push_back(summary(rooms, service));
  return to_response({{"services", std::move(out)}});
}

Response status(const Rooms& rooms, const Request& request) {
  const auto unit = drivers::normalize_unit_name(request.captures.at(0));
  if (!unit) return error(unit.error());
  const auto found = rooms.systemd.status(*unit);
  if (!found) return error(found.error());
  if (found->load_state == "not-found") return error(404, "not_found", *unit + ": no such unit");
  return to_response({{"name", found->name},
                      {"kind", "systemd"},
                      {"description", found->description},
                      {"load_state", found->load_state},
                      {"state", found->active_state},
                      {"sub_state", found->sub_state},
                      {"result", found->result},
                      {"main_pid", found->main_pid},
                      {"restarts", found->restarts},
                      {"invocation_id", found->invocation_id},
                      {"since", time(found->state_change)},
                      {"watched", watched(rooms, *unit).has_value()}});
}

Response restart(const Rooms& rooms, const Request& request) {
  const auto unit = drivers::normalize_unit_name(request.captures.at(0));
  if (!unit) return error(unit.error());
  const auto object = parse_object(request, {"dry_run", "priority", "reason", "idempotency_key"});
  if (!object) return error(object.error());
  const auto dry_run = bool_member(*object, "dry_run", false);
  const auto priority = integer_member(*object, "priority", 50, 0, 100);
  const auto reason = string_member(*object, "reason");
  const auto key = string_member(*object, "idempotency_key");
  if (!dry_run) return error(dry_run.error());
  if (!priority) return error(priority.error());
  if (!reason) return error(reason.error());
  if (!key) return error(key.error());
  return submit(rooms, request, "services.restart",
                {"restart_service",
                 *unit,
                 {},
                 static_cast<int>(*priority),
                 *dry_run,
                 *key,
                 request.caller.who,
                 *reason});
}

}  // namespace

void add_services(std::vector<Route>& routes, const SharedRooms& rooms) {
  using config::Role;
  routes.push_back({Method::kGet, "/operations/services", Role::kViewer, Runs::kSnapshot,
                    [rooms](const Request&) { return list(*rooms); }, "Watched services"});
  routes.push_back({Method::kGet, "/operations/services/{name}/status", Role::kViewer,
                    Runs::kBlocking, [rooms](const Request& r) { return status(*rooms, r); },
                    "State of a service"});
  routes.push_back({Method::kPost, "/operations/services/{name}/restart", Role::kOperator,
                    Runs::kBlocking, [rooms](const Request& r) { return restart(*rooms, r); },
                    "Restart a service"});
}

}  // namespace nexus::serve
