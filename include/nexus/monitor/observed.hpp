// Observed: what collectors saw of processes, connections and containers' names as a whole, beyond
// the samples: one immutable snapshot each, for rooms that explain (who listens, who talks to whom,
// what runs in which unit or container) and for collectors that would ask for the same again.
//
// Invariants: (1) a snapshot never changes after it was published; (2) every list is bounded by the
// collector that makes it, and says how much it left out; (3) null until the first run of that
// collector. Units: bytes, seconds, ratios of one processor. Thread safety: Observed: any thread;
// the values: plain.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nexus/base/clock.hpp"

namespace nexus::monitor {

/// What runs in a control group, told from its path alone (systemd, Docker, Podman, containerd,
/// CRI-O, the kubelet). All empty for the root.
struct Workload {
  std::string cgroup;     // the path below the mount: "/system.slice/web.service"
  std::string unit;       // of the system's systemd: web.service, docker-ID.scope, user@0.service
  std::string user_unit;  // of a user's systemd below it
  std::string slice;      // the innermost one
  std::string container;  // id (64 hexadecimal digits) or name
  std::string runtime;    // docker, podman, containerd, crio, lxc, nspawn, or empty when not told
  std::string pod_uid;    // of Kubernetes
  std::string qos;        // guaranteed, burstable, besteffort; of Kubernetes
  bool operator==(const Workload&) const = default;
};

struct ObservedProcess {
  std::int32_t pid = 0;
  std::int32_t parent = 0;
  char state = '?';  // as in proc(5)
  bool kernel = false;
  std::uint32_t uid = 0;
  std::uint32_t threads = 0;
  std::uint32_t open_files = 0;
  std::array<char, 16> comm{};  // ends with a NUL
  double started = 0;           // seconds since the epoch
  double cpu = 0;               // processors used since it was last looked at
  std::uint64_t resident = 0;
  std::uint64_t swapped = 0;
  double io = 0;  // bytes read and written a second
  std::shared_ptr<const Workload> workload;

  [[nodiscard]] std::string_view name() const noexcept { return comm.data(); }
};

struct ProcessTable {
  WallTime time{};
  std::vector<ObservedProcess> processes;  // by pid
  std::uint64_t left_out = 0;

  /// Null when there is none of that pid.
  [[nodiscard]] const ObservedProcess* find(std::int32_t pid) const noexcept;
};

/// Who holds a socket. pid 0: unknown (another user's, or it went away).
struct SocketOwner {
  std::int32_t pid = 0;
  std::string name;
  std::string unit;
  std::string container;
  bool operator==(const SocketOwner&) const = default;
};

struct Listener {
  std::string address;  // "0.0.0.0", "::1"
  std::uint16_t port = 0;
  std::uint32_t queue = 0;    // connections that wait to be accepted
  std::uint32_t backlog = 0;  // how many may wait
  SocketOwner owner;
};

/// Established connections between one process and one peer over one service port.
struct Conversation {
  enum class Direction { kInbound, kOutbound };  // who began, told from who listens
  Direction direction = Direction::kOutbound;
  SocketOwner local;
  SocketOwner remote;      // when the peer is a process of this host
  std::string peer;        // its address
  std::uint16_t port = 0;  // of the service: the local one inbound, the remote one outbound
  std::uint32_t connections = 0;
  std::uint64_t retransmits = 0;  // of these connections, since they began
  double round_trip = 0;          // seconds, mean over the connections
};

struct ConnectionMap {
  WallTime time{};
  std::vector<Listener> listeners;
  std::vector<Conversation> conversations;  // the largest first
  std::uint64_t left_out = 0;               // conversations and listeners beyond the limit
};

/// What only an engine or the Kubernetes API knows of a container or pod.
struct ContainerName {
  std::string name;  // the engine's; empty where only Kubernetes names it
  std::string image;
  std::string name_space;  // of Kubernetes, as the next two
  std::string pod;
  std::string container;  // within the pod; empty: the pod as a whole
};
using ContainerNames = std::unordered_map<std::string, ContainerName>;  // by id; pods by their uid
enum class NameSource : std::size_t { kEngine, kKubernetes };

class Observed {
 public:
  [[nodiscard]] std::shared_ptr<const ProcessTable> processes() const {
    const std::lock_guard guard(mutex_);
    return processes_;
  }
  [[nodiscard]] std::shared_ptr<const ConnectionMap> connections() const {
    const std::lock_guard guard(mutex_);
    return connections_;
  }
  [[nodiscard]] std::shared_ptr<const ContainerNames> container_names(NameSource source) const {
    const std::lock_guard guard(mutex_);
    return names_[static_cast<std::size_t>(source)];
  }
  void publish(NameSource source, std::shared_ptr<const ContainerNames> names) {
    const std::lock_guard guard(mutex_);
    names_[static_cast<std::size_t>(source)].swap(names);
  }
  void publish(std::shared_ptr<const ProcessTable> table) {
    const std::lock_guard guard(mutex_);
    processes_.swap(table);  // the old one is freed outside the lock
  }
  void publish(std::shared_ptr<const ConnectionMap> map) {
    const std::lock_guard guard(mutex_);
    connections_.swap(map);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const ProcessTable> processes_;
  std::shared_ptr<const ConnectionMap> connections_;
  std::array<std::shared_ptr<const ContainerNames>, 2> names_;  // by source
};

}  // namespace nexus::monitor
