// POST /api/v1/admin/import: OpenMetrics text with timestamps into the history. `nexus-agent
// import` sends a file in parts that fit a request (`part=0`, 1, ...), and `last=1` with the last,
// which may be empty; the parts after the first are not audited one by one.
#include "nexus/config/config.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

Response take(const Rooms& rooms, const Request& request) {
  using Rest = knowledge::Importer::Rest;
  const bool whole = request.param("part").value_or("").empty() || request.param("last") == "1";
  const auto result = rooms.importer.import(request.body, rooms.config()->history.retention,
                                            whole ? Rest::kNone : Rest::kFollows);
  json_ns::array mistakes;
  for (const auto& mistake : result.mistakes)
    mistakes.push_back({{"line", mistake.line}, {"message", mistake.message}});
  json_ns::object out = {{"accepted", result.accepted}, {"held", result.held},
                         {"refused", result.refused},   {"over_limit", result.over_limit},
                         {"lines", result.lines},       {"mistakes", std::move(mistakes)}};
  if (!result.obstacle.empty()) out["obstacle"] = result.obstacle;
  return to_response(out);
}

Response import(const Rooms& rooms, const Request& request) {
  const auto part = integer_param(request, "part", 0, 0, INT64_MAX);
  if (!part) return error(part.error());
  if (*part > 0) return take(rooms, request);
  return audited(rooms, request, "history.import", "history", "{}",
                 [&] { return take(rooms, request); });
}

}  // namespace

void add_import(std::vector<Route>& routes, const SharedRooms& rooms) {
  routes.push_back({Method::kPost, "/api/v1/admin/import", config::Role::kAdministrator,
                    Runs::kBulk, [rooms](const Request& r) { return import(*rooms, r); },
                    "OpenMetrics text with timestamps into the history"});
}

}  // namespace nexus::serve
