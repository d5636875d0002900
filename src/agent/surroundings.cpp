#include "agent/surroundings.hpp"

#include <algorithm>
#include <tuple>

#include "agent/container_watcher.hpp"
#include "nexus/base/log.hpp"
#include "nexus/config/service_name.hpp"
#include "nexus/drivers/unit_requirements.hpp"

namespace nexus::agent {
namespace {

constexpr std::string_view kConnection = "connection";
/// A service that dies takes its connections along: they are remembered for so long, so that a
/// failure is still traced to whom it talked to, and not for ever.
constexpr Millis kTalkLasts = std::chrono::hours(1);

using Talks = std::map<std::pair<std::string, std::string>, SteadyTime>;

/// As systemd calls it: services may be configured without their suffix.
std::string unit_of(std::string_view name) {
  if (!config::parse_service_name(name).is_unit()) return std::string(name);
  return std::string(name) + (name.contains('.') ? "" : ".service");
}

auto key_of(const analyze::Graph::Edge& edge) {
  return std::tie(edge.dependent, edge.upstream, edge.link);
}

/// Units by the names that they are configured with, as findings call them.
std::shared_ptr<analyze::Graph> make_graph(const config::Config& config, const Talks& talks) {
  auto out = std::make_shared<analyze::Graph>();
  auto& edges = out->edges;
  const auto named = [&](const std::string& unit) {
    const auto found = std::ranges::find_if(
        config.services, [&](const auto& service) { return unit_of(service.name) == unit; });
    return found == config.services.end() ? unit : found->name;
  };
  const auto add = [&](std::string dependent, std::string upstream, std::string_view link) {
    if (dependent.empty() || upstream.empty() || dependent == upstream ||
        edges.size() >= analyze::Graph::kMostEdges)
      return;
    edges.push_back({std::move(dependent), std::move(upstream), std::string(link)});
  };
  for (const auto& service : config.services) {
    for (const auto& needed : service.depends_on)
      add(service.name, named(unit_of(needed)), "depends_on");
  }
  for (const auto& [pair, seen] : talks) add(named(pair.first), named(pair.second), kConnection);
  std::ranges::sort(edges, {}, key_of);
  const auto twice = std::ranges::unique(edges, {}, key_of);
  edges.erase(twice.begin(), twice.end());
  return out;
}

}  // namespace

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

void HostSurroundings::set_containers(std::shared_ptr<const ContainerWatcher> containers) {
  const std::lock_guard guard(mutex_);
  containers_.swap(containers);
}

std::optional<std::string> HostSurroundings::down(std::string_view service) const {
  const std::lock_guard guard(mutex_);
  if (const auto name = config::parse_service_name(service); !name.is_unit()) {
    if (name.kind != "docker") return std::nullopt;
    // Under the lock: who asks is not to be the last to hold a watcher that ends.
    return containers_ == nullptr ? "not known: nobody watches it" : containers_->down(service);
  }
  if (const auto known = states_.find(service); known != states_.end()) return known->second;
  // systemd unloads what is stopped and nobody refers to.
  const bool unit = service.ends_with(".service") || service.ends_with(".mount");
  if (!loaded_.empty() && unit && !loaded_.contains(service)) return "not loaded";
  return std::nullopt;
}

std::vector<plan::Need> HostSurroundings::needs(std::string_view service) const {
  std::vector<plan::Need> out;
  const auto unit = unit_of(service);
  const std::lock_guard guard(mutex_);
  if (const auto it = talks_.find(unit); it != talks_.end()) out = it->second;
  if (const auto it = needs_.find(service); it != needs_.end())
    out.insert(out.end(), it->second.begin(), it->second.end());
  return out;
}

void HostSurroundings::remember_talks(SteadyTime now) {
  std::erase_if(seen_talks_, [&](const auto& talk) { return now - talk.second > kTalkLasts; });
  const auto map = observed_.connections();
  if (map == nullptr) return;
  for (const auto& one : map->conversations) {
    if (one.direction != monitor::Conversation::Direction::kOutbound || one.local.unit.empty() ||
        one.remote.unit.empty() || one.local.unit == one.remote.unit)
      continue;
    auto pair = std::pair(one.local.unit, one.remote.unit);
    if (const auto known = seen_talks_.find(pair); known != seen_talks_.end())
      known->second = now;
    else if (seen_talks_.size() < analyze::Graph::kMostEdges)
      seen_talks_.emplace(std::move(pair), now);
  }
}

std::shared_ptr<const analyze::Graph> HostSurroundings::look_for_graph(
    const config::Config& config) {
  if (clock_.steady() < next_graph_) return nullptr;
  next_graph_ = clock_.steady() + kGraph;
  std::shared_ptr<const analyze::Graph> before;
  {
    const std::lock_guard guard(mutex_);
    before = graph_;
  }
  remember_talks(clock_.steady());
  auto fresh = make_graph(config, seen_talks_);
  if (before && std::ranges::equal(before->edges, fresh->edges, {}, key_of, key_of)) return nullptr;
  std::map<std::string, std::vector<plan::Need>, std::less<>> talks;
  for (const auto& edge : fresh->edges) {
    if (edge.link == kConnection)
      talks[unit_of(edge.dependent)].push_back({unit_of(edge.upstream), "connections"});
  }
  const std::lock_guard guard(mutex_);
  graph_ = fresh;
  talks_ = std::move(talks);
  return fresh;
}

}  // namespace nexus::agent
