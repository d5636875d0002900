#include "agent/commands/follow.hpp"

#include <CLI/CLI.hpp>
#include <condition_variable>
#include <mutex>

#include "agent/commands/action_rows.hpp"
#include "nexus/drivers/http_client.hpp"
#include "nexus/plan/action.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

constexpr Millis kAskEvery{100};

/// A state that a newer agent may have and this command does not know is not waited on.
plan::ActionState state_of(const json::value& action) {
  const auto* state = find_path(action, "state");
  if (state == nullptr) return plan::ActionState::kFailed;
  return plan::parse_action_state(to_cell(*state)).value_or(plan::ActionState::kFailed);
}

std::string path_of(const std::string& id) {
  return "/operations/actions/" + drivers::url_encode(id);
}

}  // namespace

Result<json::value> follow(const ClientFlags& flags, const std::string& id, Millis longest) {
  base::SystemClock clock;
  const auto until = clock.steady() + longest;
  std::mutex mutex;
  std::condition_variable never;
  while (true) {
    auto now = call(flags, "GET", path_of(id));
    if (!now) return propagate(std::move(now), "what becomes of action {} is not known", id);
    const auto state = state_of(*now);
    if (plan::is_final(state) || state == plan::ActionState::kProposed) return now;
    if (longest > Millis{0} && clock.steady() >= until)
      return fail(Errc::kTimeout, "action {} has not ended yet", id);
    std::unique_lock lock(mutex);
    clock.wait_until(lock, never, clock.steady() + kAskEvery, [] { return false; });
  }
}

void add_no_wait(CLI::App& command, bool& no_wait) {
  command.add_flag("--no-wait", no_wait, "Do not stay until it has ended");
}

int ask_for_action(const ClientFlags& flags, const std::string& path, const json::value& body,
                   bool no_wait) {
  auto action = call(flags, "POST", path, &body);
  if (!action) return report(action.error());
  const auto* id = find_path(*action, "id");
  if (no_wait || id == nullptr) {
    print_object(flags, *action, kActionRows, Missing::kLeftOut);
    return 0;
  }
  auto ended = follow(flags, to_cell(*id));
  if (!ended) return report(ended.error());
  print_object(flags, *ended, kActionRows, Missing::kLeftOut);
  const auto state = state_of(*ended);
  return state == plan::ActionState::kSucceeded || state == plan::ActionState::kProposed ? 0 : 1;
}

int show_action(const ClientFlags& flags, const std::string& id) {
  const auto action = call(flags, "GET", path_of(id));
  if (!action) return report(action.error());
  print_object(flags, *action, kActionRows, Missing::kLeftOut);
  return 0;
}

}  // namespace nexus::agent
