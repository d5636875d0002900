// systemd over D-Bus (org.freedesktop.systemd1), by sd-bus; never by running systemctl.
//
// Systemd: queries, which share a few connections; what changes units is host::Privileged's
// (unit_privileged.hpp). UnitWatcher: one connection and one thread; follows
// PropertiesChanged, UnitNew, UnitRemoved and Reloading signals of the named units and calls back
// with every change within milliseconds. Reconnects with back-off (100 ms .. 10 s) when the bus
// goes away, and then reports the present state of each unit: nothing lasting is missed, duplicates
// are possible.
//
// The bus: the system bus, or `address`. Root uses systemd's private socket when there is no system
// bus. Errors: kNotFound (no such unit), kPermissionDenied, kUnavailable (no bus, no systemd on
// it), kTimeout, all naming the unit. Thread safety: all members, any thread. Documents:
// org.freedesktop.systemd1(5), systemd.unit(5).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"

namespace nexus::drivers {

struct UnitStatus {
  std::string name;                // its Id, whatever alias it was asked by
  std::vector<std::string> names;  // with all aliases
  std::string description;
  std::string load_state;    // loaded, not-found, masked, ...
  std::string active_state;  // active, reloading, inactive, failed, activating, deactivating
  std::string sub_state;     // running, dead, auto-restart, ...
  std::string result;        // success, exit-code, signal, start-limit-hit, ... (services only)
  std::string type;          // simple, notify, oneshot, ... (services only)
  std::string restart;       // Restart= of a service
  std::uint32_t main_pid = 0;
  std::uint32_t restarts = 0;  // NRestarts
  std::string invocation_id;   // 32 hexadecimal digits, empty when it never ran
  WallTime state_change{};     // StateChangeTimestamp
  WallTime active_enter{};     // ActiveEnterTimestamp
  std::string start_job;       // path of a queued job, empty when none
};

/// One line of ListUnits.
struct UnitSummary {
  std::string name;
  std::string load_state;
  std::string active_state;
  std::string sub_state;
  std::string type;  // Type= of a loaded service or mount, else empty
};

/// A property of a unit that is a number: {"web.service", "Service", "NRestarts"}.
struct UnitProperty {
  std::string unit;
  std::string interface;  // without org.freedesktop.systemd1.
  std::string name;
};

/// A unit whose files have changed since systemd has loaded them (NeedDaemonReload).
struct StaleUnit {
  std::string name;                // as asked
  std::vector<std::string> files;  // its file and its drop-ins
};

class Systemd {
 public:
  /// `address`: empty for the system bus, else a D-Bus address. Connects lazily.
  Systemd(Clock& clock, std::string address = {});
  ~Systemd();

  [[nodiscard]] Result<UnitStatus> status(std::string_view unit);
  /// The same of a unit that systemd has loaded, and nothing is loaded for it. kNotFound: it has
  /// not, whether there is such a unit or not.
  [[nodiscard]] Result<UnitStatus> loaded_status(std::string_view unit);
  [[nodiscard]] Result<std::vector<UnitSummary>> list_units();
  /// All of them on one connection, a few dozen in flight at a time, within the time of one call.
  /// Nothing in the place of what this systemd or this unit does not have.
  [[nodiscard]] Result<std::vector<std::optional<std::uint64_t>>> unit_numbers(
      std::span<const UnitProperty> properties);
  /// Those of them that need a daemon-reload; what systemd does not know, or has forgotten
  /// meanwhile, is left out.
  [[nodiscard]] Result<std::vector<StaleUnit>> stale_units(std::span<const std::string> units);
  /// Version and state of the manager ("running", "degraded", ...).
  [[nodiscard]] Result<std::string> version();
  [[nodiscard]] Result<std::string> system_state();
  /// "kvm", "docker", ...; empty on bare metal.
  [[nodiscard]] Result<std::string> virtualization();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct UnitEvent {
  UnitStatus status;      // after the change; its name is the unit's Id, whatever alias is watched
  SteadyTime received{};  // when the signal was read
  std::string watched;    // the name that it is watched by
};

class UnitWatcher {
 public:
  using Callback = std::function<void(const UnitEvent&)>;
  /// Names are normalized; what cannot be a unit name is logged and left out. The callback runs on
  /// the watcher's thread and must not block; it is called once for each unit at the start.
  UnitWatcher(Clock& clock, const std::vector<std::string>& units, Callback callback,
              std::string address = {});
  ~UnitWatcher();
  [[nodiscard]] bool connected() const noexcept;
  [[nodiscard]] std::uint64_t reconnects() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// "web" -> "web.service"; refuses what cannot be a unit name (systemd.unit(5)).
[[nodiscard]] Result<std::string> normalize_unit_name(std::string_view name);

}  // namespace nexus::drivers
