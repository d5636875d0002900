#include "nexus/drivers/docker.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "drivers/json.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/connections.hpp"
#include "nexus/drivers/http_client.hpp"
#include "nexus/host/roots.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxBody = 16U << 20;

/// The zero of Docker is the year 1.
std::optional<double> time_of(const json::value* value) {
  const std::string text = text_of(value);
  if (text.empty() || text.starts_with("0001-")) return std::nullopt;
  const auto time = base::parse_time(text);
  if (!time) return std::nullopt;
  return static_cast<double>(base::to_unix_millis(*time)) / 1000;
}

DockerContainer to_container(const json::value& value) {
  DockerContainer out;
  out.id = text_of(member(&value, "Id"));
  // Names of links to it have more than one slash; its own has one, in front.
  if (const auto* names = array_of(member(&value, "Names"))) {
    for (const auto& one : *names) {
      std::string name = text_of(&one);
      if (name.starts_with('/')) name.erase(0, 1);
      if (!name.contains('/')) out.name = std::move(name);
    }
  }
  out.image = text_of(member(&value, "Image"));
  out.image_id = text_of(member(&value, "ImageID"));
  out.state = text_of(member(&value, "State"));
  out.status = text_of(member(&value, "Status"));
  out.created = number_of(member(&value, "Created"));
  if (const auto* labels = member(&value, "Labels"); labels != nullptr && labels->is_object()) {
    for (const auto& label : labels->get_object())
      out.labels.emplace(std::string(label.key()), text_of(&label.value()));
  }
  return out;
}

}  // namespace

Result<std::string> engine_socket(const config::DockerSection& section, const std::string& rootfs) {
  if (!section.enabled) return fail(Errc::kNotFound, "[docker] is switched off");
  if (!section.socket.empty()) return section.socket;
  host::Roots roots;
  roots.rootfs = rootfs;
  auto own = roots.root("/run/docker.sock");
  if (::access(own.c_str(), F_OK) != 0 ||
      ::access(roots.root("/run/docker.pid").c_str(), F_OK) != 0)
    return fail(Errc::kNotFound, "no Docker engine runs here, and [docker] names no socket");
  return own;
}

