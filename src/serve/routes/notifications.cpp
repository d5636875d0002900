#include "nexus/serve/notification_routes.hpp"

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "nexus/base/text.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/requests.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

using knowledge::Matcher;
using knowledge::MatchOp;
using publish::Silence;

struct Shared {
  SharedRooms rooms;
  publish::Publisher& publisher;
};
using SharedPtr = std::shared_ptr<const Shared>;

json_ns::object matcher(const Matcher& one) {
  return {{"name", one.name()},
          {"value", one.value()},
          {"isRegex", one.op() == MatchOp::kRegex || one.op() == MatchOp::kNotRegex},
          {"isEqual", one.op() == MatchOp::kEqual || one.op() == MatchOp::kRegex}};
}

json_ns::object silence(const Silence& one, WallTime now) {
  json_ns::array matchers;
  for (const auto& each : one.matchers) matchers.push_back(matcher(each));
  return {{"id", one.id},
          {"status", json_ns::object{{"state", one.state(now)}}},
          {"updatedAt", base::to_rfc3339(one.updated)},
          {"matchers", std::move(matchers)},
          {"startsAt", base::to_rfc3339(one.starts)},
          {"endsAt", base::to_rfc3339(one.ends)},
          {"createdBy", one.author},
          {"comment", one.comment}};
}

/// A silence is shown when each filter matches the value of one of its matchers of that name.
bool passes(const Silence& one, const publish::Matchers& filters) {
  return std::ranges::all_of(filters, [&](const Matcher& filter) {
    return std::ranges::any_of(one.matchers, [&](const Matcher& each) {
      return each.name() == filter.name() && filter.matches(each.value());
    });
  });
}

Response list_silences(const Shared& shared, const Request& request) {
  const auto filters = filters_of(request);
  if (!filters) return error(filters.error());
  json_ns::array out;
  const WallTime now = shared.rooms->clock.wall();
  for (const auto& one : shared.publisher.silences()) {
    if (passes(one, *filters)) out.push_back(silence(one, now));
  }
  return to_response(std::move(out));
}

Response get_silence(const Shared& shared, const Request& request) {
  for (const auto& one : shared.publisher.silences()) {
    if (one.id == request.captures.at(0))
      return to_response(silence(one, shared.rooms->clock.wall()));
  }
  return error(404, "not_found", "there is no silence of that id");
}

Result<Matcher> to_matcher(const json_ns::value& value) {
  constexpr std::string_view kShape =
      "matchers: expected objects of name, value, isRegex and isEqual";
  if (!value.is_object()) return fail(Errc::kInvalidArgument, "{}", kShape);
  const auto& object = value.get_object();
  const auto name = string_member(object, "name");
  const auto text = string_member(object, "value");
  const auto is_regex = bool_member(object, "isRegex", false);
  const auto is_equal = bool_member(object, "isEqual", true);
  if (!name || !text || !is_regex || !is_equal || name->empty())
    return fail(Errc::kInvalidArgument, "{}", kShape);
  const MatchOp op = *is_regex ? (*is_equal ? MatchOp::kRegex : MatchOp::kNotRegex)
                               : (*is_equal ? MatchOp::kEqual : MatchOp::kNotEqual);
  auto made = Matcher::make(*name, op, *text);
  if (!made) return made;
  // It is kept as text, and read from there after a restart.
  const auto again = publish::parse_matchers(publish::to_string({*made}));
  if (!again || again->size() != 1 || again->front() != *made)
    return fail(Errc::kInvalidArgument, "matchers: {} cannot be kept", publish::to_string({*made}));
  return made;
}

Result<WallTime> time_member(const json_ns::object& object, std::string_view key) {
  const auto text = string_member(object, key);
  if (!text) return std::unexpected(text.error());
  auto time = base::parse_time(*text);
  if (!time)
    return fail(Errc::kInvalidArgument, "{}: expected a time such as \"2026-11-23T17:00:00Z\"",
                key);
  return time;
}

