// The groups of routes; one file each, one line each in table.cpp. Thread safety: pure.
#pragma once

#include <vector>

#include "nexus/serve/routes.hpp"

namespace nexus::publish {
class Publisher;
}

namespace nexus::serve {

using SharedRooms = std::shared_ptr<const Rooms>;

void add_management(std::vector<Route>& routes, const SharedRooms& rooms);  // /-/..., /metrics, /
void add_health(std::vector<Route>& routes, const SharedRooms& rooms);      // /health...
void add_alerts(std::vector<Route>& routes, const SharedRooms& rooms);      // /health/alerts...
void add_charts(std::vector<Route>& routes, const SharedRooms& rooms);      // .../chart.png
void add_observed(std::vector<Route>& routes,
                  const SharedRooms& rooms);  // /health/processes, /health/connections
void add_actions(std::vector<Route>& routes, const SharedRooms& rooms);  // /operations/actions...
void add_operations(std::vector<Route>& routes, const SharedRooms& rooms);  // /operations/...
void add_remedies(std::vector<Route>& routes,
                  const SharedRooms& rooms);  // /operations/holds, /operations/remedies/...
void add_events(std::vector<Route>& routes, const SharedRooms& rooms);    // /operations/events
void add_services(std::vector<Route>& routes, const SharedRooms& rooms);  // /operations/services...
void add_prometheus_api(std::vector<Route>& routes, const SharedRooms& rooms);  // /api/v1/...
void add_prometheus_series(std::vector<Route>& routes, const SharedRooms& rooms);
void add_import(std::vector<Route>& routes, const SharedRooms& rooms);  // /api/v1/admin/import
void add_push(std::vector<Route>& routes, const SharedRooms& rooms);    // /api/v1/push
void add_prometheus_status(std::vector<Route>& routes, const SharedRooms& rooms);
void add_approvals(std::vector<Route>& routes, const SharedRooms& rooms,
                   publish::Publisher& publisher);  // /approve/...

/// Runs a change and writes it to the audit log: who, from where, what, about what, result. The
/// change is not made when the intention cannot be recorded; the record of the result follows it.
[[nodiscard]] Response audited(const Rooms& rooms, const Request& request, std::string_view what,
                               const std::string& subject, const std::string& details,
                               const std::function<Response()>& change);
/// The records themselves: the first before the change is made, the second with what became of it.
[[nodiscard]] knowledge::AuditRecord audit_record(const Request& request, std::string_view what,
                                                  const std::string& subject,
                                                  const std::string& details);

}  // namespace nexus::serve
