#include "nexus/drivers/docker.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "drivers/json.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/http_client.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;

constexpr std::size_t kMostEvents = 4U << 20;  // bytes
constexpr std::size_t kShownBody = 200;

Errc classify(unsigned status) {
  switch (status) {
    case 400:
      return Errc::kInvalidArgument;
    case 401:
    case 403:
      return Errc::kPermissionDenied;
    case 404:
      return Errc::kNotFound;
    case 409:
      return Errc::kConflict;
    case 429:
      return Errc::kExhausted;
    case 501:
      return Errc::kUnsupported;
    case 503:
      return Errc::kUnavailable;
    default:
      return status >= 500 ? Errc::kInternal : Errc::kInvalidArgument;
  }
}

std::string message_of(const std::string& body) {
  if (const auto value = parse_json(body)) {
    for (const auto* name : {"message", "cause"}) {
      if (auto text = text_of(member(&*value, name)); !text.empty()) return text;
    }
  }
  return base::sanitize_utf8(std::string_view(body).substr(0, kShownBody));
}

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

DockerEvent to_event(const json::value& value) {
  DockerEvent out;
  out.time = whole_of<std::int64_t>(member(&value, "timeNano"));
  out.type = text_of(member(&value, "Type"));
  const std::string action = text_of(member(&value, "Action"));
  std::string_view rest = action;  // "exec_start: sh -c ...": what follows is other people's
  out.action = base::trim(base::take_until(rest, ':'));
  const auto* actor = member(&value, "Actor");
  out.id = text_of(member(actor, "ID"));
  out.name = text_of(member(member(actor, "Attributes"), "name"));
  return out;
}

}  // namespace

Result<DockerAnswer> Docker::request(std::string_view method, std::string_view path,
                                     std::string_view body, SteadyTime deadline,
                                     std::size_t max_body) const {
  HttpRequest request;
  request.method = method;
  request.url = fmt::format("http://engine{}", path);
  request.unix_socket = socket_;
  request.body = body;
  request.max_body = max_body;
  if (!body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  request.timeout = std::chrono::duration_cast<Millis>(deadline - clock_.steady());
  if (request.timeout <= Millis(0))
    return fail(Errc::kTimeout, "container engine at {}: {} {}: no time is left", socket_, method,
                path);
  auto response = http_request(request);
  if (!response) return propagate(std::move(response), "container engine at {}", socket_);
  if (response->status >= 400 || response->status < 200)
    return fail(classify(response->status), "container engine at {}: {} {}: {} (status {})",
                socket_, method, path, message_of(response->body), response->status);
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

Result<std::vector<DockerContainer>> Docker::containers(SteadyTime deadline,
                                                        std::size_t limit) const {
  auto answer =
      request("GET", fmt::format("/containers/json?all=true&limit={}", limit), {}, deadline);
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

Result<std::vector<DockerEvent>> Docker::events(std::int64_t since, std::int64_t until,
                                                SteadyTime deadline) const {
  // Docker ends by itself at `until`; Podman needs to be told not to stream.
  auto answer = request("GET", fmt::format("/events?since={}&until={}&stream=false", since, until),
                        {}, deadline, kMostEvents);
  if (!answer) return propagate(std::move(answer));
  std::vector<DockerEvent> out;
  for (std::string_view rest = answer->body; !rest.empty();) {
    const auto line = base::trim(base::take_until(rest, '\n'));
    if (line.empty()) continue;
    const auto value = parse_json(line);
    if (!value || !value->is_object())
      return fail(Errc::kCorrupt, "container engine at {}: a line of /events is no JSON object",
                  socket_);
    out.push_back(to_event(*value));
  }
  std::ranges::stable_sort(out, {}, &DockerEvent::time);
  return out;
}

}  // namespace nexus::drivers
