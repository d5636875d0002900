#include "agent/container_watcher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/service_name.hpp"

namespace nexus::agent {
namespace {

using knowledge::ServiceEvent;

constexpr std::size_t kMostContainers = 10'000;
constexpr std::size_t kMostAsked = 1000;
constexpr Millis kEndsWithin{120'000};       // of what was asked to stop, its grace time included
constexpr Millis kLookBack{24 * 3'600'000};  // for who was asked to stop before the agent's start

constexpr std::string_view kProject = "com.docker.compose.project";
constexpr std::string_view kService = "com.docker.compose.service";
constexpr std::string_view kOneOff = "com.docker.compose.oneoff";

std::string_view label(const drivers::DockerContainer& container, std::string_view name) {
  const auto found = container.labels.find(name);
  return found == container.labels.end() ? std::string_view() : std::string_view(found->second);
}

/// Whether a container is what "web" or "shop/web" names.
bool is_named(const drivers::DockerContainer& container, std::string_view name) {
  const auto slash = name.find('/');
  if (slash == std::string_view::npos) return container.name == name;
  return label(container, kProject) == name.substr(0, slash) &&
         label(container, kService) == name.substr(slash + 1) &&
         label(container, kOneOff) != "True";
}

struct Word {
  std::string_view state;
  std::string detail;
};

std::string how_it_ended(const drivers::DockerDetails& details) {
  if (details.oom_killed) return "oom-kill";
  return details.exit_code == 0 ? "success" : fmt::format("exit code {}", details.exit_code);
}

Word word_of(const WatchedContainer& container) {
  const auto& state = container.listed.state;
  const auto& details = container.details;
  if (state == "running") {
    if (details.health == "unhealthy") return {"failed", "running/unhealthy"};
    if (details.health == "starting") return {"activating", "running/starting"};
    return {"active", details.health.empty() ? "running" : "running/" + details.health};
  }
  if (state == "restarting") return {"activating", "auto-restart/" + how_it_ended(details)};
  if (state == "exited") {
    auto how = how_it_ended(details);
    return {how == "success" ? "inactive" : "failed", "exited/" + how};
  }
  if (state == "dead") return {"failed", "dead/" + how_it_ended(details)};
  if (state == "removing") return {"deactivating", "removing"};
  return {"inactive", state};  // created, paused
}

/// Of several what serves comes first, then what may serve soon.
std::size_t rank(std::string_view state) {
  constexpr std::array<std::string_view, 5> kOrder{"active", "activating", "failed", "deactivating",
                                                   "inactive"};
  return static_cast<std::size_t>(std::ranges::find(kOrder, state) - kOrder.begin());
}

WallTime to_time(std::optional<double> seconds) {
  return WallTime(Millis(static_cast<std::int64_t>(seconds.value_or(0) * 1000)));
}

std::optional<std::string> why_down(const ServiceEvent& event) {
  if (event.state == "active") return std::nullopt;
  std::string_view rest = event.detail;
  const auto sub_state = base::take_until(rest, '/');
  return std::string(sub_state == "running" ? rest : sub_state);
}

/// The names that are containers, and whether they are watched services.
std::map<std::string, bool> names_of(const config::Config& config) {
  const auto is_container = [](const std::string& name) {
    return config::parse_service_name(name).kind == "docker";
  };
  std::map<std::string, bool> out;
  for (const auto& service : config.services) {
    if (is_container(service.name)) out[service.name] = true;
    for (const auto& needed : service.depends_on) {
      if (is_container(needed)) out.try_emplace(needed, false);
    }
  }
  return out;
}

bool has_ended(const WatchedContainer& container) {
  return container.listed.state == "exited" || container.listed.state == "dead";
}

/// Whether this run of a container was asked to end, and did. A signal that it survived says
/// nothing of an end long after it.
bool was_asked(const WatchedContainer& container, std::int64_t when) {
  const auto at = WallTime(std::chrono::duration_cast<Millis>(Nanos(when)));
  return has_ended(container) && at >= to_time(container.details.started) &&
         to_time(container.details.finished) < at + kEndsWithin;
}

bool asks_for_an_end(const drivers::DockerEvent& event) {
  const auto& signal = event.signal;
  const bool reloads = signal == "1" || signal == "HUP" || signal == "SIGHUP" || signal == "hangup";
  return event.type == "container" &&
         (event.action == "stop" || (event.action == "kill" && !reloads));
}

bool is_same(const ServiceEvent& a, const ServiceEvent& b) {
  return a.state == b.state && a.detail == b.detail && a.instance == b.instance;
}

Result<std::vector<WatchedContainer>> containers_named(
    std::string_view name, const std::vector<drivers::DockerContainer>& listed,
    const drivers::Docker& engine, SteadyTime deadline) {
  std::vector<WatchedContainer> out;
  for (const auto& container : listed) {
    if (!is_named(container, name)) continue;
    auto details = engine.inspect(container.id, deadline);
    if (!details && details.error().code() == Errc::kNotFound) continue;  // removed since
    if (!details) return propagate(std::move(details));
    // What it is by now, and not what it was when the list was made.
    auto& one = out.emplace_back(container, *std::move(details));
    if (!one.details.state.empty()) one.listed.state = one.details.state;
  }
  return out;
}

}  // namespace

ServiceEvent container_event(std::string_view service,
                             std::span<const WatchedContainer> containers) {
  ServiceEvent out;
  out.service = service;
  out.kind = "docker";
  out.state = "inactive";
  out.detail = "gone";
  if (containers.empty()) return out;
  // The run that was begun last stands for all, whatever state it is in: it is the same while a
  // service of several containers is being stopped.
  const auto& newest = *std::ranges::max_element(containers, {}, [](const WatchedContainer& one) {
    return std::pair(one.details.started.value_or(0), one.listed.id);
  });
  out.instance = fmt::format("{}@{}", newest.listed.id,
                             to_time(newest.details.started).time_since_epoch().count());
  const auto& best = *std::ranges::min_element(
      containers, {}, [](const WatchedContainer& one) { return rank(word_of(one).state); });
  auto word = word_of(best);
  out.state = word.state;
  out.detail = std::move(word.detail);
  if (containers.size() > 1 && out.state == "active") {
    const auto up = std::ranges::count_if(
        containers, [](const WatchedContainer& one) { return word_of(one).state == "active"; });
    out.detail = fmt::format("running/{} of {}", up, containers.size());
  }
  out.pid = static_cast<std::uint32_t>(std::max(0, best.details.pid));
  const auto& policy = best.details.restart_policy;
  out.restarts_itself = !policy.empty() && policy != "no";
  const bool runs = best.listed.state == "running";
  out.time = to_time(runs ? best.details.started : best.details.finished);
  return out;
}

ContainerWatcher::ContainerWatcher(Clock& clock, const config::Config& config, Callback callback)
    : clock_(clock),
      section_(config.connections.docker),
      rootfs_(config.collect.rootfs),
      callback_(std::move(callback)),
      names_(names_of(config)),
      thread_(clock, "containers", [this] { return turn(); }) {}

ContainerWatcher::~ContainerWatcher() {
  thread_.stop();
  stream_.reset();  // its thread wakes ours
}

bool ContainerWatcher::has_work(const config::Config& config) {
  return !names_of(config).empty();
}

std::optional<std::string> ContainerWatcher::down(std::string_view service) const {
  const std::lock_guard guard(mutex_);
  const auto known = down_.find(service);
  return known == down_.end() ? std::nullopt : known->second;
}

SteadyTime ContainerWatcher::turn() {
  const auto ok = look(clock_.steady() + section_.timeout);
  const auto now = clock_.steady();
  if (ok) {
    away_ = false;
    // A stream that has ended is opened again by the next look.
    return now + (stream_->is_open() ? kLook : kAskAgain);
  }
  if (!std::exchange(away_, true))
    log::warning("agent", "watched containers: {}", ok.error().message());
  for (const auto& [name, watched] : names_) learn(name, "not known: its engine does not answer");
  return now + kAskAgain;
}

/// What was asked before the agent's start is known before anything is told.
Status ContainerWatcher::begin_stream(const drivers::Docker& engine, SteadyTime deadline) {
  const auto from = clock_.wall();
  auto past = drivers::past_events(engine, from - kLookBack, from, deadline);
  if (!past) return propagate(std::move(past));
  for (const auto& event : *past) note_asked(event);
  stream_.emplace(engine.socket(), from,
                  [this](const drivers::DockerEvent& event) { note(event); });
  return {};
}

bool ContainerWatcher::is_known_wanted(std::span<const WatchedContainer> found) const {
  const std::lock_guard guard(mutex_);
  return std::ranges::any_of(found, [&](const WatchedContainer& one) {
    const auto when = asked_.find(one.listed.id);
    return when != asked_.end() && was_asked(one, when->second);
  });
}

/// The list may be newer than what has come over the stream: before something is told to have
/// failed, the engine is asked what it knows.
Result<bool> ContainerWatcher::was_wanted(std::span<const WatchedContainer> found,
                                          const drivers::Docker& engine, SteadyTime deadline) {
  if (is_known_wanted(found)) return true;
  auto last = WallTime::max();
  for (const auto& one : found) {
    if (has_ended(one)) last = std::min(last, to_time(one.details.finished));
  }
  if (last == WallTime::max()) return false;
  const auto now = clock_.wall();
  auto past =
      drivers::past_events(engine, std::max(last, now - kLookBack) - kEndsWithin, now, deadline);
  if (!past) return propagate(std::move(past));
  for (const auto& event : *past) note_asked(event);
  return is_known_wanted(found);
}

Status ContainerWatcher::look(SteadyTime deadline) {
  auto socket = drivers::engine_socket(section_, rootfs_);
  if (!socket) return propagate(std::move(socket));
  const drivers::Docker engine(clock_, *std::move(socket));
  if (!stream_) {
    if (auto begun = begin_stream(engine, deadline); !begun) return begun;
  }
  // Before the list is asked for: what happens from here on is told.
  stream_->reopen();
  auto listed = engine.containers(deadline, kMostContainers);
  if (!listed) return propagate(std::move(listed));
  for (const auto& [service, watched] : names_) {
    auto found =
        containers_named(config::parse_service_name(service).name, *listed, engine, deadline);
    if (!found) return propagate(std::move(found));
    Told told{.event = container_event(service, *found)};
    told.event.received = clock_.steady();
    learn(service, why_down(told.event));
    if (!watched) continue;
    if (told.event.state == "failed") {
      auto wanted = was_wanted(*found, engine, deadline);
      if (!wanted) return propagate(std::move(wanted));
      told.asked = *wanted;
    }
    tell(std::move(told));
  }
  return {};
}

void ContainerWatcher::note_asked(const drivers::DockerEvent& event) {
  if (!asks_for_an_end(event)) return;
  const std::lock_guard guard(mutex_);
  if (asked_.size() >= kMostAsked && !asked_.contains(event.id))
    asked_.erase(std::ranges::min_element(asked_, {}, [](const auto& one) { return one.second; }));
  auto& when = asked_[event.id];
  when = std::max(when, event.time);
}

void ContainerWatcher::note(const drivers::DockerEvent& event) {
  // A health check that runs changes nothing; what it finds is an event of its own.
  if (event.type != "container" || event.action.starts_with("exec_")) return;
  note_asked(event);
  thread_.wake();
}

void ContainerWatcher::tell(Told told) {
  const auto known = last_.find(told.event.service);
  if (known != last_.end() && is_same(known->second.event, told.event) &&
      known->second.asked == told.asked)
    return;
  if (told.asked) {
    auto before = told.event;
    before.state = "deactivating";
    before.detail = "stopping";
    before.job = true;
    callback_(before);
  }
  callback_(told.event);
  last_.insert_or_assign(told.event.service, std::move(told));
}

void ContainerWatcher::learn(const std::string& service, std::optional<std::string> why_down) {
  const std::lock_guard guard(mutex_);
  down_.insert_or_assign(service, std::move(why_down));
}

}  // namespace nexus::agent