Result<publish::SilenceRequest> parse_silence(const Request& request) {
  auto object =
      parse_object(request, {"id", "matchers", "startsAt", "endsAt", "createdBy", "comment"});
  if (!object) return std::unexpected(object.error());
  publish::SilenceRequest out;
  const auto* matchers = object->if_contains("matchers");
  if (matchers == nullptr || !matchers->is_array())
    return fail(Errc::kInvalidArgument, "matchers: expected an array");
  for (const auto& value : matchers->get_array()) {
    auto one = to_matcher(value);
    if (!one) return std::unexpected(one.error());
    out.matchers.push_back(*std::move(one));
  }
  auto starts = time_member(*object, "startsAt");
  auto ends = time_member(*object, "endsAt");
  auto id = string_member(*object, "id");
  auto author = string_member(*object, "createdBy");
  auto comment = string_member(*object, "comment");
  for (const auto* text : {&id, &author, &comment}) {
    if (!*text) return std::unexpected(text->error());
  }
  if (!starts) return std::unexpected(starts.error());
  if (!ends) return std::unexpected(ends.error());
  out.starts = *starts;
  out.ends = *ends;
  out.id = *std::move(id);
  out.author = author->empty() ? request.caller.who : *std::move(author);
  out.comment = *std::move(comment);
  return out;
}

Response post_silence(const Shared& shared, const Request& request) {
  auto wanted = parse_silence(request);
  if (!wanted) return error(wanted.error());
  const auto subject = publish::to_string(wanted->matchers);
  const json_ns::object details = {{"comment", wanted->comment},
                                   {"ends", base::to_rfc3339(wanted->ends)}};
  return audited(*shared.rooms, request, "silence", subject, json_ns::serialize(details), [&] {
    auto made = shared.publisher.put_silence(*std::move(wanted));
    if (!made) return error(made.error());
    return to_response(json_ns::object{{"silenceID", made->id}});
  });
}

Response delete_silence(const Shared& shared, const Request& request) {
  const auto& id = request.captures.at(0);
  return audited(*shared.rooms, request, "expire_silence", base::sanitize_utf8(id), "{}", [&] {
    const auto expired = shared.publisher.expire_silence(id);
    return expired ? to_response(json_ns::object{{"result", "expired"}}) : error(expired.error());
  });
}

Response notifications(const Shared& shared) {
  json_ns::array receivers;
  for (const auto& one : shared.publisher.receivers()) {
    receivers.push_back(json_ns::object{{"name", one.name},
                                        {"type", one.type},
                                        {"state", one.state},
                                        {"queued", one.queued},
                                        {"failures_in_a_row", one.failures},
                                        {"sent", one.sent},
                                        {"failed", one.failed},
                                        {"dropped", one.dropped},
                                        {"last_sent", time(one.last_sent)},
                                        {"next_attempt", time(one.next_attempt)},
                                        {"last_error", one.last_error}});
  }
  return to_response({{"timestamp", base::to_rfc3339(shared.rooms->clock.wall())},
                      {"receivers", std::move(receivers)}});
}

Response test(const Shared& shared, const Request& request) {
  const auto& name = request.captures.at(0);
  return audited(*shared.rooms, request, "notify_test", base::sanitize_utf8(name), "{}", [&] {
    const auto sent = shared.publisher.test(name, request.cancelled);
    return sent ? to_response({{"receiver", name}, {"result", "sent"}}) : error(sent.error());
  });
}

}  // namespace

std::vector<Route> notification_routes(const Rooms& rooms, publish::Publisher& publisher) {
  using config::Role;
  const auto shared =
      std::make_shared<const Shared>(Shared{std::make_shared<const Rooms>(rooms), publisher});
  std::vector<Route> routes = {
      {Method::kGet, "/health/notifications", Role::kViewer, Runs::kSnapshot,
       [shared](const Request&) { return notifications(*shared); },
       "Receivers of notifications: what waits, what was sent, what fails"},
      {Method::kPost, "/operations/notify/{receiver}/test", Role::kOperator, Runs::kOutside,
       [shared](const Request& request) { return test(*shared, request); },
       "Sends a real notification that says it is a test"},
      {Method::kGet, "/api/v2/silences", Role::kViewer, Runs::kBlocking,
       [shared](const Request& request) { return list_silences(*shared, request); },
       "Silences, as Alertmanager shows them"},
      {Method::kPost, "/api/v2/silences", Role::kOperator, Runs::kBlocking,
       [shared](const Request& request) { return post_silence(*shared, request); },
       "Makes a silence, or changes one"},
      {Method::kGet, "/api/v2/silence/{id}", Role::kViewer, Runs::kSnapshot,
       [shared](const Request& request) { return get_silence(*shared, request); }, "One silence"},
      {Method::kDelete, "/api/v2/silence/{id}", Role::kOperator, Runs::kBlocking,
       [shared](const Request& request) { return delete_silence(*shared, request); },
       "Ends a silence"},
  };
  add_approvals(routes, shared->rooms, publisher);
  return routes;
}

}  // namespace nexus::serve
