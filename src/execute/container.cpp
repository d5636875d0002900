#include "execute/container.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/json.hpp>

#include <algorithm>
#include <array>

#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/roots.hpp"
#include "nexus/plan/planner.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;

constexpr std::size_t kIdLength = 64;
constexpr std::size_t kShortId = 12;

const json::value* at(const json::value* value, std::string_view key) {
  return value != nullptr && value->is_object() ? value->get_object().if_contains(key) : nullptr;
}

std::string text(const json::value* value) {
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

template <typename T>
T whole(const json::value* value) {
  boost::system::error_code error;
  const auto number = value != nullptr ? value->to_number<T>(error) : T{};
  return error ? T{} : number;
}

bool is_word(std::string_view name) {
  return !name.empty() && name.size() <= 255 && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-';
  });
}

Container container_from(const json::value& value) {
  Container out;
  out.id = text(at(&value, "Id"));
  out.name = text(at(&value, "Name"));
  if (out.name.starts_with('/')) out.name.erase(0, 1);
  out.created = text(at(&value, "Created"));
  const auto* config = at(&value, "Config");
  out.image = text(at(config, "Image"));
  out.image_id = text(at(&value, "Image"));
  const auto* state = at(&value, "State");
  out.state = text(at(state, "Status"));
  out.health = text(at(at(state, "Health"), "Status"));
  if (out.health == "none") out.health.clear();
  out.started = text(at(state, "StartedAt"));
  out.finished = text(at(state, "FinishedAt"));
  out.exit_code = whole<std::int64_t>(at(state, "ExitCode"));
  out.pid = whole<std::uint32_t>(at(state, "Pid"));
  out.restarts = whole<std::uint64_t>(at(&value, "RestartCount"));
  if (const auto* labels = at(config, "Labels"); labels != nullptr && labels->is_object()) {
    for (const auto& label : labels->get_object())
      out.labels.emplace(std::string(label.key()), text(&label.value()));
  }
  return out;
}

/// The first run of 64 hexadecimal digits.
std::string id_in(std::string_view line) {
  std::size_t length = 0;
  for (std::size_t i = 0; i <= line.size(); ++i) {
    const bool digit = i < line.size() &&
                       ((line[i] >= '0' && line[i] <= '9') || (line[i] >= 'a' && line[i] <= 'f'));
    if (digit) {
      ++length;
      continue;
    }
    if (length == kIdLength) return std::string(line.substr(i - length, length));
    length = 0;
  }
  return {};
}

/// The process at the other end of the engine's socket; 0: it cannot be told.
pid_t engine_pid(const std::string& socket) {
  sockaddr_un address{};
  if (socket.size() >= sizeof address.sun_path) return 0;
  address.sun_family = AF_UNIX;
  socket.copy(address.sun_path, socket.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return 0;
  ucred peer{};
  socklen_t size = sizeof peer;
  const bool known =
      ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
  ::close(fd);
  return known ? peer.pid : 0;
}

ServiceCondition condition_of(const Container& container) {
  if (container.state == "running") {
    if (container.health == "unhealthy") return ServiceCondition::kFailed;
    return container.health == "starting" ? ServiceCondition::kChanging : ServiceCondition::kUp;
  }
  if (container.state == "restarting" || container.state == "removing")
    return ServiceCondition::kChanging;
  if (container.state == "dead") return ServiceCondition::kFailed;
  if (container.state == "exited")
    return container.exit_code == 0 ? ServiceCondition::kDown : ServiceCondition::kFailed;
  if (container.state == "created" || container.state == "paused") return ServiceCondition::kDown;
  return ServiceCondition::kUnknown;
}

/// Whether it was made to share a namespace of the other: "container:ID".
bool lives_in(const Container& guest, const Container& lender) {
  json::error_code error;
  const auto value = json::parse(guest.inspected, error);
  const auto* host = error ? nullptr : at(&value, "HostConfig");
  return std::ranges::any_of(std::array{"NetworkMode", "PidMode", "IpcMode"}, [&](const char* key) {
    constexpr std::string_view kPrefix = "container:";
    const auto said = text(at(host, key));
    std::string_view mode = said;
    if (!mode.starts_with(kPrefix)) return false;
    mode.remove_prefix(kPrefix.size());
    return mode == lender.name || (mode.size() >= kShortId && lender.id.starts_with(mode));
  });
}

}  // namespace

