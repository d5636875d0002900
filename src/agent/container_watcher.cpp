#include "agent/container_watcher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/service_name.hpp"

namespace nexus::agent {
namespace {

using knowledge::ServiceEvent;

constexpr std::size_t kMostContainers = 10'000;
constexpr std::size_t kMostAsked = 1000;
constexpr Millis kPause{50};  // from one look to the next
constexpr std::string_view kNoAnswer = "not known: its engine does not answer";
constexpr Millis kEndsWithin{120'000};       // of what was asked to stop, its grace time included
constexpr Millis kLookBack{24 * 3'600'000};  // for who was asked to stop before the agent's start

constexpr std::string_view kProject = "com.docker.compose.project";
constexpr std::string_view kService = "com.docker.compose.service";
constexpr std::string_view kOneOff = "com.docker.compose.oneoff";

std::string_view label(const drivers::DockerContainer& container, std::string_view name) {
  const auto found = container.labels.find(name);
  return found == container.labels.end() ? std::string_view() : std::string_view(found->second);
}

}  // namespace

bool is_named(const drivers::DockerContainer& container, std::string_view name) {
  const auto slash = name.find('/');
  if (slash == std::string_view::npos) return container.name == name;
  return label(container, kProject) == name.substr(0, slash) &&
         label(container, kService) == name.substr(slash + 1) &&
         label(container, kOneOff) != "True";
}

namespace {

struct Word {
  std::string_view state;
  std::string detail;
};

std::string how_it_ended(const drivers::DockerDetails& details) {
  if (!details.error.empty()) return "cannot be started";
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
  if (state == "created" && !details.error.empty())
    return {"failed", "created/" + how_it_ended(details)};
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

/// "15", "SIGTERM", "TERM" or "RTMIN+3"; 0: none that is known.
int signal_of(std::string_view text) {
  if (const auto number = base::parse_int(text)) return static_cast<int>(*number);
  if (text.starts_with("SIG")) text.remove_prefix(3);
  constexpr std::string_view kRealTime = "RTMIN";
  if (text.starts_with(kRealTime)) {
    text.remove_prefix(kRealTime.size());
    const auto above = text.starts_with('+') ? base::parse_int(text.substr(1)) : std::nullopt;
    return SIGRTMIN + static_cast<int>(above.value_or(0));
  }
  for (int number = 1; number < SIGRTMIN; ++number) {
    const char* name = ::sigabbrev_np(number);
    if (name != nullptr && text == name) return number;
  }
  return 0;
}

/// What ends a program, whatever its image says. An engine that does not tell the signal is taken
/// to have sent one of these.
bool always_ends(std::string_view signal) {
  const int number = signal_of(signal);
  return signal.empty() || number == SIGKILL || number == SIGTERM || number == SIGINT ||
         number == SIGQUIT;
}

bool is_same(const ServiceEvent& a, const ServiceEvent& b) {
  return a.state == b.state && a.detail == b.detail && a.instance == b.instance;
}

/// Of which the last to end says why all have; null where one still runs, or none has ended.
const WatchedContainer* ended_last(std::span<const WatchedContainer> containers) {
  const WatchedContainer* out = nullptr;
  for (const auto& one : containers) {
    if (one.listed.state == "running") return nullptr;
    if (!has_ended(one)) continue;
    if (out == nullptr || out->details.finished < one.details.finished) out = &one;
  }
  return out;
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
  // Somebody wanted another run, which did not come about: whoever asked for the end of the one
  // before did not ask for that.
  if (std::ranges::any_of(containers,
                          [](const WatchedContainer& one) { return !one.details.error.empty(); }))
    out.instance += "+";
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

bool was_asked(const WatchedContainer& container, const AskedToEnd& asked) {
  // A signal that it survived says nothing of an end long after it.
  const auto is_why = [&](std::int64_t when) {
    const auto at = WallTime(std::chrono::duration_cast<Millis>(Nanos(when)));
    return at >= to_time(container.details.started) &&
           to_time(container.details.finished) < at + kEndsWithin;
  };
  if (!has_ended(container) || !container.details.error.empty()) return false;
  return is_why(asked.end) || (is_why(asked.other) && asked.signal != 0 &&
                               asked.signal == signal_of(container.details.stop_signal));
}

ContainerWatcher::ContainerWatcher(Clock& clock, const config::Config& config, Callback callback)
    : clock_(clock),
      section_(config.connections.docker),
      rootfs_(config.collect.rootfs),
      callback_(std::move(callback)),
      names_(names_of(config)),
      thread_(clock, "containers", [this] { return turn(); }) {}

ContainerWatcher::~ContainerWatcher() {
  stop();
}

void ContainerWatcher::stop() {
  thread_.stop();
  stream_.reset();  // its thread wakes ours
}

bool ContainerWatcher::has_work(const config::Config& config) {
  return !names_of(config).empty();
}

std::optional<std::string> ContainerWatcher::down(std::string_view service) const {
  const std::lock_guard guard(mutex_);
  const auto known = down_.find(service);
  return known == down_.end() ? "not known: not looked at yet" : known->second;
}

SteadyTime ContainerWatcher::turn() {
  if (clock_.steady() < not_before_) return not_before_;  // woken: it is looked soon
  const auto ok = look(clock_.steady() + section_.timeout);
  const auto now = clock_.steady();
  not_before_ = now + kPause;
  if (ok) {
    away_ = false;
    return now + (stream_->is_open() ? kLook : kAskAgain);
  }
  if (!std::exchange(away_, true))
    log::warning("agent", "watched containers: {}", ok.error().message());
  return now + kAskAgain;
}

void ContainerWatcher::open_stream(const std::string& socket) {
  const auto now = clock_.steady();
  if (!stream_)
    stream_.emplace(
        socket, clock_.wall(), [this](const drivers::DockerEvent& event) { note(event); },
        [this] { thread_.wake(); });
  // One that ends at once is not opened as often as its end wakes us.
  if (stream_->is_open() || now < reopen_) return;
  reopen_ = now + kAskAgain;
  stream_->reopen();
}

Status ContainerWatcher::look(SteadyTime deadline) {
  const auto unknown = [this](const Error& why) {
    for (const auto& [name, watched] : names_) learn(name, std::string(kNoAnswer));
    return std::unexpected(why);
  };
  auto socket = drivers::engine_socket(section_, rootfs_);
  if (!socket) return unknown(socket.error());
  const drivers::Docker engine(clock_, *std::move(socket));
  // Before the list is asked for: what happens from here on is told.
  open_stream(engine.socket());
  auto listed = engine.containers(deadline, kMostContainers);
  if (!listed) return unknown(listed.error());
  // All are known before one is told of: what is done about it asks for the others.
  Status ok;
  std::vector<Seen> seen;
  std::set<std::string, std::less<>> ids;
  for (const auto& [service, watched] : names_) {
    auto found =
        containers_named(config::parse_service_name(service).name, *listed, engine, deadline);
    if (!found) {
      learn(service, std::string(kNoAnswer));
      ok = propagate(std::move(found));
      continue;
    }
    for (const auto& one : *found) ids.insert(one.listed.id);
    Seen one{.containers = *std::move(found), .event = {}};
    one.event = container_event(service, one.containers);
    one.event.received = clock_.steady();
    learn(service, why_down(one.event));
    if (watched) seen.push_back(std::move(one));
  }
  if (ok) {
    const std::lock_guard guard(mutex_);
    ids_ = std::move(ids);
  }
  const bool asked = ask_who_wanted(seen, engine, deadline);
  for (auto& one : seen) {
    const bool wanted =
        one.event.state == "failed" && (is_known_wanted(one.containers) || was_told_wanted(one));
    // The stream may bring it until the next look.
    if (!asked && !wanted && is_news(one)) continue;
    tell({.event = std::move(one.event), .asked = wanted});
  }
  if (ok && !asked) return fail(Errc::kUnavailable, "the engine does not tell what happened");
  return ok;
}

bool ContainerWatcher::is_news(const Seen& seen) const {
  if (seen.event.state != "failed") return false;
  const auto known = last_.find(seen.event.service);
  return known == last_.end() || !is_same(known->second.event, seen.event);
}

bool ContainerWatcher::was_told_wanted(const Seen& seen) const {
  const auto known = last_.find(seen.event.service);
  return known != last_.end() && known->second.asked && is_same(known->second.event, seen.event);
}

/// The list may be newer than what has come over the stream: before something is told to have
/// failed, the engine is asked what it knows, once for all. False: it did not answer, and those
/// that have failed wait for another look; only one, for an engine that never answers this is no
/// reason to be silent.
bool ContainerWatcher::ask_who_wanted(std::span<const Seen> seen, const drivers::Docker& engine,
                                      SteadyTime deadline) {
  auto since = WallTime::max();
  for (const auto& one : seen) {
    if (!is_news(one) || is_known_wanted(one.containers)) continue;
    if (const auto* last = ended_last(one.containers))
      since = std::min(since, to_time(last->details.finished));
  }
  if (since == WallTime::max()) return true;
  const auto now = clock_.wall();
  since = std::max(std::min(since, now), now - kLookBack) - kEndsWithin;
  auto past = drivers::past_events(engine, R"({"type":["container"],"event":["kill","stop"]})",
                                   since, now, deadline);
  if (!past) {
    log::warning("agent", "watched containers: who was asked to end: {}", past.error().message());
    return std::exchange(blind_, !blind_);
  }
  blind_ = false;
  for (const auto& event : *past) note_asked(event);
  return true;
}

bool ContainerWatcher::is_known_wanted(std::span<const WatchedContainer> found) const {
  const auto* last = ended_last(found);
  if (last == nullptr) return false;
  const std::lock_guard guard(mutex_);
  const auto known = asked_.find(last->listed.id);
  return known != asked_.end() && was_asked(*last, known->second);
}

void ContainerWatcher::note_asked(const drivers::DockerEvent& event) {
  const bool kills = event.action == "kill";
  if (event.type != "container" || (!kills && event.action != "stop")) return;
  const std::lock_guard guard(mutex_);
  if (asked_.size() >= kMostAsked && !asked_.contains(event.id))
    asked_.erase(std::ranges::min_element(
        asked_, {}, [](const auto& one) { return std::max(one.second.end, one.second.other); }));
  auto& asked = asked_[event.id];
  if (!kills || always_ends(event.signal)) {
    asked.end = std::max(asked.end, event.time);
  } else if (event.time >= asked.other) {
    asked.other = event.time;
    asked.signal = signal_of(event.signal);
  }
}

bool ContainerWatcher::is_ours(const drivers::DockerEvent& event) const {
  {
    const std::lock_guard guard(mutex_);
    if (ids_.contains(event.id)) return true;
  }
  const auto called = [this](std::string_view name) {
    return names_.contains(fmt::format("docker:{}", name));
  };
  return called(event.name) ||
         (!event.service.empty() && called(fmt::format("{}/{}", event.project, event.service)));
}

void ContainerWatcher::note(const drivers::DockerEvent& event) {
  // A health check that runs changes nothing; what it finds is an event of its own.
  if (event.type != "container" || event.action.starts_with("exec_") || !is_ours(event)) return;
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