Result<DockerAnswer> Docker::request(std::string_view method, std::string_view path,
                                     std::string_view body, SteadyTime deadline,
                                     std::optional<std::size_t> max_body,
                                     const std::function<bool()>& ended) const {
  HttpRequest request;
  request.method = method;
  request.url = fmt::format("http://engine{}", path);
  request.unix_socket = socket_;
  request.body = body;
  request.max_body = max_body.value_or(kMaxBody);
  request.cancelled = ended;
  if (!body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  request.timeout = std::chrono::duration_cast<Millis>(deadline - clock_.steady());
  if (request.timeout <= Millis(0))
    return fail(Errc::kTimeout, "container engine at {}: {} {}: no time is left", socket_, method,
                path);
  auto response = http_request(request);
  if (!response) return propagate(std::move(response), "container engine at {}", socket_);
  if (response->status >= 400 || response->status < 200)
    return fail(errc_of_status(response->status), "container engine at {}: {} {}: {} (status {})",
                socket_, method, path, message_of(response->body, {"message", "cause"}),
                response->status);
  return DockerAnswer{response->status, std::move(response->body)};
}

Result<DockerEngine> Docker::engine(SteadyTime deadline) const {
  auto info = request("GET", "/info", {}, deadline);
  if (!info) return propagate(std::move(info));
  auto version = request("GET", "/version", {}, deadline);
  if (!version) return propagate(std::move(version));
  const auto about = parse_json(info->body);
  const auto numbers = parse_json(version->body);
  if (!about || !numbers || !about->is_object() || !numbers->is_object())
    return fail(Errc::kCorrupt, "container engine at {}: /info or /version is no JSON object",
                socket_);
  DockerEngine out;
  out.name = text_of(member(&*about, "Name"));
  out.version = text_of(member(&*numbers, "Version"));
  out.api_version = text_of(member(&*numbers, "ApiVersion"));
  out.operating_system = text_of(member(&*about, "OperatingSystem"));
  out.kernel = text_of(member(&*about, "KernelVersion"));
  out.storage_driver = text_of(member(&*about, "Driver"));
  out.cgroup_version = text_of(member(&*about, "CgroupVersion"));
  out.cpus = whole_of<std::uint32_t>(member(&*about, "NCPU"));
  out.memory = whole_of<std::uint64_t>(member(&*about, "MemTotal"));
  out.running = whole_of<std::uint32_t>(member(&*about, "ContainersRunning"));
  out.paused = whole_of<std::uint32_t>(member(&*about, "ContainersPaused"));
  out.stopped = whole_of<std::uint32_t>(member(&*about, "ContainersStopped"));
  out.images = whole_of<std::uint32_t>(member(&*about, "Images"));
  return out;
}

Result<std::vector<DockerContainer>> Docker::containers(SteadyTime deadline, std::size_t limit,
                                                        std::string_view filters) const {
  auto path = fmt::format("/containers/json?all=true&limit={}", limit);
  if (!filters.empty()) path += "&filters=" + url_encode(filters);
  auto answer = request("GET", path, {}, deadline);
  if (!answer) return propagate(std::move(answer));
  const auto value = parse_json(answer->body);
  const auto* list = value ? array_of(&*value) : nullptr;
  if (list == nullptr)
    return fail(Errc::kCorrupt, "container engine at {}: /containers/json is no JSON array",
                socket_);
  std::vector<DockerContainer> out;
  for (const auto& one : *list) {
    if (out.size() >= limit) break;
    DockerContainer container = to_container(one);
    if (!container.id.empty()) out.push_back(std::move(container));
  }
  return out;
}

Result<DockerDetails> Docker::inspect(std::string_view id, SteadyTime deadline) const {
  auto answer = request("GET", fmt::format("/containers/{}/json", url_encode(id)), {}, deadline);
  if (!answer) return propagate(std::move(answer));
  const auto value = parse_json(answer->body);
  const auto* state = value ? member(&*value, "State") : nullptr;
  if (state == nullptr)
    return fail(Errc::kCorrupt, "container engine at {}: container {} has no State", socket_, id);
  DockerDetails out;
  out.state = text_of(member(state, "Status"));
  const auto* health = member(state, "Health");
  out.health = text_of(member(health, "Status"));
  if (out.health == "none") out.health.clear();
  out.failing_streak = whole_of<std::uint32_t>(member(health, "FailingStreak"));
  out.restarts = whole_of<std::uint64_t>(member(&*value, "RestartCount"));
  out.exit_code = whole_of<std::int64_t>(member(state, "ExitCode"));
  out.oom_killed = is_true(member(state, "OOMKilled"));
  out.pid = whole_of<std::int32_t>(member(state, "Pid"));
  out.started = time_of(member(state, "StartedAt"));
  out.finished = time_of(member(state, "FinishedAt"));
  out.error = text_of(member(state, "Error"));
  out.stop_signal = text_of(member(member(&*value, "Config"), "StopSignal"));
  out.restart_policy =
      text_of(member(member(member(&*value, "HostConfig"), "RestartPolicy"), "Name"));
  return out;
}

Result<DockerImages> Docker::images(SteadyTime deadline) const {
  auto answer = request("GET", "/images/json", {}, deadline);
  if (!answer) return propagate(std::move(answer));
  const auto value = parse_json(answer->body);
  const auto* list = value ? array_of(&*value) : nullptr;
  if (list == nullptr)
    return fail(Errc::kCorrupt, "container engine at {}: /images/json is no JSON array", socket_);
  DockerImages out;
  for (const auto& one : *list) {
    ++out.count;
    out.bytes += number_of(member(&one, "Size"));
    const auto* tags = array_of(member(&one, "RepoTags"));
    const bool named = tags != nullptr && std::ranges::any_of(*tags, [](const json::value& tag) {
                         return text_of(&tag) != "<none>:<none>";
                       });
    if (!named) ++out.unused_tags;
  }
  return out;
}

}  // namespace nexus::drivers
