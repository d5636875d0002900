// Services by name, whatever runs them: what there is, how one is, and what may be asked for it.
#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>

#include "nexus/base/away.hpp"
#include "nexus/config/config.hpp"
#include "nexus/config/service_name.hpp"
#include "nexus/execute/service_manager.hpp"
#include "nexus/plan/planner.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/requests.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

using namespace std::chrono_literals;
using execute::ServiceState;
using execute::ServiceVerb;

constexpr std::size_t kMostListed = 2000;  // of one manager
constexpr Millis kAskLimit = 5s;
constexpr Millis kKept = 2s;         // a list: many readers cost what one costs
constexpr Millis kOtherReader = 1s;  // to wait for what another reader is asking
constexpr Millis kAway = 30s;        // so long nobody waits for who has not answered

constexpr std::array kVerbs{ServiceVerb::kStart,  ServiceVerb::kStop,   ServiceVerb::kRestart,
                            ServiceVerb::kReload, ServiceVerb::kScale,  ServiceVerb::kRollout,
                            ServiceVerb::kUndo,   ServiceVerb::kEnable, ServiceVerb::kDisable,
                            ServiceVerb::kReset};

/// The configured service of that name.
bool is_watched(const Rooms& rooms, const std::string& name) {
  const auto configuration = rooms.config();
  return std::ranges::find(configuration->services, name, &config::ServiceConfig::name) !=
         configuration->services.end();
}

json_ns::object watched(const Rooms& rooms, const config::ServiceConfig& service) {
  json_ns::object out = {
      {"name", service.name}, {"kind", service.kind}, {"state", "unknown"}, {"watched", true}};
  for (const auto& event : rooms.services.states()) {
    if (event.service != service.name) continue;
    out["state"] = event.state;
    out["detail"] = event.detail;
    out["main_pid"] = event.pid;
    out["since"] = time(event.time);
  }
  return out;
}

json_ns::object shape(const ServiceState& state) {
  json_ns::object out = {{"name", state.name},
                         {"kind", state.kind},
                         {"state", state.state},
                         {"condition", execute::to_string(state.condition)}};
  if (!state.description.empty()) out["description"] = state.description;
  if (!state.instance.empty()) out["instance"] = state.instance;
  if (state.main_pid != 0) out["main_pid"] = state.main_pid;
  if (state.restarts) out["restarts"] = *state.restarts;
  if (state.since) out["since"] = time(state.since);
  if (state.replicas) out["replicas"] = *state.replicas;
  if (state.ready) out["ready"] = *state.ready;
  if (state.updated) out["updated"] = *state.updated;
  if (!state.rollout.empty()) out["rollout"] = state.rollout;
  for (const auto& [key, value] : state.more) out[key] = value;
  return out;
}

/// What the managers say. Readers wait here for systemd, engines and clusters, and there are few
/// readers: a list is kept for a moment and asked for by one of them at a time, and who has not
/// answered is not asked again for a while.
class Managers {
 public:
  Result<std::vector<ServiceState>> list(std::string_view kind, const Rooms& rooms) {
    auto& clock = rooms.clock;
    {
      std::unique_lock lock(mutex_);
      auto& known = kinds_.try_emplace(std::string(kind)).first->second;
      if (known.asking)
        clock.wait_until(lock, answered_, clock.steady() + kOtherReader,
                         [&] { return !known.asking; });
      const auto now = clock.steady();
      if (now < known.away_until) return std::unexpected(*known.away);
      if (known.list && now < known.until) return *known.list;
      if (known.asking)
        return fail(Errc::kUnavailable, "{} is being asked, and has not answered so far", kind);
      known.asking = true;
    }
    auto context = rooms.executor.step_context();
    auto list =
        execute::service_manager(kind)->list(context, kMostListed, clock.steady() + kAskLimit);
    const std::lock_guard guard(mutex_);
    auto& known = kinds_.find(kind)->second;
    known.asking = false;
    known.list = list;
    known.until = clock.steady() + kKept;
    note(known, list, clock);
    answered_.notify_all();
    return list;
  }

  Result<ServiceState> status(const config::ServiceName& name, execute::Look look,
                              const Rooms& rooms) {
    auto& clock = rooms.clock;
    auto& manager = *execute::service_manager(name.kind);
    // What cannot be a name of it is no question of whether it answers.
    const auto named = manager.check(ServiceVerb::kRestart, name.name, *rooms.config());
    if (!named && named.error().code() == Errc::kInvalidArgument)
      return std::unexpected(named.error());
    {
      const std::lock_guard guard(mutex_);
      const auto known = kinds_.find(name.kind);
      if (known != kinds_.end() && clock.steady() < known->second.away_until)
        return std::unexpected(*known->second.away);
    }
    auto context = rooms.executor.step_context();
    auto found = manager.status(name.name, look, context, clock.steady() + kAskLimit);
    const std::lock_guard guard(mutex_);
    note(kinds_.try_emplace(name.kind).first->second, found, clock);
    return found;
  }

