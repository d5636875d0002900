#include <boost/json/parse.hpp>

#include "nexus/base/log.hpp"
#include "serve/routes/groups.hpp"

namespace nexus::serve {
namespace {

/// "ok", or the message of an error response.
std::string result_of(const Response& response) {
  if (response.status < 400) return "ok";
  boost::system::error_code ec;
  const auto body = boost::json::parse(*response.body, ec);
  if (!ec && body.is_object() && body.as_object().contains("error")) {
    const auto& error = body.at("error");
    if (error.is_object() && error.as_object().contains("message"))
      return std::string(error.at("message").as_string());
  }
  return "status " + std::to_string(response.status);
}

}  // namespace

knowledge::AuditRecord audit_record(const Request& request, std::string_view what,
                                    const std::string& subject, const std::string& details) {
  knowledge::AuditRecord record;
  record.who = request.caller.who;
  record.from = request.caller.from;
  record.what = what;
  record.subject = subject;
  record.details = details;
  record.result = "requested";
  return record;
}

Response audited(const Rooms& rooms, const Request& request, std::string_view what,
                 const std::string& subject, const std::string& details,
                 const std::function<Response()>& change) {
  auto record = audit_record(request, what, subject, details);
  if (auto written = rooms.audit.record(record); !written) {
    log::error("serve", "{} refused, it cannot be written to the audit log: {}", what,
               written.error().message());
    return error(500, "audit", "the change was not made: it cannot be written to the audit log");
  }
  auto response = change();
  record.result = result_of(response);
  if (!response.subject.empty()) record.details = "{\"action\":\"" + response.subject + "\"}";
  if (auto written = rooms.audit.record(record); !written) {
    log::error("serve", "the result of {} ({}) is not in the audit log: {}", what, record.result,
               written.error().message());
  }
  return response;
}

std::vector<Route> all_routes(const Rooms& rooms) {
  const auto shared = std::make_shared<const Rooms>(rooms);
  std::vector<Route> routes;
  add_management(routes, shared);
  add_health(routes, shared);
  add_alerts(routes, shared);
  add_charts(routes, shared);
  add_observed(routes, shared);
  add_actions(routes, shared);
  add_operations(routes, shared);
  add_remedies(routes, shared);
  add_events(routes, shared);
  add_services(routes, shared);
  add_prometheus_api(routes, shared);
  add_import(routes, shared);
  add_push(routes, shared);
  return routes;
}

}  // namespace nexus::serve
