#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <functional>
#include <set>

#include "nexus/base/id.hpp"
#include "nexus/base/text.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/requests.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

json_ns::array actions_of(const std::vector<plan::Action>& actions,
                          const std::set<std::string>& ended, const Caller& reader) {
  json_ns::array out;
  for (const auto& a : actions) {
    if (!ended.contains(a.id)) out.push_back(action(a, reader));
  }
  return out;
}

Result<execute::ActionFilter> filter_of(const Request& request) {
  execute::ActionFilter filter;
  if (const auto text = request.param("status")) {
    filter.state = plan::parse_action_state(*text);
    if (!filter.state)
      return fail(Errc::kInvalidArgument, "status: \"{}\" is not a state of an action", *text);
  }
  filter.type = request.param("type").value_or("");
  filter.target = request.param("target").value_or("");
  filter.before = request.param("before").value_or("");
  if (!filter.before.empty() && !base::is_id(filter.before))
    return fail(Errc::kInvalidArgument, "before: expected the id of an action");
  const auto limit = integer_param(request, "limit", 100, 1, 1000);
  if (!limit) return std::unexpected(limit.error());
  filter.limit = static_cast<std::size_t>(*limit);
  return filter;
}

Response list(const Rooms& rooms, const Request& request) {
  const auto filter = filter_of(request);
  if (!filter) return error(filter.error());
  // Taken before the journal is read: an action that ends in between is in both, and shown as
  // ended.
  const auto activity = rooms.executor.activity();
  const auto history = rooms.journal.list(*filter);
  if (!history) return error(history.error());
  json_ns::array finished;
  std::set<std::string> ended;
  for (const auto& a : *history) {
    if (!plan::is_final(a.state)) continue;
    finished.push_back(action(a, request.caller));
    ended.insert(a.id);
  }
  return to_response({{"proposed", actions_of(activity->proposed, ended, request.caller)},
                      {"queue", actions_of(activity->queue, ended, request.caller)},
                      {"in_progress", actions_of(activity->in_progress, ended, request.caller)},
                      {"history", std::move(finished)}});
}

Response get(const Rooms& rooms, const Request& request) {
  const auto& id = request.captures.at(0);
  if (!base::is_id(id)) return error(404, "not_found", "no action of that id");
  const auto found = rooms.journal.get(id);
  return found ? to_response(action(*found, request.caller)) : error(found.error());
}

Response create(const Rooms& rooms, const Request& request) {
  auto wanted = parse_action_request(request);
  if (!wanted) return error(wanted.error());
  return submit(rooms, request, "actions.create", *wanted);
}

Response change(const Rooms& rooms, const Request& request, std::string_view what,
                const std::function<Status(std::string_view id, std::string_view who)>& verb) {
  const auto& id = request.captures.at(0);
  if (!base::is_id(id)) return error(404, "not_found", "no action of that id");
  return audited(rooms, request, what, id, "", [&] {
    if (auto done = verb(id, request.caller.who); !done) return error(done.error());
    const auto now = rooms.journal.get(id);
    return now ? to_response(action(*now, request.caller)) : error(now.error());
  });
}

}  // namespace

Response submit(const Rooms& rooms, const Request& request, std::string_view what,
                const plan::ActionRequest& wanted) {
  json_ns::object parameters;
  for (const auto& [name, value] : wanted.parameters) parameters[name] = parameter(value);
  const json_ns::value details = {{"type", wanted.type},
                                  {"parameters", std::move(parameters)},
                                  {"idempotency_key", wanted.idempotency_key},
                                  {"priority", wanted.priority},
                                  {"dry_run", wanted.dry_run},
                                  {"reason", wanted.reason}};
  return audited(rooms, request, what, wanted.target, json_ns::serialize(details), [&] {
    const auto submitted = rooms.planner.request(wanted);
    if (!submitted) return error(submitted.error());
    auto response = to_response(action(*submitted, request.caller), 202);
    response.subject = submitted->id;
    return response;
  });
}

void add_actions(std::vector<Route>& routes, const SharedRooms& rooms) {
  using config::Role;
  routes.push_back({Method::kGet, "/operations/actions", Role::kViewer, Runs::kBlocking,
                    [rooms](const Request& r) { return list(*rooms, r); },
                    "Queue, in progress, history"});
  routes.push_back({Method::kPost, "/operations/actions", Role::kOperator, Runs::kBlocking,
                    [rooms](const Request& r) { return create(*rooms, r); }, "Queue an action"});
  routes.push_back({Method::kGet, "/operations/actions/{id}", Role::kViewer, Runs::kBlocking,
                    [rooms](const Request& r) { return get(*rooms, r); }, "One action"});
  routes.push_back(
      {Method::kPost, "/operations/actions/{id}/approve", Role::kOperator, Runs::kBlocking,
       [rooms](const Request& r) {
         return change(*rooms, r, "actions.approve",
                       [&](auto id, auto who) { return rooms->planner.approve(id, who); });
       },
       "Let a proposed action run"});
  routes.push_back(
      {Method::kPost, "/operations/actions/{id}/cancel", Role::kOperator, Runs::kBlocking,
       [rooms](const Request& r) {
         return change(*rooms, r, "actions.cancel",
                       [&](auto id, auto who) { return rooms->executor.cancel(id, who); });
       },
       "Cancel an action"});
}

}  // namespace nexus::serve
