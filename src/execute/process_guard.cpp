#include "execute/process_guard.hpp"

#include <fmt/format.h>
#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include <boost/json.hpp>

#include "execute/cleanup_plan.hpp"
#include "execute/container.hpp"
#include "execute/parameter_values.hpp"
#include "nexus/config/config.hpp"
#include "nexus/plan/planner.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<const char*, 8> kNames{"init",         "systemd*", "sshd*",  "dbus-daemon",
                                            "dbus-broker*", "login",    "agetty", "(sd-pam)"};
constexpr int kMostAncestors = 64;
constexpr Millis kAskLimit{5000};

/// Where nobody but the administrator puts programs: any program can take any name.
constexpr std::array<std::string_view, 6> kSystemDirectories{"/usr/", "/bin/", "/sbin/",
                                                             "/lib/", "/nix/", "/opt/"};

/// Named like what the host hangs on, and its program may be that.
bool is_system_program(const host::ProcessFacts& process) {
  const bool named = std::ranges::any_of(
      kNames, [&](const char* p) { return fnmatch(p, process.name.c_str(), 0) == 0; });
  return named && (process.program.empty() ||
                   std::ranges::any_of(kSystemDirectories, [&](std::string_view directory) {
                     return process.program.starts_with(directory);
                   }));
}

/// Of a person who is logged in, or was: editors, shells and multiplexers are no services.
bool is_session(std::string_view unit) {
  return unit.starts_with("session-") && unit.ends_with(".scope");
}

bool is_ancestor_of_agent(pid_t pid) {
  pid_t current = ::getpid();
  for (int i = 0; i < kMostAncestors && current > 1; ++i) {
    if (current == pid) return true;
    const auto facts = host::process_facts({.pid = current});
    if (!facts) return false;
    current = facts->parent;
  }
  return false;
}

}  // namespace

std::optional<std::string> process_protected(const host::ProcessFacts& process,
                                             const config::Config& config) {
  const auto name = fmt::format("process {} ({})", process.id.pid, process.name);
  if (process.id.pid <= 1) return name + " is protected: it is the init process";
  if (process.is_kernel_thread) return name + " is protected: it is a thread of the kernel";
  if (is_ancestor_of_agent(process.id.pid))
    return name + " is protected: it is this agent, or what runs it";
  if (is_system_program(process))
    return name + " is protected: the host or its administrators depend on it";
  if (process.has_terminal && process.session == process.id.pid)
    return name + " is protected: somebody is logged in with it";
  // A unit within a unit (a container's, a session's, a manager's) is the outer one's too.
  for (const auto& unit : process.units) {
    if (is_session(unit))
      return fmt::format("{} is protected: it belongs to the session of somebody, {}", name, unit);
    if (unit.starts_with("kubepods"))
      return fmt::format("{} is protected: it belongs to a pod, which is the kubelet's", name);
    if (!unit.ends_with(".service") && !unit.ends_with(".socket")) continue;
    if (auto why = plan::protected_reason("stop_service", unit, config.guardrails.protected_units))
      return fmt::format("{} is protected: it belongs to {}: {}", name, unit, *why);
  }
  return std::nullopt;
}

std::optional<std::string> protected_by_container(const host::ProcessFacts& process,
                                                  const StepContext& context) {
  const auto id = container_of_pid(std::to_string(process.id.pid));
  if (id.empty() || id == container_of_pid("self")) return std::nullopt;
  const auto name = fmt::format("process {} ({})", process.id.pid, process.name);
  const auto engine = engine_of(*context.config, context.clock);
  const auto one = engine ? look_at(id, *engine, {.deadline = context.clock.steady() + kAskLimit})
                          : Result<Container>(std::unexpected(engine.error()));
  if (!one)
    return fmt::format(
        "{} is protected: it runs in container {}, and whether that may be touched cannot be told: "
        "{}",
        name, id.substr(0, 12), one.error().message());
  if (auto why = container_protected(*one, engine->engine().socket(), *context.config))
    return fmt::format("{} is protected: it runs in a container: {}", name, *why);
  return std::nullopt;
}

Result<host::ProcessId> process_of(const plan::Action& action) {
  constexpr std::string_view kPrefix = "process:";
  std::string_view text = action.target;
  if (text.starts_with(kPrefix)) text.remove_prefix(kPrefix.size());
  auto id = host::parse_process(text);
  if (!id) return propagate(std::move(id), "target");
  return id;
}

Result<host::ProcessFacts> target_process(const plan::Action& action,
                                          const config::Config& config) {
  auto id = process_of(action);
  if (!id) return propagate(std::move(id));
  auto facts = host::process_facts(*id);
  if (!facts) return facts;
  if (id->start == 0) {
    return fail(Errc::kInvalidArgument,
                "target: a pid alone may be another process's by then; process {} ({}) is {} now",
                id->pid, facts->name, host::to_string(facts->id));
  }
  const auto name = text_parameter(action.parameters, "name");
  if (!name.empty() && name != facts->name)
    return fail(Errc::kConflict, "process {} is called {}, not {}", host::to_string(*id),
                facts->name, name);
  if (auto why = process_protected(*facts, config))
    return fail(Errc::kPermissionDenied, "{}", *why);
  return facts;
}

Result<host::ProcessFacts> touchable_process(const plan::Action& action,
                                             const StepContext& context) {
  auto facts = target_process(action, *context.config);
  if (!facts) return facts;
  if (auto why = protected_by_container(*facts, context))
    return fail(Errc::kPermissionDenied, "{}", *why);
  return facts;
}

std::string show(const host::ProcessFacts& process) {
  return fmt::format("process {} ({}){}, {}: {}", host::to_string(process.id), process.name,
                     process.unit.empty() ? "" : " of " + process.unit,
                     show_bytes(process.resident), host::process_command(process.id));
}

std::string process_evidence(const plan::Action& action) {
  namespace json = boost::json;
  auto id = process_of(action);
  auto facts =
      id ? host::process_facts(*id) : Result<host::ProcessFacts>(std::unexpected(id.error()));
  if (!facts) return json::serialize(json::object{{"error", facts.error().message()}});
  return json::serialize(json::object{{"process", host::to_string(facts->id)},
                                      {"name", facts->name},
                                      {"command", host::process_command(facts->id)},
                                      {"unit", facts->unit},
                                      {"state", std::string(1, facts->state)},
                                      {"parent", facts->parent},
                                      {"nice", facts->nice},
                                      {"resident_bytes", facts->resident}});
}

std::string process_account(const plan::Action& action) {
  auto id = process_of(action);
  if (!id) return {};
  auto facts = host::process_facts(*id);
  if (!facts) return {};
  return facts->unit.ends_with(".service") ? facts->unit : "process " + facts->name;
}

Status check_process_remedy(const config::RemedyConfig& remedy, const config::Config&) {
  if (remedy.target.empty() || is_template(remedy.target)) return {};
  return fail(Errc::kInvalidArgument,
              "target: a process does not outlive its configuration; expected labels, as in "
              "\"${{pid}}:${{start}}\", or none for the finding's subject");
}

}  // namespace nexus::execute