std::string container_of_pid(const std::string& pid) {
  const auto groups = host::read_file("/proc/" + pid + "/cgroup").value_or("");
  const auto mounts = host::read_file("/proc/" + pid + "/mountinfo").value_or("");
  return container_of_process(groups, mounts);
}

std::string container_of_process(std::string_view control_groups, std::string_view mounts) {
  if (auto id = id_in(control_groups); !id.empty()) return id;
  // In a control group namespace of its own it is the files that engines mount into it.
  while (!mounts.empty()) {
    const auto line = base::take_until(mounts, '\n');
    if (!line.contains("/containers/") && !line.contains("/overlay-containers/")) continue;
    if (!line.contains(" /etc/hostname ") && !line.contains(" /etc/resolv.conf ")) continue;
    if (auto id = id_in(line); !id.empty()) return id;
  }
  return {};
}

std::string Container::label(std::string_view key) const {
  const auto found = labels.find(key);
  return found == labels.end() ? std::string() : found->second;
}

std::int64_t Container::number() const {
  return base::parse_int(label(kComposeNumber)).value_or(0);
}

Result<drivers::DockerControl> engine_of(const config::Config& config, Clock& clock) {
  auto socket = drivers::engine_socket(config.connections.docker, config.collect.rootfs);
  if (!socket) return propagate(std::move(socket));
  return drivers::DockerControl(clock, *std::move(socket));
}

bool is_compose(std::string_view name) {
  return name.contains('/');
}

Status check_container_name(std::string_view name) {
  auto rest = name;
  const auto first = base::take_until(rest, '/');
  if (is_word(first) && (is_compose(name) ? is_word(rest) : rest.empty())) return {};
  return fail(Errc::kInvalidArgument,
              "\"docker:{}\": expected the name of a container, or PROJECT/SERVICE of Compose",
              name);
}

Result<Container> look_at(std::string_view id, const drivers::DockerControl& engine,
                          const drivers::EngineCall& call) {
  auto body = engine.inspect(id, call);
  if (!body) return propagate(std::move(body));
  json::error_code error;
  const auto value = json::parse(*body, error);
  if (error) return fail(Errc::kCorrupt, "container {}: the engine's answer is no JSON", id);
  auto out = container_from(value);
  if (out.id.empty()) return fail(Errc::kCorrupt, "container {} has no Id", id);
  out.inspected = *std::move(body);
  return out;
}

Result<std::vector<Container>> containers_of(const std::string& name,
                                             const drivers::DockerControl& engine,
                                             const drivers::EngineCall& call) {
  std::vector<Container> out;
  if (!is_compose(name)) {
    auto one = look_at(name, engine, call);
    if (!one) return propagate(std::move(one));
    out.push_back(*std::move(one));
    return out;
  }
  std::string_view rest = name;
  const auto project = base::take_until(rest, '/');
  auto found = engine.labelled(
      {fmt::format("{}={}", kComposeProject, project), fmt::format("{}={}", kComposeService, rest)},
      call);
  if (!found) return propagate(std::move(found));
  for (const auto& one : *found) {
    auto container = look_at(one.id, engine, call);
    if (!container && container.error().code() == Errc::kNotFound) continue;  // it has just gone
    if (!container) return propagate(std::move(container));
    if (container->label("com.docker.compose.oneoff") != "True" &&
        !container->name.ends_with(kOldSuffix))
      out.push_back(*std::move(container));
  }
  if (out.empty())
    return fail(Errc::kNotFound,
                "there is no container of Compose's service \"{}\" in project "
                "\"{}\"",
                rest, project);
  std::ranges::sort(out, {}, [](const Container& c) { return std::pair(c.number(), c.name); });
  return out;
}

std::string image_of(const Container& container, const drivers::DockerControl& engine,
                     const drivers::EngineCall& call) {
  const auto named = engine.image(container.image, call);
  json::error_code error;
  const auto value = named ? json::parse(*named, error) : json::value();
  const bool same = !error && text(at(&value, "Id")) == container.image_id;
  return same ? container.image : container.image_id;
}

std::string image_name(const std::string& id, std::string_view like,
                       const drivers::DockerControl& engine, const drivers::EngineCall& call) {
  const auto image = engine.image(id, call);
  json::error_code error;
  const auto value = image ? json::parse(*image, error) : json::value();
  const auto* tags = error ? nullptr : at(&value, "RepoTags");
  if (tags == nullptr || !tags->is_array()) return id;
  const auto repository = like.substr(0, like.rfind(':'));
  std::string out;
  for (const auto& tag : tags->get_array()) {
    const auto name = text(&tag);
    if (out.empty() || name.substr(0, name.rfind(':')) == repository) out = name;
  }
  return out.empty() ? id : out;
}

