#include "agent/commands/rollback.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include <boost/json.hpp>

#include "agent/commands/follow.hpp"
#include "nexus/execute/step.hpp"
#include "nexus/execute/undone.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

constexpr Millis kLongest{60'000};  // that one is waited for

/// What may have changed something and left it so.
constexpr std::array<std::string_view, 5> kStates{"succeeded", "unverified", "failed", "cancelled",
                                                  "interrupted"};

bool is_left(const json::value& action) {
  const auto* dry = find_path(action, "dry_run");
  if (dry != nullptr && dry->is_bool() && dry->get_bool()) return false;
  const auto* started = find_path(action, "started");
  if (started == nullptr || started->is_null()) return false;
  const auto* undone = find_path(action, "outcome.undone");
  return undone == nullptr || undone->is_null() ||
         to_cell(*undone).starts_with(execute::kNotUndone);  // that is tried again
}

/// Those of one type and state that have begun and were not undone, newest first.
Result<std::vector<json::object>> undoable(const ClientFlags& flags, std::string_view type,
                                           std::string_view state) {
  std::vector<json::object> out;
  std::string before;
  while (true) {
    auto page = call(flags, "GET",
                     fmt::format("/operations/actions?status={}&limit=1000&type={}{}", state, type,
                                 before.empty() ? "" : "&before=" + before));
    if (!page) return propagate(std::move(page));
    const auto* history = find_path(*page, "history");
    if (history == nullptr || !history->is_array())
      return fail(Errc::kCorrupt, "the agent's answer has no history");
    for (const auto& action : history->get_array()) {
      if (is_left(action)) out.push_back(action.as_object());
    }
    const auto* next = find_path(*page, "next");
    if (next == nullptr || !next->is_string()) return out;
    before = std::string(next->get_string());
  }
}

}  // namespace

int roll_back_all(const ClientFlags& flags, const std::string& reason) {
  // What runs, how many and of what version is no setting: it stays when the agent goes.
  constexpr std::array<std::string_view, 8> kStays{
      "rolling_update",  "scale_service", "stop_service",  "enable_service",
      "disable_service", "cordon_node",   "uncordon_node", "drain_node"};
  std::vector<json::object> all;
  for (const auto* descriptor : execute::actions()) {
    if (descriptor->undo_help.empty() ||
        std::ranges::find(kStays, descriptor->name) != kStays.end())
      continue;
    for (const auto state : kStates) {
      auto found = undoable(flags, descriptor->name, state);
      if (!found) return report(found.error());
      std::ranges::move(*found, std::back_inserter(all));
    }
  }
  // Ids are ordered by time: what was set last is taken back first.
  std::ranges::sort(all, std::ranges::greater(),
                    [](const json::object& action) { return to_cell(action.at("id")); });
  int code = 0;
  for (const auto& action : all) {
    const auto id = to_cell(action.at("id"));
    const json::value body = {{"reason", reason}};
    auto asked = call(flags, "POST", "/operations/actions/" + id + "/rollback", &body);
    if (asked) asked = follow(flags, to_cell(*find_path(*asked, "id")), kLongest);
    if (!asked) {
      code = report(asked.error());
      continue;
    }
    fmt::print("{} {}: {}\n", to_cell(action.at("action_type")),
               to_cell(action.at("target_component")),
               to_cell(*find_path(*asked, "outcome.result")));
    if (to_cell(*find_path(*asked, "state")) != "succeeded") code = 1;
  }
  return code;
}

}  // namespace nexus::agent
