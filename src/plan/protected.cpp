// The floor of protected things. It is compiled in: no configuration takes anything off it.
//
// Three rules for units: (1) only services, sockets, timers and paths are ever touched: slices,
// scopes, mounts, swaps, devices and targets hold other things up (killing a session's scope is
// what people remember of systemd-oomd); (2) units that end or switch the running system may not
// even be started; (3) what the host and its administrators hang on may be started when it is down,
// but never stopped, restarted or reloaded (a reload of sshd with a bad configuration ends it).
#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <array>

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
  if (type == "start_service") return std::nullopt;
  if (std::ranges::any_of(kNeverHarmed, [&](const char* p) { return glob(p, unit); })) {
    return fmt::format("{} is protected: the host or its administrators depend on it", unit);
  }
  return std::nullopt;
}

}  // namespace

bool is_unit_action(std::string_view action_type) {
  // What is not named so is told by its descriptor (ActionDescriptor::targets_units); a test holds
  // the two together.
  return action_type.ends_with("_service") || action_type == "adjust_memory";
}

std::string canonical_target(std::string_view action_type, std::string_view target) {
  std::string name(target);
  if (is_unit_action(action_type) && !name.empty() && !ends_with_any(name, kUnitTypes)) {
    name += ".service";
  }
  return name;
}

std::optional<std::string> protected_reason(std::string_view action_type, std::string_view target,
                                            const std::vector<std::string>& extra) {
  if (!is_unit_action(action_type)) return std::nullopt;
  const std::string unit = canonical_target(action_type, target);
  if (auto reason = floor_reason(action_type, unit)) return reason;
  for (const auto& pattern : extra) {
    if (glob(canonical_target(action_type, pattern).c_str(), unit) || glob(pattern.c_str(), unit)) {
      return fmt::format("{} is protected by [guardrails] protected_units \"{}\"", unit, pattern);
    }
  }
  return std::nullopt;
}

}  // namespace nexus::plan
