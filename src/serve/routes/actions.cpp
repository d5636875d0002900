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

/// What the journal does for those that have ended.
bool passes(const plan::Action& a, const execute::ActionFilter& filter) {
  if (filter.state && a.state != *filter.state) return false;
  if (!filter.type.empty() && a.type != filter.type) return false;
  if (!filter.target.empty() && a.target != filter.target) return false;
  if (!filter.parent.empty() && a.parent != filter.parent) return false;
  if (filter.since && a.created < *filter.since) return false;
  if (filter.until && a.created >= *filter.until) return false;
  return filter.cause.empty() || filter.cause == a.cause.finding ||
         filter.cause == a.cause.fingerprint || filter.cause == a.cause.requested_by;
}

json_ns::array actions_of(const std::vector<plan::Action>& actions,
                          const execute::ActionFilter& filter, const std::set<std::string>& ended,
                          const Caller& reader) {
  json_ns::array out;
  for (const auto& a : actions) {
    if (!ended.contains(a.id) && passes(a, filter)) out.push_back(action(a, reader));
  }
  return out;
}

Result<std::optional<WallTime>> time_of(const Request& request, std::string_view name) {
  const auto text = request.param(name);
  if (!text) return std::nullopt;
  const auto time = base::parse_time(*text);
  if (!time)
    return fail(Errc::kInvalidArgument,
                "{}: expected a time such as 2026-11-23T17:00:00Z or Unix seconds, got \"{}\"",
                name, *text);
  return std::optional(*time);
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
  filter.cause = request.param("cause").value_or("");
  filter.parent = request.param("parent").value_or("");
  const auto since = time_of(request, "since");
  const auto until = time_of(request, "until");
  if (!since) return std::unexpected(since.error());
  if (!until) return std::unexpected(until.error());
  filter.since = *since;
  filter.until = *until;
  filter.ended = true;
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
  const auto with_decisions = request.param("decisions").value_or("0");
  if (with_decisions != "0" && with_decisions != "1")
    return error(400, "invalid_argument", "decisions: expected 0 or 1");
  // Taken before the journal is read: an action that ends in between is in both, and shown as
  // ended.
  const auto activity = rooms.executor.activity();
  const auto history = rooms.journal.list(*filter);
  if (!history) return error(history.error());
  json_ns::array finished;
  std::set<std::string> ended;
  for (const auto& a : *history) {
    finished.push_back(action(a, request.caller));
    ended.insert(a.id);
  }
  // What `before` takes for the next page.
  const bool more = history->size() == filter->limit && !history->empty();
  json_ns::object out{
      {"proposed", actions_of(activity->proposed, *filter, ended, request.caller)},
      {"queue", actions_of(activity->queue, *filter, ended, request.caller)},
      {"in_progress", actions_of(activity->in_progress, *filter, ended, request.caller)},
      {"history", std::move(finished)},
      {"next", more ? json_ns::value(history->back().id) : json_ns::value(nullptr)}};
  if (with_decisions == "1") {
    const auto decisions = rooms.planner.decisions(filter->limit);
    if (!decisions) return error(decisions.error());
    json_ns::array rows;
    for (const auto& d : *decisions) rows.push_back(decision(d));
    out["decisions"] = std::move(rows);
  }
  return to_response(std::move(out));
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

Response approve(const Rooms& rooms, const Request& request) {
  const auto& id = request.captures.at(0);
  if (!base::is_id(id)) return error(404, "not_found", "no action of that id");
  const auto object = parse_object(request, {"reason"});
  if (!object) return error(object.error());
  const auto reason = string_member(*object, "reason");
  if (!reason) return error(reason.error());
  return audited(rooms, request, "actions.approve", id,
                 json_ns::serialize(json_ns::object{{"reason", *reason}}), [&] {
                   auto done = rooms.planner.approve(id, request.caller.who, *reason);
                   if (!done) return error(done.error());
                   const auto now = rooms.journal.get(id);
                   return now ? to_response(action(*now, request.caller)) : error(now.error());
                 });
}

/// Undoing is an action of its own: through the guardrails, journaled, shown.
Response roll_back(const Rooms& rooms, const Request& request) {
  const auto& id = request.captures.at(0);
  if (!base::is_id(id)) return error(404, "not_found", "no action of that id");
  const auto object = parse_object(request, {"reason", "dry_run"});
  if (!object) return error(object.error());
  auto reason = string_member(*object, "reason");
  const auto dry_run = bool_member(*object, "dry_run", false);
  if (!reason) return error(reason.error());
  if (!dry_run) return error(dry_run.error());
  const auto known = rooms.journal.get(id);
  if (!known) return error(known.error());
  plan::ActionRequest wanted;
  wanted.type = "undo_action";
  wanted.target = known->target;
  wanted.parameters = {{"action", id}};
  wanted.dry_run = *dry_run;
  wanted.requested_by = request.caller.who;
  wanted.reason = *std::move(reason);
  return submit(rooms, request, "actions.rollback", wanted);
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
  routes.push_back({Method::kPost, "/operations/actions/{id}/approve", Role::kOperator,
                    Runs::kBlocking, [rooms](const Request& r) { return approve(*rooms, r); },
                    "Let a proposed action run"});
  routes.push_back({Method::kPost, "/operations/actions/{id}/rollback", Role::kOperator,
                    Runs::kBlocking, [rooms](const Request& r) { return roll_back(*rooms, r); },
                    "Undo an action that has succeeded"});
  routes.push_back(
      {Method::kPost, "/operations/actions/{id}/cancel", Role::kOperator, Runs::kBlocking,
       [rooms](const Request& r) {
         return change(*rooms, r, "actions.cancel",
                       [&](auto id, auto who) { return rooms->executor.cancel(id, who); });
       },
       "Cancel an action"});
}

}  // namespace nexus::serve
