// DockerControl: what changes containers and images of an engine (docker.hpp), and how a container
// is made like another one.
//
// Compose has no API: a further container of a service, or one that takes another's place, is made
// from what the engine tells of an existing one (copy_container).
//   Copied: Config and HostConfig as a whole (command, environment, labels, health check, mounts,
//   limits, restart policy, log options, ...), networks with their aliases; of a replaced container
//   its anonymous volumes too. With another image, what came from the old image is left to the new.
//   Not copied: the host name that the engine made up, MAC addresses, what is inside the
//   container's own layer. A further container gets anonymous volumes of its own. Refused
//   (kUnsupported, says why): links; a further container where only one can be: a fixed port of the
//   host, a fixed address; to replace one that is removed as soon as it stops.
//
// Volumes are never removed. Errors as docker.hpp. Thread safety: any thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/drivers/docker.hpp"

namespace nexus::drivers {

struct CopyWish {
  std::string image;  // by name or id; empty: as the original was made
  /// What the engine says of the original's image (JSON); with it, what the original has of it is
  /// not copied.
  std::string old_image;
  std::map<std::string, std::string, std::less<>> labels;  // set, over the original's
  bool beside = false;  // a further container; false: one in its place, once it is stopped
};

struct ContainerCopy {
  std::string create;                                         // JSON for the engine
  std::vector<std::pair<std::string, std::string>> networks;  // further ones, and JSON for them
  std::vector<std::string> notes;                             // what to know, for people
};

/// `inspected`: what the engine says of the original (JSON).
[[nodiscard]] Result<ContainerCopy> copy_container(const std::string& inspected,
                                                   const CopyWish& wish);
/// Whether a second one can run while the first does: it holds no fixed port, no fixed address, not
/// the host's network, and writes to no volume.
[[nodiscard]] bool may_run_beside(const std::string& inspected);

/// What the engine limits; nothing: not told or not to be changed. Memory in bytes, 0: no limit.
struct ContainerLimits {
  std::optional<std::int64_t> memory;
  std::optional<std::int64_t> memory_swap;         // memory and swap; -1: no limit
  std::optional<std::int64_t> memory_reservation;  // "soft"
  std::optional<std::int64_t> cpu_shares;          // 1024 is what a container has
  std::optional<std::int64_t> nano_cpus;           // 10^9 is one processor
  std::optional<std::int64_t> pids;                // 0, -1: no limit
};

/// How long a request may take, and who ends it sooner: what the engine has begun goes on.
struct EngineCall {
  SteadyTime deadline{};
  std::function<bool()> ended = {};
};

class DockerControl {
 public:
  DockerControl(Clock& clock, std::string socket) : engine_(clock, std::move(socket)) {}

  [[nodiscard]] Status start(std::string_view id, const EngineCall& call) const;
  /// After `grace` it is killed; nothing: the container's own time.
  [[nodiscard]] Status stop(std::string_view id, std::optional<Millis> grace,
                            const EngineCall& call) const;
  [[nodiscard]] Status restart(std::string_view id, std::optional<Millis> grace,
                               const EngineCall& call) const;
  /// To its main process: "HUP", "KILL".
  [[nodiscard]] Status signal(std::string_view id, std::string_view name,
                              const EngineCall& call) const;
  [[nodiscard]] Status rename(std::string_view id, std::string_view name,
                              const EngineCall& call) const;
  /// Of a container that is stopped; `force`: of any.
  [[nodiscard]] Status remove(std::string_view id, bool force, const EngineCall& call) const;
  /// Its id.
  [[nodiscard]] Result<std::string> create(std::string_view name, const ContainerCopy& copy,
                                           const EngineCall& call) const;
  [[nodiscard]] Status update(std::string_view id, const ContainerLimits& limits,
                              const EngineCall& call) const;

  /// What the engine says of them, JSON.
  [[nodiscard]] Result<std::string> inspect(std::string_view id, const EngineCall& call) const;
  [[nodiscard]] Result<std::string> image(std::string_view id, const EngineCall& call) const;
  /// With all of these labels ("name=value"), also stopped ones; without a label all there are.
  [[nodiscard]] Result<std::vector<DockerContainer>> labelled(
      const std::vector<std::string>& labels, const EngineCall& call) const;

  [[nodiscard]] const Docker& engine() const noexcept { return engine_; }

 private:
  Docker engine_;
};

}  // namespace nexus::drivers