 private:
  struct Kind {
    bool asking = false;
    SteadyTime until{};
    std::optional<Result<std::vector<ServiceState>>> list;
    SteadyTime away_until{};
    std::optional<Error> away;
  };

  template <typename T>
  static void note(Kind& kind, const Result<T>& answer, Clock& clock) {
    if (answer || !is_away(answer.error())) return;
    kind.away = answer.error();
    kind.away_until = clock.steady() + kAway;
  }

  std::mutex mutex_;
  std::condition_variable answered_;
  std::map<std::string, Kind, std::less<>> kinds_;  // guarded by mutex_; one a kind
};

/// Without `kind` processes are left out: there are many, and nobody's.
bool is_asked_for(std::string_view kind, const std::string& wanted) {
  return wanted.empty() ? kind != "process" : kind == wanted;
}

Response list(const Rooms& rooms, Managers& managers, const Request& request) {
  const std::string kind(request.param("kind").value_or(""));
  const auto& kinds = config::kServiceKinds;
  if (!kind.empty() && std::ranges::find(kinds, kind) == kinds.end())
    return error(400, "invalid_argument",
                 "kind: expected systemd, docker, kubernetes or process, got \"" + kind + "\"");
  json_ns::array out;
  std::map<std::string, std::size_t, std::less<>> told;  // where it stands in `out`
  for (const auto& service : rooms.config()->services) {
    if (!is_asked_for(service.kind, kind)) continue;
    told.emplace(service.name, out.size());
    out.push_back(watched(rooms, service));
  }
  json_ns::array unavailable;
  for (const auto* descriptor : execute::service_managers()) {
    if (!is_asked_for(descriptor->kind, kind)) continue;
    const auto found = managers.list(descriptor->kind, rooms);
    if (!found) {
      // Where it is not, there is nothing to say, unless it was asked for.
      if (found.error().code() != Errc::kNotFound || !kind.empty())
        unavailable.push_back({{"kind", descriptor->kind}, {"message", found.error().message()}});
      continue;
    }
    for (const auto& state : *found) {
      auto one = shape(state);
      if (const auto place = told.find(state.name); place != told.end()) {
        // What was seen of it stands, and what only its manager knows comes to it.
        auto& seen = out[place->second].as_object();
        for (const auto& [key, value] : one) seen.emplace(key, value);
        continue;
      }
      one["watched"] = false;
      out.push_back(std::move(one));
    }
  }
  return to_response({{"services", std::move(out)}, {"unavailable", std::move(unavailable)}});
}

Response status(const Rooms& rooms, Managers& managers, const Request& request) {
  // "web" is web.service, as it is for actions.
  const auto target = plan::canonical_target("restart_service", request.captures.at(0));
  const auto name = config::parse_service_name(target);
  auto* manager = execute::service_manager(name.kind);
  if (manager == nullptr)
    return error(501, "unsupported", "this agent has no manager for \"" + name.kind + ":\"");
  const bool known = is_watched(rooms, target);
  // Whoever may only read does not make systemd load units.
  const auto look = known || request.caller.role >= config::Role::kOperator
                        ? execute::Look::kAny
                        : execute::Look::kAtHand;
  const auto found = managers.status(name, look, rooms);
  if (!found && look == execute::Look::kAtHand && found.error().code() == Errc::kNotFound)
    return error(404, "not_found",
                 found.error().message() + " (what is not loaded is loaded for operators only)");
  if (!found) return error(found.error());
  auto out = shape(*found);
  out["watched"] = known;
  json_ns::array can;
  for (const auto verb : kVerbs) {
    if (manager->step(verb) != nullptr && manager->check(verb, name.name, *rooms.config()))
      can.emplace_back(execute::to_string(verb));
  }
  out["can"] = std::move(can);
  return to_response(out);
}

/// What all that is asked for a service may say, besides its parameters.
Result<plan::ActionRequest> request_for(const Request& request, std::string_view type,
                                        const json_ns::object& object) {
  auto dry_run = bool_member(object, "dry_run", false);
  auto priority = integer_member(object, "priority", 50, 0, 100);
  auto reason = string_member(object, "reason");
  auto key = string_member(object, "idempotency_key");
  if (!dry_run) return propagate(std::move(dry_run));
  if (!priority) return propagate(std::move(priority));
  if (!reason) return propagate(std::move(reason));
  if (!key) return propagate(std::move(key));
  return plan::ActionRequest{.type = std::string(type),
                             .target = plan::canonical_target(type, request.captures.at(0)),
                             .parameters = {},
                             .priority = static_cast<int>(*priority),
                             .dry_run = *dry_run,
                             .idempotency_key = *std::move(key),
                             .requested_by = request.caller.who,
                             .reason = *std::move(reason)};
}

