#include "monitor/workload.hpp"

#include <algorithm>
#include <array>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kShortestId = 12;  // hexadecimal digits; Docker prints as many

bool is_hex(std::string_view text) {
  return text.size() >= kShortestId && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool is_uid(std::string_view text) {
  return text.size() >= 8 && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-' || c == '_';
         });
}

bool is_unit(std::string_view part) {
  return part.ends_with(".service") || part.ends_with(".scope") || part.ends_with(".socket") ||
         part.ends_with(".mount") || part.ends_with(".swap");
}

/// systemd writes an underscore in front of names that the kernel keeps for itself.
std::string_view unescaped(std::string_view part) {
  return part.starts_with('_') ? part.substr(1) : part;
}

/// Takes `prefix` and `suffix` off; empty when `text` has not both.
std::string_view between(std::string_view text, std::string_view prefix, std::string_view suffix) {
  if (text.size() < prefix.size() + suffix.size() || !text.starts_with(prefix) ||
      !text.ends_with(suffix))
    return {};
  return text.substr(prefix.size(), text.size() - prefix.size() - suffix.size());
}

struct Scope {
  std::string_view prefix;
  std::string_view runtime;
};

// RUNTIME-ID.scope, as the systemd drivers name it.
constexpr std::array kScopes = {
    Scope{"docker-", "docker"},
    Scope{"libpod-", "podman"},
    Scope{"cri-containerd-", "containerd"},
    Scope{"crio-", "crio"},
    Scope{"nerdctl-", "containerd"},
    Scope{"containerd-", "containerd"},
};

void take_container(Workload& out, std::string_view id, std::string_view runtime) {
  out.container = base::sanitize_utf8(id);
  out.runtime = runtime;
}

bool take_scope(Workload& out, std::string_view part) {
  const std::string_view bare = part.ends_with(".scope") ? part.substr(0, part.size() - 6) : part;
  for (const Scope& scope : kScopes) {
    if (!bare.starts_with(scope.prefix)) continue;
    const std::string_view id = bare.substr(scope.prefix.size());
    if (!is_hex(id)) continue;  // libpod-conmon-ID.scope is the monitor and not the container
    take_container(out, id, scope.runtime);
    return true;
  }
  if (const auto id = between(part, "machine-", ".scope"); !id.empty()) {
    take_container(out, id, "nspawn");
    return true;
  }
  if (const auto id = between(part, "lxc.payload.", ""); !id.empty()) {
    take_container(out, id, "lxc");
    return true;
  }
  return false;
}

/// podUID, and kubepods-burstable-podUID.slice where the dashes of UID are underscores.
bool take_pod(Workload& out, std::string_view part) {
  std::string_view uid;
  if (part.ends_with(".slice")) {
    const std::string_view bare = part.substr(0, part.size() - 6);
    const std::size_t at = bare.rfind("-pod");
    if (at == std::string_view::npos || bare.find("kubepods") == std::string_view::npos)
      return false;
    uid = bare.substr(at + 4);
  } else if (part.starts_with("pod")) {
    uid = part.substr(3);
  }
  if (!is_uid(uid)) return false;
  out.pod_uid.assign(uid);
  std::ranges::replace(out.pod_uid, '_', '-');
  return true;
}

void take_qos(Workload& out, std::string_view path) {
  out.qos = path.find("besteffort") != std::string_view::npos  ? "besteffort"
            : path.find("burstable") != std::string_view::npos ? "burstable"
                                                               : "guaranteed";
}

/// A part that is nothing but an id: a container of a cgroupfs driver, by what stands above it.
void take_bare(Workload& out, std::string_view part, std::string_view parent) {
  if (!out.container.empty()) return;
  if (parent == "lxc") return take_container(out, part, "lxc");
  if (!is_hex(part)) return;
  if (parent == "docker") return take_container(out, part, "docker");
  if (!out.pod_uid.empty() || parent.starts_with("libpod") || part.size() == 64)
    take_container(out, part, parent.starts_with("libpod") ? "podman" : "");
}

}  // namespace

Workload workload_of(std::string_view path) {
  Workload out;
  if (path.size() > 1) out.cgroup = base::sanitize_utf8(path);
  const bool kubernetes = path.find("kubepods") != std::string_view::npos;
  std::string_view parent;
  std::string_view rest = path;
  while (!rest.empty()) {
    const std::string_view part = unescaped(base::take_until(rest, '/'));
    if (part.empty() || part == "..") continue;
    if (kubernetes && out.pod_uid.empty() && take_pod(out, part)) take_qos(out, path);
    if (part.ends_with(".slice")) {
      out.slice = base::sanitize_utf8(part);
    } else if (is_unit(part)) {
      (out.unit.empty() ? out.unit : out.user_unit) = base::sanitize_utf8(part);
    }
    if (out.container.empty() && !take_scope(out, part)) take_bare(out, part, parent);
    parent = part;
  }
  return out;
}

std::string_view best_cgroup(std::string_view text) {
  // The smaller, the better: the unified hierarchy, systemd's, then controllers.
  constexpr std::array<std::string_view, 4> kNames = {"name=systemd", "memory", "cpu", "pids"};
  std::string_view best = "/";
  std::size_t rank = kNames.size() + 2;
  while (!text.empty()) {
    std::string_view line = base::take_until(text, '\n');
    static_cast<void>(base::take_until(line, ':'));
    std::string_view controllers = base::take_until(line, ':');
    if (!line.starts_with('/') || line == "/") continue;
    std::size_t own = controllers.empty() ? 0 : kNames.size() + 1;
    while (!controllers.empty()) {
      const auto found = std::ranges::find(kNames, base::take_until(controllers, ','));
      const auto place = static_cast<std::size_t>(found - kNames.begin());
      if (found != kNames.end()) own = std::min(own, place + 1);
    }
    if (own >= rank) continue;
    rank = own;
    best = line;
  }
  return best;
}

}  // namespace nexus::monitor