std::optional<std::string> container_protected(const Container& container,
                                               const std::string& socket,
                                               const config::Config& config) {
  if (container.id == container_of_pid("self"))
    return fmt::format("docker:{} is protected: this agent runs in it", container.name);
  if (const auto pid = engine_pid(socket);
      pid > 1 && container.id == container_of_pid(std::to_string(pid)))
    return fmt::format("docker:{} is protected: the container engine runs in it", container.name);
  if (!container.label("io.kubernetes.pod.uid").empty())
    return fmt::format(
        "docker:{} belongs to a pod: it is the kubelet's, and not the engine's, to "
        "start and stop it",
        container.name);
  if (!container.label("com.docker.swarm.task.id").empty())
    return fmt::format(
        "docker:{} is a task of Swarm: its managers start, stop and replace it, and not the engine",
        container.name);
  if (container.label("nexus-agent.protected") == "true")
    return fmt::format("docker:{} is protected by its label", container.name);
  const auto& extra = config.guardrails.protected_units;
  if (auto why = plan::protected_reason("restart_service", "docker:" + container.name, extra))
    return why;
  const auto project = container.label(kComposeProject);
  if (project.empty()) return std::nullopt;
  return plan::protected_reason(
      "restart_service", fmt::format("docker:{}/{}", project, container.label(kComposeService)),
      extra);
}

Status check_not_shared(const std::vector<Container>& containers,
                        const drivers::DockerControl& engine, const drivers::EngineCall& call) {
  auto all = engine.labelled({}, call);
  if (!all) return propagate(std::move(all));
  for (const auto& one : *all) {
    auto other = look_at(one.id, engine, call);
    if (!other && other.error().code() == Errc::kNotFound) continue;  // it has just gone
    if (!other) return propagate(std::move(other));
    for (const auto& lender : containers) {
      if (other->id != lender.id && lives_in(*other, lender))
        return fail(Errc::kConflict,
                    "docker:{} lives in a namespace of docker:{}, and would be left in a dead one",
                    other->name, lender.name);
    }
  }
  return {};
}

ServiceState state_of(const Container& container) {
  ServiceState out;
  out.name = "docker:" + container.name;
  out.kind = "docker";
  out.state = container.state;
  out.condition = condition_of(container);
  out.description = container.image;
  out.instance = container.id;
  out.main_pid = container.pid;
  out.restarts = container.restarts;
  if (const auto since = base::parse_time(container.started);
      since && !container.started.starts_with("0001-"))
    out.since = *since;
  if (!container.health.empty()) out.more.emplace("health", container.health);
  out.more.emplace("image_id", container.image_id);
  if (const auto project = container.label(kComposeProject); !project.empty())
    out.more.emplace("compose", project + "/" + container.label(kComposeService));
  if (!container.runs()) out.more.emplace("exit_code", std::to_string(container.exit_code));
  return out;
}

std::vector<ContainerBefore> containers_before(std::string_view evidence) {
  json::error_code error;
  const auto value = json::parse(evidence, error);
  const auto* list = error ? nullptr : at(&value, "containers");
  std::vector<ContainerBefore> out;
  if (list == nullptr || !list->is_array()) return out;
  for (const auto& one : list->get_array()) {
    const auto said = [&](std::string_view key) { return text(at(&one, key)); };
    out.push_back({.id = said("id"),
                   .name = said("name"),
                   .image_id = said("image_id"),
                   .state = said("state"),
                   .started = said("started")});
  }
  return out;
}

std::string container_evidence(const std::vector<Container>& containers) {
  json::array all;
  std::size_t running = 0;
  for (const auto& one : containers) {
    running += one.runs() ? 1 : 0;
    all.push_back({{"id", one.id},
                   {"name", one.name},
                   {"image", one.image},
                   {"image_id", one.image_id},
                   {"state", one.state},
                   {"health", one.health},
                   {"started", one.started},
                   {"restarts", one.restarts}});
  }
  return json::serialize(json::object{{"replicas", running}, {"containers", std::move(all)}});
}

}  // namespace nexus::execute