/// Adds the string members that are there as parameters of the action.
Status take_texts(const json_ns::object& object, std::initializer_list<std::string_view> names,
                  plan::ActionRequest& wanted) {
  for (const auto name : names) {
    auto text = string_member(object, name);
    if (!text) return propagate(std::move(text));
    if (!text->empty()) wanted.parameters.insert_or_assign(std::string(name), *std::move(text));
  }
  return {};
}

Response restart(const Rooms& rooms, const Request& request) {
  const auto object = parse_object(
      request, {"dry_run", "priority", "reason", "idempotency_key", "timeout", "only_if_running"});
  if (!object) return error(object.error());
  auto wanted = request_for(request, "restart_service", *object);
  if (!wanted) return error(wanted.error());
  const auto only = bool_member(*object, "only_if_running", false);
  if (!only) return error(only.error());
  if (*only) wanted->parameters.insert_or_assign("only_if_running", true);
  if (auto ok = take_texts(*object, {"timeout"}, *wanted); !ok) return error(ok.error());
  return submit(rooms, request, "services.restart", *wanted);
}

Response scale(const Rooms& rooms, const Request& request) {
  const auto object =
      parse_object(request, {"dry_run", "priority", "reason", "idempotency_key", "replicas"});
  if (!object) return error(object.error());
  auto wanted = request_for(request, "scale_service", *object);
  if (!wanted) return error(wanted.error());
  const auto replicas = integer_member(*object, "replicas", -1, 0, 100'000);
  if (!replicas) return error(replicas.error());
  if (*replicas < 0)
    return error(400, "invalid_argument", "replicas: expected how many are wanted");
  wanted->parameters.insert_or_assign("replicas", *replicas);
  return submit(rooms, request, "services.scale", *wanted);
}

Response rollout(const Rooms& rooms, const Request& request) {
  const auto object = parse_object(request, {"dry_run", "priority", "reason", "idempotency_key",
                                             "image", "container", "wait", "undo", "revision"});
  if (!object) return error(object.error());
  const auto undo = bool_member(*object, "undo", false);
  if (!undo) return error(undo.error());
  auto wanted = request_for(request, *undo ? "rollback_deployment" : "rolling_update", *object);
  if (!wanted) return error(wanted.error());
  if (*undo) {
    for (const auto* name : {"image", "container", "wait"}) {
      if (object->contains(name))
        return error(400, "invalid_argument", std::string(name) + ": does not go with undo");
    }
    const auto revision = integer_member(*object, "revision", 0, 0, INT32_MAX);
    if (!revision) return error(revision.error());
    if (*revision > 0) wanted->parameters.insert_or_assign("revision", *revision);
  } else if (object->contains("revision")) {
    return error(400, "invalid_argument", "revision: goes with undo only");
  }
  if (auto ok = take_texts(*object, {"image", "container", "wait"}, *wanted); !ok)
    return error(ok.error());
  return submit(rooms, request, "services.rollout", *wanted);
}

}  // namespace

void add_services(std::vector<Route>& routes, const SharedRooms& rooms) {
  using config::Role;
  const auto managers = std::make_shared<Managers>();
  routes.push_back({Method::kGet, "/operations/services", Role::kViewer, Runs::kBlocking,
                    [rooms, managers](const Request& r) { return list(*rooms, *managers, r); },
                    "Services, whatever runs them; watched ones first"});
  routes.push_back({Method::kGet, "/operations/services/{name+}/status", Role::kViewer,
                    Runs::kBlocking,
                    [rooms, managers](const Request& r) { return status(*rooms, *managers, r); },
                    "State of a service"});
  routes.push_back({Method::kPost, "/operations/services/{name+}/restart", Role::kOperator,
                    Runs::kBlocking, [rooms](const Request& r) { return restart(*rooms, r); },
                    "Restart a service"});
  routes.push_back({Method::kPost, "/operations/services/{name+}/scale", Role::kOperator,
                    Runs::kBlocking, [rooms](const Request& r) { return scale(*rooms, r); },
                    "Have as many instances of a service as are wanted"});
  routes.push_back({Method::kPost, "/operations/services/{name+}/rollout", Role::kOperator,
                    Runs::kBlocking, [rooms](const Request& r) { return rollout(*rooms, r); },
                    "Roll a service out anew, or back"});
}

}  // namespace nexus::serve
