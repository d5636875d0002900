// What a control group is, told from its path: a systemd unit, a container, a pod.
//
// Knows the paths of systemd, of Docker, Podman, containerd and CRI-O under both cgroup drivers
// (cgroupfs, systemd), of the kubelet (kubepods...), of LXC and systemd-nspawn. A path that fits
// none of them gives the innermost slice at most. Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "nexus/monitor/observed.hpp"

namespace nexus::monitor {

/// `path`: below the mount of the hierarchy, as in /proc/PID/cgroup. Invalid UTF-8 is replaced.
[[nodiscard]] Workload workload_of(std::string_view path);

/// The path that says most about a process, of the text of its /proc/PID/cgroup: the unified one,
/// else systemd's, else the memory, cpu and pids controllers'. "/" when it is in the root of all.
[[nodiscard]] std::string_view best_cgroup(std::string_view text);

}  // namespace nexus::monitor
