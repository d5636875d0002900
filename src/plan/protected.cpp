// The floor of protected things. It is compiled in: no configuration takes anything off it.
//
// Units, and what else has a manager by the names of nexus/config/service_name.hpp. What only a
// manager can know of its own (the container that the agent runs in) is refused by its steps.
//
// Three rules for units: (1) only services, sockets, timers and paths are ever touched: slices,
// scopes, mounts, swaps, devices and targets hold other things up (killing a session's scope is
// what people remember of systemd-oomd); (2) units that end or switch the running system may not
// even be started; (3) what the host and its administrators hang on may be started when it is down,
// enabled and reset, but never stopped, restarted or reloaded (a reload of sshd with a bad
// configuration ends it).
#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <array>

#include "nexus/config/service_name.hpp"
#include "nexus/plan/planner.hpp"

namespace nexus::plan {
namespace {

constexpr std::array<std::string_view, 4> kTouchable{".service", ".socket", ".timer", ".path"};
constexpr std::array<std::string_view, 11> kUnitTypes{".service", ".socket", ".timer",    ".path",
                                                      ".target",  ".slice",  ".scope",    ".mount",
                                                      ".swap",    ".device", ".automount"};

constexpr std::array<const char*, 16> kNeverTouched{"systemd-poweroff.service",
                                                    "systemd-reboot.service",
                                                    "systemd-soft-reboot.service",
                                                    "systemd-halt.service",
                                                    "systemd-kexec.service",
                                                    "systemd-exit.service",
                                                    "systemd-suspend.service",
                                                    "systemd-hibernate.service",
                                                    "systemd-hybrid-sleep.service",
                                                    "systemd-suspend-then-hibernate.service",
                                                    "emergency.service",
                                                    "rescue.service",
                                                    "initrd-*.service",
                                                    "debug-shell.service",
                                                    "systemd-firstboot.service",
                                                    "system-update-cleanup.service"};

constexpr std::array<const char*, 18> kNeverHarmed{
    "nexus-agent*.service", "nexus-agent*.socket",    "ssh.service",
    "ssh.socket",           "ssh@*.service",          "sshd.service",
    "sshd.socket",          "sshd@*.service",         "dbus.service",
    "dbus.socket",          "dbus-broker.service",    "systemd-*.service",
    "systemd-*.socket",     "user@*.service",         "user-runtime-dir@*.service",
    "getty@*.service",      "serial-getty@*.service", "polkit.service"};

// Engines: to restart one that hangs may be right, to stop it, or not to have it after a boot,
// never is.
constexpr std::array<const char*, 5> kNeverStopped{
    "docker.service", "docker.socket", "containerd.service", "podman.socket", "kubelet.service"};

/// Actions on services whose names do not end in "_service".
constexpr std::array<std::string_view, 3> kServiceActions{"adjust_memory", "rolling_update",
                                                          "rollback_deployment"};

/// What brings a service up, or makes it possible, takes nothing from anybody.
constexpr std::array<std::string_view, 3> kHarmless{"start_service", "enable_service",
                                                    "reset_service"};

bool is_plain(char c) {
  return c != '*' && c != '?' && c != '[' && c != '\\';
}

bool glob(const char* pattern, const std::string& name) {
  // Nearly all of the shipped ones differ from a name at once, and have one star at most; a library
  // call for each would be most of what a decision costs.
  const std::string_view text = pattern;
  std::size_t same = 0;
  for (; same < text.size() && is_plain(text[same]); ++same) {
    if (same == name.size() || name[same] != text[same]) return false;
  }
  if (same == text.size()) return name.size() == same;
  const auto rest = text.substr(same + 1);
  if (text[same] == '*' && std::ranges::all_of(rest, is_plain))
    return name.size() >= same + rest.size() && name.ends_with(rest);
  return fnmatch(pattern, name.c_str(), 0) == 0;
}

bool ends_with_any(std::string_view name, auto const& suffixes) {
  return std::ranges::any_of(suffixes, [&](std::string_view s) { return name.ends_with(s); });
}

std::optional<std::string> floor_reason(std::string_view type, const std::string& unit) {
  if (!ends_with_any(unit, kTouchable)) {
    return fmt::format("{} is protected: only services, sockets, timers and paths are touched",
                       unit);
  }
  if (std::ranges::any_of(kNeverTouched, [&](const char* p) { return glob(p, unit); })) {
    return fmt::format("{} is protected: it ends or switches the running system", unit);
  }
  if (std::ranges::find(kHarmless, type) != kHarmless.end()) return std::nullopt;
  if ((type == "stop_service" || type == "disable_service") &&
      std::ranges::any_of(kNeverStopped, [&](const char* p) { return glob(p, unit); })) {
    return fmt::format("{} is protected: no container would run without it", unit);
  }
  if (std::ranges::any_of(kNeverHarmed, [&](const char* p) { return glob(p, unit); })) {
    return fmt::format("{} is protected: the host or its administrators depend on it", unit);
  }
  return std::nullopt;
}

}  // namespace

bool is_unit_action(std::string_view action_type) {
  // What is not named so is told by its descriptor (ActionDescriptor::targets_units); a test holds
  // the two together.
  return action_type.ends_with("_service") ||
         std::ranges::find(kServiceActions, action_type) != kServiceActions.end();
}

std::string canonical_target(std::string_view action_type, std::string_view target) {
  if (!is_unit_action(action_type)) return std::string(target);
  auto name = config::parse_service_name(target);
  if (name.is_unit() && !name.name.empty() && !ends_with_any(name.name, kUnitTypes))
    name.name += ".service";
  return to_string(name);
}

std::optional<std::string> protected_reason(std::string_view action_type, std::string_view target,
                                            const std::vector<std::string>& extra) {
  if (!is_unit_action(action_type)) return std::nullopt;
  const std::string name = canonical_target(action_type, target);
  if (config::parse_service_name(target).is_unit()) {
    if (auto reason = floor_reason(action_type, name)) return reason;
  }
  for (const auto& pattern : extra) {
    if (glob(canonical_target(action_type, pattern).c_str(), name) || glob(pattern.c_str(), name)) {
      return fmt::format("{} is protected by [guardrails] protected_units \"{}\"", name, pattern);
    }
  }
  return std::nullopt;
}

}  // namespace nexus::plan
