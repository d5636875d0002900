// Containers as actions see them: which ones a target means, what they are now, and which are never
// touched: the one that the agent runs in, the one that the engine runs in, those of pods (the
// kubelet's) and of Swarm, those labelled nexus-agent.protected=true, and [guardrails]
// protected_units. Thread safety: functions without state.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nexus/config/values.hpp"
#include "nexus/drivers/docker_control.hpp"
#include "nexus/execute/service_manager.hpp"

namespace nexus::execute {

inline constexpr std::string_view kComposeProject = "com.docker.compose.project";
inline constexpr std::string_view kComposeService = "com.docker.compose.service";
inline constexpr std::string_view kComposeNumber = "com.docker.compose.container-number";
/// What the name of a container ends with while, and only while, another is to take its place.
inline constexpr std::string_view kOldSuffix = ".nexus-old";
/// On a container that took another's place: the image that it had, and by which action.
inline constexpr std::string_view kPreviousImage = "nexus-agent.previous-image";
inline constexpr std::string_view kMadeBy = "nexus-agent.action";
/// On a further container of a service of Compose: the action that made it.
inline constexpr std::string_view kScaledBy = "nexus-agent.scaled-by";

/// Also between two of its restarts, and held: its successor is to run.
[[nodiscard]] inline bool is_meant_to_run(std::string_view state) {
  return state == "running" || state == "restarting" || state == "paused";
}

struct Container {
  std::string id;
  std::string name;
  std::string image;  // as it was made
  std::string image_id;
  std::string state;    // running, exited, ...
  std::string health;   // starting, healthy, unhealthy; empty: no check
  std::string created;  // as the engine writes times
  std::string started;
  std::string finished;
  std::int64_t exit_code = 0;
  std::uint64_t restarts = 0;
  std::uint32_t pid = 0;
  config::StringMap labels;
  std::string inspected;  // all that the engine says of it, JSON; may hold secrets

  [[nodiscard]] bool runs() const { return state == "running"; }
  [[nodiscard]] bool is_meant_to_run() const { return execute::is_meant_to_run(state); }
  [[nodiscard]] std::string label(std::string_view key) const;
  [[nodiscard]] std::int64_t number() const;  // of Compose; 0: none
};

/// kNotFound: [docker] is switched off, or no engine runs here.
[[nodiscard]] Result<drivers::DockerControl> engine_of(const config::Config& config, Clock& clock);
/// Whether a name is Compose's PROJECT/SERVICE.
[[nodiscard]] bool is_compose(std::string_view name);
/// kInvalidArgument: neither a container's name nor PROJECT/SERVICE.
[[nodiscard]] Status check_container_name(std::string_view name);
[[nodiscard]] Result<Container> look_at(std::string_view id, const drivers::DockerControl& engine,
                                        const drivers::EngineCall& call);
/// One container, or all of a service of Compose, by number, without those that are being replaced.
/// kNotFound: none.
[[nodiscard]] Result<std::vector<Container>> containers_of(const std::string& name,
                                                           const drivers::DockerControl& engine,
                                                           const drivers::EngineCall& call);
/// How the container's image is to be called: by the name it was made with, while that is the same
/// image's; otherwise by its id, as a name means another one by now.
[[nodiscard]] std::string image_of(const Container& container, const drivers::DockerControl& engine,
                                   const drivers::EngineCall& call);
/// A name of the image with this id, one of the same repository as `like` first; without a name the
/// id.
[[nodiscard]] std::string image_name(const std::string& id, std::string_view like,
                                     const drivers::DockerControl& engine,
                                     const drivers::EngineCall& call);
/// Why a container must not be touched.
[[nodiscard]] std::optional<std::string> container_protected(const Container& container,
                                                             const std::string& socket,
                                                             const config::Config& config);
/// kConflict: others live in the network, process or IPC namespace of one of these, and would be
/// left in a dead one if it were replaced or removed.
[[nodiscard]] Status check_not_shared(const std::vector<Container>& containers,
                                      const drivers::DockerControl& engine,
                                      const drivers::EngineCall& call);
[[nodiscard]] ServiceState state_of(const Container& container);
/// Evidence, JSON; nothing of the environment.
[[nodiscard]] std::string container_evidence(const std::vector<Container>& containers);
/// What evidence says of one; what it does not say is empty.
struct ContainerBefore {
  std::string id;
  std::string name;
  std::string image_id;
  std::string state;
  std::string started;
};
/// Empty: the evidence says nothing of containers.
[[nodiscard]] std::vector<ContainerBefore> containers_before(std::string_view evidence);

/// The container that a process runs in; empty: none, or it is gone.
[[nodiscard]] std::string container_of_pid(const std::string& pid);
/// The same, from its control groups and mounts.
[[nodiscard]] std::string container_of_process(std::string_view control_groups,
                                               std::string_view mounts);

}  // namespace nexus::execute
