#include "agent/surroundings.hpp"

#include <algorithm>
#include <utility>

#include "nexus/base/log.hpp"
#include "nexus/drivers/unit_requirements.hpp"

namespace nexus::agent {

std::optional<std::string> cannot_serve(const drivers::UnitSummary& unit) {
  if (unit.active_state == "active" || unit.active_state == "reloading") return std::nullopt;
  // One that has run to its end is done, not down; targets, timers and the like serve nobody.
  if (unit.type == "oneshot" && unit.active_state == "inactive") return std::nullopt;
  const auto dot = unit.name.rfind('.');
  const auto suffix = dot == std::string::npos ? std::string() : unit.name.substr(dot);
  if (suffix != ".service" && suffix != ".mount" && suffix != ".socket") return std::nullopt;
  return unit.active_state;
}

void HostSurroundings::look(const config::Config& config) {
  if (config.remedies.empty()) return;  // nobody asks
  const auto now = clock_.steady();
  if (now >= next_states_) {
    next_states_ = now + kStates;
    look_at_states();
  }
  if (now >= next_needs_) {
    next_needs_ = now + kNeeds;
    look_for_needs(config);
  }
}

void HostSurroundings::look_at_states() {
  const auto units = systemd_.list_units();
  if (!units) {
    const std::lock_guard guard(mutex_);
    if (clock_.steady() - seen_ < kStale) return;
    states_.clear();
    loaded_.clear();
    return;
  }
  std::map<std::string, std::string, std::less<>> states;
  std::set<std::string, std::less<>> loaded;
  for (const auto& unit : *units) {
    loaded.insert(unit.name);
    if (auto why = cannot_serve(unit)) states.emplace(unit.name, *std::move(why));
  }
  const std::lock_guard guard(mutex_);
  states_ = std::move(states);
  loaded_ = std::move(loaded);
  seen_ = clock_.steady();
}

void HostSurroundings::look_for_needs(const config::Config& config) {
  std::map<std::string, std::vector<plan::Need>, std::less<>> needs;
  for (const auto& service : config.services) {
    if (service.kind != "systemd" || needs.size() >= kMostUnits) continue;
    const auto required = drivers::unit_requirements(service.name);
    if (!required) {
      if (required.error().code() == Errc::kNotFound) continue;
      log::debug("agent", "{}", required.error().message());
      return;  // systemd is away: what was known stands
    }
    auto& out = needs[service.name];
    for (const auto& name : *required) out.push_back({name, "systemd"});
  }
  const std::lock_guard guard(mutex_);
  needs_ = std::move(needs);
}

std::optional<std::string> HostSurroundings::down(std::string_view service) const {
  const std::lock_guard guard(mutex_);
  if (const auto known = states_.find(service); known != states_.end()) return known->second;
  // systemd unloads what is stopped and nobody refers to.
  const bool unit = service.ends_with(".service") || service.ends_with(".mount");
  if (!loaded_.empty() && unit && !loaded_.contains(service)) return "not loaded";
  return std::nullopt;
}

std::vector<plan::Need> HostSurroundings::needs(std::string_view service) const {
  const auto map = observed_.connections();
  std::vector<plan::Need> out;
  const std::lock_guard guard(mutex_);
  if (map != indexed_) index(map);
  for (const Needs* known : {&std::as_const(talks_), &needs_}) {
    if (const auto it = known->find(service); it != known->end())
      out.insert(out.end(), it->second.begin(), it->second.end());
  }
  return out;
}

void HostSurroundings::index(const std::shared_ptr<const monitor::ConnectionMap>& map) const {
  talks_.clear();
  indexed_ = map;
  if (map == nullptr) return;
  for (const auto& talk : map->conversations) {
    if (talk.direction != monitor::Conversation::Direction::kOutbound || talk.local.unit.empty() ||
        talk.remote.unit.empty() || talk.remote.unit == talk.local.unit)
      continue;
    auto& needs = talks_[talk.local.unit];
    if (std::ranges::none_of(needs,
                             [&](const auto& need) { return need.name == talk.remote.unit; }))
      needs.push_back({talk.remote.unit, "connections"});
  }
}

}  // namespace nexus::agent
