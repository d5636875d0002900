// Holds, and what remedies that only observe would have done.
#include <boost/json/serialize.hpp>

#include "nexus/base/id.hpp"
#include "nexus/base/text.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/requests.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

json_ns::object hold(const plan::Hold& h) {
  return {{"id", h.id},
          {"targets", strings(h.targets)},
          {"remedy", h.remedy.empty() ? json_ns::value(nullptr) : json_ns::value(h.remedy)},
          {"who", h.who},
          {"reason", h.reason},
          {"created", time(h.created)},
          {"until", time(h.until)}};
}

Response holds(const Rooms& rooms) {
  json_ns::array out;
  for (const auto& one : rooms.planner.holds()) out.push_back(hold(one));
  return to_response({{"holds", std::move(out)}});
}

Result<plan::HoldRequest> parse_hold(const Request& request) {
  const auto object = parse_object(request, {"targets", "remedy", "duration", "reason"});
  if (!object) return std::unexpected(object.error());
  plan::HoldRequest out;
  const auto* targets = object->if_contains("targets");
  if (targets == nullptr || !targets->is_array())
    return fail(Errc::kInvalidArgument, "targets: expected an array of globs such as [\"web*\"]");
  for (const auto& one : targets->get_array()) {
    if (!one.is_string())
      return fail(Errc::kInvalidArgument, "targets: expected an array of globs such as [\"web*\"]");
    out.targets.emplace_back(one.get_string());
  }
  auto remedy = string_member(*object, "remedy");
  auto reason = string_member(*object, "reason");
  const auto text = string_member(*object, "duration");
  if (!remedy) return std::unexpected(remedy.error());
  if (!reason) return std::unexpected(reason.error());
  if (!text) return std::unexpected(text.error());
  const auto lasts = base::parse_duration(*text);
  if (!lasts)
    return fail(Errc::kInvalidArgument, "duration: expected one such as \"2h\", got \"{}\"", *text);
  out.remedy = *std::move(remedy);
  out.reason = *std::move(reason);
  out.lasts = *lasts;
  out.who = request.caller.who;
  return out;
}

Response put_hold(const Rooms& rooms, const Request& request) {
  const auto wanted = parse_hold(request);
  if (!wanted) return error(wanted.error());
  const auto details =
      json_ns::serialize(json_ns::object{{"remedy", wanted->remedy},
                                         {"duration", base::format_duration(wanted->lasts)},
                                         {"reason", wanted->reason}});
  std::string subject;
  for (const auto& glob : wanted->targets) subject += (subject.empty() ? "" : ", ") + glob;
  return audited(rooms, request, "holds.create", subject, details, [&] {
    const auto made = rooms.planner.hold(*wanted);
    return made ? to_response(hold(*made), 201) : error(made.error());
  });
}

Response end_hold(const Rooms& rooms, const Request& request) {
  const auto& id = request.captures.at(0);
  if (!base::is_id(id)) return error(404, "not_found", "no hold of that id");
  return audited(rooms, request, "holds.end", id, "", [&] {
    const auto ended = rooms.planner.release(id);
    return ended ? to_response(hold(*ended)) : error(ended.error());
  });
}

Response report(const Rooms& rooms) {
  const auto found = rooms.planner.report();
  if (!found) return error(found.error());
  json_ns::array out;
  for (const auto& s : *found) {
    out.push_back({{"remedy", s.remedy},
                   {"action_type", s.action_type},
                   {"would_have_acted", s.would_have_acted},
                   {"resolved_by_itself", s.resolved_by_itself},
                   {"still_there", s.still_there},
                   {"unknown", s.unknown},
                   {"median_seconds", number(s.median_seconds)},
                   {"longest_seconds", number(s.longest_seconds)},
                   {"action_seconds", number(s.action_seconds)},
                   {"saved_seconds", number(s.saved_seconds)},
                   {"first", time(s.first)},
                   {"last", time(s.last)}});
  }
  return to_response({{"remedies", std::move(out)}});
}

Response shadow(const Rooms& rooms, const Request& request) {
  const auto limit = integer_param(request, "limit", 100, 1, 1000);
  if (!limit) return error(limit.error());
  const auto found =
      rooms.planner.shadow(request.param("remedy").value_or(""), static_cast<std::size_t>(*limit));
  if (!found) return error(found.error());
  json_ns::array out;
  for (const auto& e : *found) {
    out.push_back({{"id", e.id},
                   {"time", time(e.time)},
                   {"remedy", e.remedy},
                   {"action_type", e.action_type},
                   {"target", e.target},
                   {"finding", e.finding},
                   {"fingerprint", e.fingerprint},
                   {"resolved", time(e.resolved)},
                   {"lost", e.lost}});
  }
  return to_response({{"entries", std::move(out)}});
}

}  // namespace

void add_remedies(std::vector<Route>& routes, const SharedRooms& rooms) {
  using config::Role;
  const auto add = [&](Method method, std::string path, Role role, Handler handler,
                       std::string_view help) {
    routes.push_back({method, std::move(path), role, Runs::kBlocking, std::move(handler), help});
  };
  add(
      Method::kGet, "/operations/holds", Role::kViewer,
      [rooms](const Request&) { return holds(*rooms); }, "Holds in force");
  add(
      Method::kPost, "/operations/holds", Role::kOperator,
      [rooms](const Request& r) { return put_hold(*rooms, r); }, "Hold remedies off targets");
  add(
      Method::kPost, "/operations/holds/{id}/end", Role::kOperator,
      [rooms](const Request& r) { return end_hold(*rooms, r); }, "End a hold");
  add(
      Method::kGet, "/operations/remedies/report", Role::kViewer,
      [rooms](const Request&) { return report(*rooms); },
      "What remedies that observe would have done");
  add(
      Method::kGet, "/operations/remedies/shadow", Role::kViewer,
      [rooms](const Request& r) { return shadow(*rooms, r); }, "The same, one by one");
}

}  // namespace nexus::serve
