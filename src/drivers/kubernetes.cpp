#include "nexus/drivers/kubernetes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "drivers/json.hpp"
#include "drivers/kubernetes_list.hpp"
#include "drivers/kubernetes_objects.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::drivers {
namespace {

constexpr std::size_t kMostCauses = 5;  // of a refusal that are shown

/// What a status means to whoever runs the agent.
std::string_view in_words(unsigned status, std::string_view reason) {
  switch (status) {
    case 401:
      return "who asks is not known, the token or certificate is wrong or has expired";
    case 403:
      return "the account may not do this, a Role and its binding have to allow it";
    case 404:
      return "there is none of that name, or the server does not know the kind";
    case 409:
      return reason == "AlreadyExists" ? "it exists already" : "somebody else has changed it";
    case 410:
      return "what was read before is too old by now";
    case 422:
      return "the server holds it invalid";
    case 429:
      return "not now";
    default:
      return status >= 500 ? "the server failed" : "the server refused";
  }
}

/// "spec.replicas: must be ...", for each field that a refusal names.
std::string causes_of(const boost::json::value* details) {
  std::string out;
  const auto* causes = array_of(member(details, "causes"));
  if (causes == nullptr) return out;
  for (std::size_t i = 0; i < std::min(causes->size(), kMostCauses); ++i) {
    const auto* cause = &(*causes)[i];
    const auto field = text_of(member(cause, "field"));
    if (!field.empty()) out += fmt::format("; {}: {}", field, text_of(member(cause, "message")));
  }
  return out;
}

std::optional<Millis> retry_after(const HttpResponse& response) {
  for (const auto& [name, value] : response.headers) {
    if (name != "retry-after") continue;
    // The API gives seconds, never a date.
    if (const auto seconds = base::parse_uint(value); seconds && *seconds <= 86'400)
      return std::chrono::seconds(*seconds);
  }
  return std::nullopt;
}

template <typename T, typename Convert>
Result<KubernetesList<T>> list(const Kubernetes& api, const std::string& path,
                               const std::string& query, std::size_t limit, SteadyTime deadline,
                               Convert convert) {
  KubernetesList<T> out;
  auto whole = list_objects(
      api, path, query, limit, {deadline},
      [&](const boost::json::value& item) { out.items.push_back(convert(item)); },
      [&] { out.items.clear(); });
  if (!whole) return propagate(std::move(whole));
  out.left_out = whole->left_out;
  return out;
}

}  // namespace

Result<KubernetesReply> Kubernetes::send(const KubernetesCall& call) const {
  HttpRequest request;
  request.method = call.method;
  request.url = access_.server + call.path;
  request.body = call.json;
  request.max_body = call.largest_answer;
  request.tls = access_.tls;
  request.cancelled = call.cancelled;
  request.receive = call.receive;
  request.headers.emplace_back("Accept", "application/json");
  if (!call.json.empty()) request.headers.emplace_back("Content-Type", call.content_type);
  std::string token = access_.token.reveal();
  if (!access_.token_file.empty()) {
    auto text = host::read_file(access_.token_file);
    if (!text) return propagate(std::move(text), "token of the Kubernetes API");
    token = base::trim(*text);
  }
  if (!token.empty()) request.headers.emplace_back("Authorization", "Bearer " + token);
  request.timeout = std::chrono::duration_cast<Millis>(call.deadline - clock_.steady());
  if (request.timeout <= Millis(0))
    return fail(Errc::kTimeout, "{} {}: no time is left", call.method, request.url);
  auto response = http_request(request);
  if (!response) return propagate(std::move(response), "Kubernetes API");
  return KubernetesReply{response->status, std::move(response->body), retry_after(*response)};
}

Error Kubernetes::explain(const KubernetesCall& call, const KubernetesReply& reply) const {
  const auto value = parse_json(reply.body);
  const auto* status = value ? &*value : nullptr;
  const std::string wait =
      reply.retry_after
          ? fmt::format(", to be asked again after {}", base::format_duration(*reply.retry_after))
          : "";
  return {
      errc_of_status(reply.status),
      fmt::format("Kubernetes API: {} {}{}: {}{}: {}{} (status {})", call.method, access_.server,
                  call.path, in_words(reply.status, text_of(member(status, "reason"))), wait,
                  message_of(reply.body, {"message"}), causes_of(member(status, "details")),
                  reply.status)};
}

Result<KubernetesAnswer> Kubernetes::request(std::string_view method, std::string_view path,
                                             std::string_view body, SteadyTime deadline,
                                             std::string_view content_type) const {
  const KubernetesCall call{.method = method,
                            .path = std::string(path),
                            .json = std::string(body),
                            .content_type = content_type,
                            .deadline = deadline};
  auto reply = send(call);
  if (!reply) return propagate(std::move(reply));
  if (reply->status >= 400 || reply->status < 200) return std::unexpected(explain(call, *reply));
  return KubernetesAnswer{reply->status, std::move(reply->body)};
}

Result<KubernetesList<KubernetesNode>> Kubernetes::nodes(std::string_view name, std::size_t limit,
                                                         SteadyTime deadline) const {
  return list<KubernetesNode>(*this, "/api/v1/nodes", selecting("metadata.name", name), limit,
                              deadline, to_node);
}

Result<KubernetesList<KubernetesPod>> Kubernetes::pods(std::string_view name_space,
                                                       std::string_view node, std::size_t limit,
                                                       SteadyTime deadline) const {
  return list<KubernetesPod>(*this, collection("/api/v1", name_space, "pods"),
                             selecting("spec.nodeName", node), limit, deadline, to_pod);
}

Result<KubernetesList<KubernetesDeployment>> Kubernetes::deployments(std::string_view name_space,
                                                                     std::size_t limit,
                                                                     SteadyTime deadline) const {
  return list<KubernetesDeployment>(*this, collection("/apis/apps/v1", name_space, "deployments"),
                                    {}, limit, deadline, to_deployment);
}

Result<KubernetesList<KubernetesEvent>> Kubernetes::warnings(std::string_view name_space,
                                                             std::size_t limit,
                                                             SteadyTime deadline) const {
  return list<KubernetesEvent>(*this, collection("/api/v1", name_space, "events"),
                               selecting("type", "Warning"), limit, deadline, to_event);
}

}  // namespace nexus::drivers
