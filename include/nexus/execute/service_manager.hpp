// ServiceManager: one face for whatever runs services: systemd, a container engine, Kubernetes, or
// nobody (a process). One file in src/execute/services, one descriptor, one class; one line in
// src/execute/service_table.cpp.
//
// A manager lists its services, tells the state of one, and has a Step (step.hpp) for every verb
// that it can do. The actions restart_service, scale_service, rolling_update, ... choose the
// manager by the kind of their target (nexus/config/service_name.hpp) and hand everything on to
// that step: dry run, evidence, the doing, verification, recovery after a crash, undo. A verb
// without a step is refused with why_not() before anything happens.
//
// What a step of a manager owes besides step.hpp: it looks at its target anew just before it acts
// and refuses one that is not what was decided on (`instance` of the evidence, when the action is a
// remedy's), or that is protected; it copies nothing of a secret into evidence.
//
// Thread safety: any thread; managers keep no state but caches of their own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/service_name.hpp"
#include "nexus/execute/step.hpp"

namespace nexus::execute {

enum class ServiceVerb {
  kStart,
  kStop,
  kRestart,
  kReload,
  kScale,    // to the parameter `replicas`
  kRollout,  // each instance by a new one, a few at a time; parameter `image`: of another version
  kUndo,     // to the version before the last rollout
  kEnable,   // it comes up with its manager
  kDisable,
  kReset,  // forgets that it failed
};
[[nodiscard]] std::string_view to_string(ServiceVerb verb) noexcept;  // "start", "roll out", ...

/// The same words for all managers; kUnknown: the manager cannot say.
enum class ServiceCondition { kUp, kDown, kFailed, kChanging, kUnknown };
[[nodiscard]] std::string_view to_string(
    ServiceCondition condition) noexcept;  // up down failed ...

struct ServiceState {
  std::string name;  // as targets have it: "web.service", "docker:web"
  std::string kind;
  std::string state;  // the manager's own word: active, running, exited, ...
  ServiceCondition condition = ServiceCondition::kUnknown;
  std::string description;  // for people; an image, a title
  /// Tells this run, this thing from any other of the same name: the invocation of a unit, the id
  /// of a container, uid and generation of an object.
  std::string instance;
  std::uint32_t main_pid = 0;  // 0: none, or not of this host
  std::optional<std::uint64_t> restarts;
  std::optional<WallTime> since;
  // Of what can be scaled: how many are wanted, are ready, and are of the newest version.
  std::optional<std::uint32_t> replicas;
  std::optional<std::uint32_t> ready;
  std::optional<std::uint32_t> updated;
  std::string rollout;  // complete, under_way, failed; empty: it knows no rollouts
  /// What only this manager knows: load_state, sub_state, result, health, image, ...
  std::map<std::string, std::string, std::less<>> more;
};

/// What a question may cost. kAtHand: what the manager has loaded already; nothing is made or
/// loaded for it, so that anybody may ask. kAny: whatever it takes.
enum class Look { kAtHand, kAny };

class ServiceManager {
 public:
  virtual ~ServiceManager() = default;

  /// What can be told of a name without asking anybody: whether it can be one (kInvalidArgument),
  /// whether it is protected against the verb (kPermissionDenied). Of a remedy's target "${label}"
  /// is not asked.
  [[nodiscard]] virtual Status check(ServiceVerb verb, const std::string& name,
                                     const config::Config& config) const = 0;
  /// At most `limit`, by name. kNotFound: there is no such manager on this host.
  [[nodiscard]] virtual Result<std::vector<ServiceState>> list(StepContext& context,
                                                               std::size_t limit,
                                                               SteadyTime deadline) = 0;
  /// kNotFound: it has no such service, or (kAtHand) none that it has loaded.
  [[nodiscard]] virtual Result<ServiceState> status(const std::string& name, Look look,
                                                    StepContext& context, SteadyTime deadline) = 0;
  /// Null: it cannot. The same object each time; it belongs to the manager.
  [[nodiscard]] virtual Step* step(ServiceVerb verb) = 0;
  /// One sentence about a verb that has no step: "systemd keeps no earlier version".
  [[nodiscard]] virtual std::string why_not(ServiceVerb verb) const = 0;
};

struct ServiceManagerDescriptor {
  std::string_view kind;         // "docker": what its targets begin with
  std::string_view help;         // one line
  std::string_view target_help;  // "docker:NAME, a container, or docker:PROJECT/SERVICE"
  std::unique_ptr<ServiceManager> (*make)();
};

/// All managers, in the order in which they are listed. One line each in service_table.cpp.
[[nodiscard]] std::span<const ServiceManagerDescriptor* const> service_managers();
/// The manager of a kind; made once, at the first call. Null: there is no such kind.
[[nodiscard]] ServiceManager* service_manager(std::string_view kind);

}  // namespace nexus::execute
