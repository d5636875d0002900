#include "nexus/drivers/docker_control.hpp"

#include <fmt/format.h>

#include "drivers/json.hpp"
#include "nexus/drivers/http_client.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr Millis kRemoveLimit = 30s;

std::string of(std::string_view id, std::string_view what) {
  return fmt::format("/containers/{}{}", url_encode(id), what);
}

/// The engine takes whole seconds.
std::string grace_of(std::optional<Millis> grace) {
  if (!grace) return {};
  return fmt::format("?t={}", std::chrono::ceil<std::chrono::seconds>(*grace).count());
}

Status done(Result<DockerAnswer> answer) {
  if (!answer) return propagate(std::move(answer));
  return {};
}

}  // namespace

Status DockerControl::start(std::string_view id, const EngineCall& call) const {
  return done(engine_.request("POST", of(id, "/start"), {}, call.deadline, {}, call.ended));
}

Status DockerControl::stop(std::string_view id, std::optional<Millis> grace,
                           const EngineCall& call) const {
  return done(engine_.request("POST", of(id, "/stop" + grace_of(grace)), {}, call.deadline, {},
                              call.ended));
}

Status DockerControl::restart(std::string_view id, std::optional<Millis> grace,
                              const EngineCall& call) const {
  return done(engine_.request("POST", of(id, "/restart" + grace_of(grace)), {}, call.deadline, {},
                              call.ended));
}

Status DockerControl::signal(std::string_view id, std::string_view name,
                             const EngineCall& call) const {
  return done(engine_.request("POST", of(id, "/kill?signal=" + url_encode(name)), {}, call.deadline,
                              {}, call.ended));
}

Status DockerControl::rename(std::string_view id, std::string_view name,
                             const EngineCall& call) const {
  return done(engine_.request("POST", of(id, "/rename?name=" + url_encode(name)), {}, call.deadline,
                              {}, call.ended));
}

Status DockerControl::remove(std::string_view id, bool force, const EngineCall& call) const {
  return done(engine_.request("DELETE", of(id, force ? "?force=true&v=false" : "?v=false"), {},
                              call.deadline, {}, call.ended));
}

Result<std::string> DockerControl::create(std::string_view name, const ContainerCopy& copy,
                                          const EngineCall& call) const {
  auto answer = engine_.request("POST", "/containers/create?name=" + url_encode(name), copy.create,
                                call.deadline, {}, call.ended);
  if (!answer) return propagate(std::move(answer));
  const auto value = parse_json(answer->body);
  std::string id = text_of(value ? member(&*value, "Id") : nullptr);
  if (id.empty())
    return fail(Errc::kCorrupt, "container engine at {}: a new container has no Id",
                engine_.socket());
  for (const auto& [network, body] : copy.networks) {
    json::object wish{{"Container", id}};
    if (auto config = parse_json(body)) wish["EndpointConfig"] = *std::move(config);
    auto joined = engine_.request("POST", fmt::format("/networks/{}/connect", url_encode(network)),
                                  json::serialize(wish), call.deadline, {}, call.ended);
    if (joined) continue;
    // Half a container is none; with a time of its own, for what ended the call may be that its
    // time was over.
    std::ignore = remove(id, true, {.deadline = call.deadline + kRemoveLimit});
    return propagate(std::move(joined), "join network {}", network);
  }
  return id;
}

Status DockerControl::update(std::string_view id, const ContainerLimits& limits,
                             const EngineCall& call) const {
  json::object body;
  const auto put = [&](std::string_view key, const std::optional<std::int64_t>& value) {
    if (value) body[key] = *value;
  };
  put("Memory", limits.memory);
  put("MemorySwap", limits.memory_swap);
  put("MemoryReservation", limits.memory_reservation);
  put("CpuShares", limits.cpu_shares);
  put("NanoCpus", limits.nano_cpus);
  put("PidsLimit", limits.pids);
  return done(engine_.request("POST", of(id, "/update"), json::serialize(body), call.deadline, {},
                              call.ended));
}

Result<std::string> DockerControl::inspect(std::string_view id, const EngineCall& call) const {
  auto answer = engine_.request("GET", of(id, "/json"), {}, call.deadline, {}, call.ended);
  if (!answer) return propagate(std::move(answer));
  return std::move(answer->body);
}

Result<std::string> DockerControl::image(std::string_view id, const EngineCall& call) const {
  auto answer = engine_.request("GET", fmt::format("/images/{}/json", url_encode(id)), {},
                                call.deadline, {}, call.ended);
  if (!answer) return propagate(std::move(answer));
  return std::move(answer->body);
}

Result<std::vector<DockerContainer>> DockerControl::labelled(const std::vector<std::string>& labels,
                                                             const EngineCall& call) const {
  json::array wanted;
  for (const auto& label : labels) wanted.emplace_back(label);
  const json::object filters{{"label", std::move(wanted)}};
  constexpr std::size_t kMost = 1000;
  return engine_.containers(call.deadline, kMost,
                            labels.empty() ? std::string() : json::serialize(filters));
}

}  // namespace nexus::drivers
