// Docker: a client of a container engine's API over its unix socket: Docker, and Podman's service
// that speaks the same. Each request is one connection; paths carry no version, so that the engine
// answers as its own. What happens in it: docker_events.hpp.
//
// Errors name the socket: kUnavailable (no engine), kTimeout, kNotFound, kConflict (in use, a name
// that is taken), kPermissionDenied, kExhausted (a limit, too large an answer), kCorrupt (no JSON
// of the expected form), kInternal (the engine's own failure), with the engine's message. Fields
// that an engine leaves out are empty. Thread safety: any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"

namespace nexus::config {
struct DockerSection;
}

namespace nexus::drivers {

/// The socket of the engine that is meant: the configured one, else Docker's own below `rootfs`.
/// kNotFound: [docker] is switched off, or no dockerd runs: a socket without a daemon belongs to
/// systemd, and asking there would start the engine.
[[nodiscard]] Result<std::string> engine_socket(const config::DockerSection& section,
                                                const std::string& rootfs);

struct DockerEngine {
  std::string name;  // of the host
  std::string version;
  std::string api_version;
  std::string operating_system;
  std::string kernel;
  std::string storage_driver;
  std::string cgroup_version;
  std::uint32_t cpus = 0;
  std::uint64_t memory = 0;  // bytes
  std::uint32_t running = 0;
  std::uint32_t paused = 0;
  std::uint32_t stopped = 0;
  std::uint32_t images = 0;
};

struct DockerContainer {
  std::string id;  // 64 hexadecimal digits
  std::string name;
  std::string image;
  std::string image_id;
  std::string state;   // created, running, paused, restarting, removing, exited, dead
  std::string status;  // for people: "Up 3 hours (healthy)"
  std::map<std::string, std::string, std::less<>> labels;
  double created = 0;  // seconds since the epoch
};

struct DockerDetails {
  std::string state;
  std::string health;  // starting, healthy, unhealthy; empty: no health check
  std::uint32_t failing_streak = 0;
  std::uint64_t restarts = 0;  // by the engine, since the container was made
  std::int64_t exit_code = 0;
  bool oom_killed = false;
  std::int32_t pid = 0;
  std::optional<double> started;  // seconds since the epoch
  std::optional<double> finished;
  std::string restart_policy;
  std::string error;        // why it could not be started, the last time; empty once it was
  std::string stop_signal;  // "SIGTERM", "37"; empty: SIGTERM
};

struct DockerImages {
  std::size_t count = 0;
  std::size_t unused_tags = 0;  // without a name: "dangling"
  double bytes = 0;             // sum of the sizes; shared layers count more than once
};

struct DockerAnswer {
  unsigned status = 0;
  std::string body;  // JSON, mostly
};

class Docker {
 public:
  Docker(Clock& clock, std::string socket) : clock_(clock), socket_(std::move(socket)) {}

  /// Any request: `path` with its query, a JSON text as body or nothing. A status of 400 or more is
  /// an Error with the engine's message. `ended` is asked about once a second; true ends the wait
  /// with kCancelled, and the engine goes on with what it has begun.
  [[nodiscard]] Result<DockerAnswer> request(std::string_view method, std::string_view path,
                                             std::string_view json, SteadyTime deadline,
                                             std::optional<std::size_t> max_body = {},
                                             const std::function<bool()>& ended = {}) const;

  [[nodiscard]] Result<DockerEngine> engine(SteadyTime deadline) const;
  /// All containers, also stopped ones; at most `limit`, the newest. `filters` as of the engine's
  /// API, JSON.
  [[nodiscard]] Result<std::vector<DockerContainer>> containers(
      SteadyTime deadline, std::size_t limit, std::string_view filters = {}) const;
  [[nodiscard]] Result<DockerDetails> inspect(std::string_view id, SteadyTime deadline) const;
  [[nodiscard]] Result<DockerImages> images(SteadyTime deadline) const;

  [[nodiscard]] const std::string& socket() const noexcept { return socket_; }

 private:
  Clock& clock_;
  const std::string socket_;
};

}  // namespace nexus::drivers
