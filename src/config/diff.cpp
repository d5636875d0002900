#include <array>
#include <utility>

#include "nexus/config/load.hpp"

namespace nexus::config {
namespace {

struct SectionDifference {
  std::string_view name;
  bool (*differs)(const Config&, const Config&);
};

template <auto Member>
bool differs(const Config& before, const Config& after) {
  return !(before.*Member == after.*Member);
}

template <auto Member>
bool connection_differs(const Config& before, const Config& after) {
  return !(before.connections.*Member == after.connections.*Member);
}

constexpr std::array<SectionDifference, 27> kSections = {{
    {"agent", differs<&Config::agent>},
    {"http", differs<&Config::http>},
    {"auth", differs<&Config::auth>},
    {"collect", differs<&Config::collect>},
    {"scrape, probe, statsd, push, log", differs<&Config::sources>},
    {"history", differs<&Config::history>},
    {"vital", differs<&Config::vitals>},
    {"forecast", differs<&Config::forecast>},
    {"anomaly", differs<&Config::anomaly>},
    {"alert", differs<&Config::alerts>},
    {"operations", differs<&Config::operations>},
    {"command", differs<&Config::commands>},
    {"remedy", differs<&Config::remedies>},
    {"guardrails", differs<&Config::guardrails>},
    {"fleet", differs<&Config::fleet>},
    {"allow", differs<&Config::allow>},
    {"cleanup", differs<&Config::cleanups>},
    {"sysctl", differs<&Config::sysctls>},
    {"request", differs<&Config::requests>},
    {"maintenance", differs<&Config::maintenance>},
    {"services", differs<&Config::services>},
    {"rule_files", differs<&Config::rule_files>},
    {"routing, route, inhibit, silence, time_interval, notify", differs<&Config::publish>},
    {"postgres", connection_differs<&Connections::postgres>},
    {"redis", connection_differs<&Connections::redis>},
    {"docker", connection_differs<&Connections::docker>},
    {"kubernetes", connection_differs<&Connections::kubernetes>},
}};

}  // namespace

std::vector<std::string> changed_sections(const Config& before, const Config& after) {
  std::vector<std::string> names;
  for (const auto& section : kSections) {
    if (section.differs(before, after)) names.emplace_back(section.name);
  }
  return names;
}

std::vector<std::string> needs_restart(const Config& before, const Config& after) {
  std::vector<std::string> out;
  const auto note = [&](bool changed, std::string_view what) {
    if (changed) out.emplace_back(what);
  };
  note(before.agent.data_dir != after.agent.data_dir,
       "agent.data_dir: the state database is open in the old one");
  note(before.http.listen != after.http.listen, "http.listen: the sockets are bound at start");
  const auto& old_roots = before.collect;
  const auto& new_roots = after.collect;
  note(old_roots.procfs != new_roots.procfs, "collect.procfs: collectors keep files below it open");
  note(old_roots.sysfs != new_roots.sysfs, "collect.sysfs: collectors keep files below it open");
  note(old_roots.rootfs != new_roots.rootfs, "collect.rootfs: collectors keep files below it open");
  note(old_roots.max_series != new_roots.max_series,
       "collect.max_series: the registry of series is made once");
  const auto& old_history = before.history;
  const auto& new_history = after.history;
  note((old_history.disk == 0) != (new_history.disk == 0) ||
           old_history.checkpoint != new_history.checkpoint ||
           old_history.key_file != new_history.key_file || old_history.tiers != new_history.tiers,
       "history: disk on or off, checkpoint, key_file and tiers: its files are open");
  return out;
}

}  // namespace nexus::config
