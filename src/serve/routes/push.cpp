// POST /api/v1/push?job=NAME[&LABEL=VALUE...]: exposition text of applications and jobs into the
// history. It is data, not a change to the agent: it is not in the audit log.
#include "nexus/config/config.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

bool is_label_name(std::string_view name) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  if (name.empty() || !is_letter(name.front()) || name.starts_with("__")) return false;
  return std::ranges::all_of(name, [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

Response push(const Rooms& rooms, const Request& request) {
  constexpr std::size_t kMostLabels = 30;
  monitor::PushRequest given{
      .text = request.body, .content_type = request.content_type, .group = {}};
  bool has_job = false;
  for (const auto& [name, value] : request.query) {
    if (!is_label_name(name))
      return error(400, "invalid_argument", name + ": expected the name of a label");
    has_job = has_job || (name == "job" && !value.empty());
    given.group.push_back({name, value});
  }
  if (!has_job)
    return error(400, "invalid_argument", "job: expected who pushes, as in /api/v1/push?job=shop");
  if (given.group.size() > kMostLabels)
    return error(400, "invalid_argument", "expected at most 30 labels");
  const auto result = rooms.sources.push(given);
  if (!result) return error(result.error());
  return to_response({{"samples", result->samples},
                      {"invalid_lines", result->invalid},
                      {"dropped", result->dropped},
                      {"mistake", result->mistake}});
}

}  // namespace

void add_push(std::vector<Route>& routes, const SharedRooms& rooms) {
  routes.push_back({Method::kPost, "/api/v1/push", config::Role::kOperator, Runs::kBlocking,
                    [rooms](const Request& r) { return push(*rooms, r); },
                    "exposition text of an application into the history"});
}

}  // namespace nexus::serve
