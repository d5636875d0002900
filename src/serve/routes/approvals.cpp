// Links of messages: a page that says what is proposed, with a form that approves or rejects it.
//
// A GET changes nothing: programs that look at links in mails press no buttons. Whoever has the
// link needs no role; what is done is in the audit log with the name that was given and whom the
// link was sent to.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "nexus/base/markup.hpp"
#include "nexus/base/text.hpp"
#include "nexus/publish/publisher.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

constexpr std::size_t kLongestName = 100;

std::string escape(std::string_view text) {
  return base::escape_markup(base::sanitize_utf8(text));
}

Response page(unsigned status, std::string_view title, std::string_view body) {
  Response response;
  response.status = status;
  response.content_type = "text/html; charset=utf-8";
  response.headers = {{"Content-Security-Policy",
                       "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
                       "frame-ancestors 'none'"},
                      {"Cache-Control", "no-store"},
                      {"Referrer-Policy", "no-referrer"}};  // the address is worth an approval
  response.body = std::make_shared<const std::string>(fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\n<title>{0}"
      "</title></head>\n<body style=\"font-family:sans-serif;max-width:40em;margin:2em auto\">\n"
      "<h1>{0}</h1>\n{1}</body></html>\n",
      escape(title), body));
  return response;
}

Response refusal(const Error& error) {
  const unsigned status = error.code() == Errc::kNotFound   ? 404
                          : error.code() == Errc::kTimeout  ? 410
                          : error.code() == Errc::kConflict ? 409
                                                            : 500;
  return page(status, "Nothing was done", fmt::format("<p>{}</p>\n", escape(error.message())));
}

std::string facts(const plan::Action& action) {
  return fmt::format(
      "<p><b>{} {}</b></p>\n<p>{}</p>\n<p>finding: {}; remedy: {}; proposed {}; it is {}</p>\n",
      escape(action.type), escape(action.target), escape(action.cause.summary),
      escape(action.cause.finding), escape(action.remedy), base::to_rfc3339(action.created),
      to_string(action.state));
}

Response show(const Rooms& rooms, publish::Publisher& publisher, const Request& request) {
  const auto ticket = publisher.approvals().look(request.captures.at(0));
  if (!ticket) return refusal(ticket.error());
  const auto action = rooms.journal.get(ticket->action);
  if (!action) return refusal(action.error());
  if (action->state != plan::ActionState::kProposed)
    return page(409, "Already answered", facts(*action));
  const auto wanted = request.param("choice");
  const auto button = [&](std::string_view choice, std::string_view text) {
    if (wanted && *wanted != choice) return std::string();
    return fmt::format("<button name=\"choice\" value=\"{}\">{}</button>\n", choice, text);
  };
  const auto body = fmt::format(
      "{}<form method=\"post\" action=\"?\">\n<p><label>Your name <input name=\"name\" "
      "maxlength=\"{}\"></label></p>\n<p>{}{}</p>\n</form>\n<p>This link is good for one answer, "
      "until {}.</p>\n",
      facts(*action), kLongestName, button("approve", "Approve"), button("reject", "Reject"),
      base::to_rfc3339(ticket->expires));
  return page(200, "May the agent do this?", body);
}

Response answer(const Rooms& rooms, publish::Publisher& publisher, const Request& request) {
  const auto choice = request.param("choice").value_or("");
  if (choice != "approve" && choice != "reject")
    return page(400, "Nothing was done", "<p>choice: expected approve or reject</p>\n");
  const auto ticket = publisher.approvals().redeem(request.captures.at(0));
  if (!ticket) return refusal(ticket.error());
  std::string name =
      base::sanitize_utf8(request.param("name").value_or("").substr(0, kLongestName));
  std::ranges::replace_if(
      name, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  Request named = request;
  named.caller.who = fmt::format(
      "{} (by the link sent to {})",
      base::trim(name).empty() ? "somebody" : std::string(base::trim(name)), ticket->receiver);
  const bool approves = choice == "approve";
  Response out;
  const auto done = audited(
      rooms, named, approves ? "actions.approve" : "actions.reject", ticket->action, "", [&] {
        const auto changed = approves ? rooms.planner.approve(ticket->action, named.caller.who)
                                      : rooms.executor.cancel(ticket->action, named.caller.who);
        const auto now = rooms.journal.get(ticket->action);
        const auto body = now ? facts(*now) : std::string();
        if (!changed) {
          out = page(409, "Nothing was done",
                     fmt::format("<p>{}</p>\n{}", escape(changed.error().message()), body));
          return error(changed.error());
        }
        out = page(200, approves ? "Approved" : "Rejected", body);
        return out;
      });
  return out.body->empty() ? done : out;  // refused by the audit log
}

}  // namespace

void add_approvals(std::vector<Route>& routes, const SharedRooms& rooms,
                   publish::Publisher& publisher) {
  routes.push_back({Method::kGet, "/approve/{token}", config::Role::kNone, Runs::kBlocking,
                    [rooms, &publisher](const Request& r) { return show(*rooms, publisher, r); },
                    "What a link in a message proposes"});
  routes.push_back({Method::kPost, "/approve/{token}", config::Role::kNone, Runs::kBlocking,
                    [rooms, &publisher](const Request& r) { return answer(*rooms, publisher, r); },
                    "Approve or reject what a link in a message proposes"});
}

}  // namespace nexus::serve
