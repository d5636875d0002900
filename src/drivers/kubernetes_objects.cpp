#include "drivers/kubernetes_objects.hpp"

#include <algorithm>
#include <array>

#include "nexus/base/text.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;

std::optional<double> time_of(const json::value* value) {
  const auto time = base::parse_time(text_of(value));
  if (!time) return std::nullopt;
  return static_cast<double>(base::to_unix_millis(*time)) / 1000;
}

KubernetesQuantities quantities(const json::value* value) {
  KubernetesQuantities out;
  if (value == nullptr || !value->is_object()) return out;
  for (const auto& one : value->get_object()) {
    const auto number = one.value().is_string() ? parse_quantity(text_of(&one.value()))
                                                : std::optional(number_of(&one.value()));
    if (number) out.emplace(std::string(one.key()), *number);
  }
  return out;
}

/// `what` of each condition: its "status", or its "reason".
std::map<std::string, std::string, std::less<>> conditions(const json::value* status,
                                                           std::string_view what = "status") {
  std::map<std::string, std::string, std::less<>> out;
  if (const auto* list = array_of(member(status, "conditions"))) {
    for (const auto& one : *list)
      out.insert_or_assign(text_of(member(&one, "type")), text_of(member(&one, what)));
  }
  out.erase("");
  return out;
}

/// Status of the containers of a pod, with what its spec says of each.
void add_containers(const json::value* spec, const json::value* status, KubernetesPod& pod) {
  if (const auto* list = array_of(member(spec, "containers"))) {
    for (const auto& one : *list) {
      KubernetesContainer container;
      container.name = text_of(member(&one, "name"));
      container.image = container.image_spec = text_of(member(&one, "image"));
      const auto* resources = member(&one, "resources");
      container.requests = quantities(member(resources, "requests"));
      container.limits = quantities(member(resources, "limits"));
      pod.containers.push_back(std::move(container));
    }
  }
  const auto* list = array_of(member(status, "containerStatuses"));
  if (list == nullptr) return;
  for (const auto& one : *list) {
    const std::string name = text_of(member(&one, "name"));
    auto found = std::ranges::find(pod.containers, name, &KubernetesContainer::name);
    if (found == pod.containers.end()) {
      pod.containers.push_back({});
      found = pod.containers.end() - 1;
      found->name = name;
    }
    found->image = text_of(member(&one, "image"));
    found->image_id = text_of(member(&one, "imageID"));
    found->full_id = text_of(member(&one, "containerID"));
    const auto scheme = found->full_id.find("://");
    found->id = scheme == std::string::npos ? found->full_id : found->full_id.substr(scheme + 3);
    found->ready = is_true(member(&one, "ready"));
    found->restarts = whole_of<std::uint64_t>(member(&one, "restartCount"));
    for (const auto* state : {"waiting", "running", "terminated"}) {
      const auto* details = member(member(&one, "state"), state);
      if (details == nullptr) continue;
      found->state = state;
      found->reason = text_of(member(details, "reason"));
      found->started = time_of(member(details, "startedAt"));
    }
    found->last_terminated_reason =
        text_of(member(member(member(&one, "lastState"), "terminated"), "reason"));
  }
}

}  // namespace

std::optional<double> parse_quantity(std::string_view text) {
  struct Suffix {
    std::string_view text;
    double factor;
  };
  static constexpr std::array kSuffixes = {
      Suffix{"Ki", 1024.0},
      Suffix{"Mi", 1048576.0},
      Suffix{"Gi", 1073741824.0},
      Suffix{"Ti", 1099511627776.0},
      Suffix{"Pi", 1125899906842624.0},
      Suffix{"Ei", 1152921504606846976.0},
      Suffix{"n", 1e-9},
      Suffix{"u", 1e-6},
      Suffix{"m", 1e-3},
      Suffix{"k", 1e3},
      Suffix{"M", 1e6},
      Suffix{"G", 1e9},
      Suffix{"T", 1e12},
      Suffix{"P", 1e15},
      Suffix{"E", 1e18},
  };
  if (text.empty() || (text.front() > '9' || text.front() < '+')) return std::nullopt;
  for (const auto& suffix : kSuffixes) {
    if (!text.ends_with(suffix.text)) continue;
    const auto number = base::parse_double(text.substr(0, text.size() - suffix.text.size()));
    return number ? std::optional(*number * suffix.factor) : std::nullopt;
  }
  return base::parse_double(text);
}

KubernetesNode to_node(const json::value& item) {
  KubernetesNode out;
  const auto* metadata = member(&item, "metadata");
  const auto* status = member(&item, "status");
  const auto* info = member(status, "nodeInfo");
  out.name = text_of(member(metadata, "name"));
  out.created = time_of(member(metadata, "creationTimestamp")).value_or(0);
  const auto* spec = member(&item, "spec");
  out.unschedulable = is_true(member(spec, "unschedulable"));
  out.conditions = conditions(status);
  out.capacity = quantities(member(status, "capacity"));
  out.allocatable = quantities(member(status, "allocatable"));
  out.kubelet_version = text_of(member(info, "kubeletVersion"));
  out.kernel_version = text_of(member(info, "kernelVersion"));
  out.os_image = text_of(member(info, "osImage"));
  out.runtime_version = text_of(member(info, "containerRuntimeVersion"));
  out.kube_proxy_version = text_of(member(info, "kubeProxyVersion"));
  out.system_uuid = text_of(member(info, "systemUUID"));
  out.pod_cidr = text_of(member(spec, "podCIDR"));
  out.provider_id = text_of(member(spec, "providerID"));
  if (const auto* taints = array_of(member(spec, "taints"))) {
    for (const auto& one : *taints)
      out.taints.push_back({text_of(member(&one, "key")), text_of(member(&one, "value")),
                            text_of(member(&one, "effect"))});
  }
  constexpr std::string_view kRole = "node-role.kubernetes.io/";
  if (const auto* labels = member(metadata, "labels"); labels != nullptr && labels->is_object()) {
    for (const auto& one : labels->get_object()) {
      const std::string_view key(one.key());
      if (key.starts_with(kRole)) out.roles.emplace_back(key.substr(kRole.size()));
    }
  }
  if (const auto* addresses = array_of(member(status, "addresses"))) {
    for (const auto& one : *addresses) {
      if (text_of(member(&one, "type")) == "InternalIP")
        out.internal_ip = text_of(member(&one, "address"));
    }
  }
  return out;
}

KubernetesPod to_pod(const json::value& item) {
  KubernetesPod out;
  const auto* metadata = member(&item, "metadata");
  const auto* spec = member(&item, "spec");
  const auto* status = member(&item, "status");
  out.name_space = text_of(member(metadata, "namespace"));
  out.name = text_of(member(metadata, "name"));
  out.uid = text_of(member(metadata, "uid"));
  out.created = time_of(member(metadata, "creationTimestamp")).value_or(0);
  if (const auto* owners = array_of(member(metadata, "ownerReferences"))) {
    for (const auto& one : *owners) {
      if (!is_true(member(&one, "controller")) && !out.owner_kind.empty()) continue;
      out.owner_is_controller = is_true(member(&one, "controller"));
      out.owner_kind = text_of(member(&one, "kind"));
      out.owner_name = text_of(member(&one, "name"));
    }
  }
  out.node = text_of(member(spec, "nodeName"));
  out.priority_class = text_of(member(spec, "priorityClassName"));
  out.host_network = is_true(member(spec, "hostNetwork"));
  out.phase = text_of(member(status, "phase"));
  out.reason = text_of(member(status, "reason"));
  out.host_ip = text_of(member(status, "hostIP"));
  out.pod_ip = text_of(member(status, "podIP"));
  out.qos = text_of(member(status, "qosClass"));
  out.started = time_of(member(status, "startTime"));
  const auto told = conditions(status);
  const auto condition = [&](std::string_view name) {
    const auto found = told.find(name);
    return found == told.end() ? std::string() : found->second;
  };
  out.ready = condition("Ready");
  out.scheduled = condition("PodScheduled");
  add_containers(spec, status, out);
  return out;
}

KubernetesDeployment to_deployment(const json::value& item) {
  KubernetesDeployment out;
  const auto* metadata = member(&item, "metadata");
  const auto* spec = member(&item, "spec");
  const auto* status = member(&item, "status");
  out.name_space = text_of(member(metadata, "namespace"));
  out.name = text_of(member(metadata, "name"));
  out.created = time_of(member(metadata, "creationTimestamp")).value_or(0);
  out.generation = whole_of<std::uint64_t>(member(metadata, "generation"));
  if (member(spec, "replicas") != nullptr)
    out.wanted = whole_of<std::uint32_t>(member(spec, "replicas"));
  out.paused = is_true(member(spec, "paused"));
  out.observed_generation = whole_of<std::uint64_t>(member(status, "observedGeneration"));
  out.replicas = whole_of<std::uint32_t>(member(status, "replicas"));
  out.ready = whole_of<std::uint32_t>(member(status, "readyReplicas"));
  out.available = whole_of<std::uint32_t>(member(status, "availableReplicas"));
  out.unavailable = whole_of<std::uint32_t>(member(status, "unavailableReplicas"));
  out.updated = whole_of<std::uint32_t>(member(status, "updatedReplicas"));
  out.conditions = conditions(status);
  out.reasons = conditions(status, "reason");
  return out;
}

KubernetesEvent to_event(const json::value& item) {
  KubernetesEvent out;
  const auto* metadata = member(&item, "metadata");
  const auto* about = member(&item, "involvedObject");
  out.uid = text_of(member(metadata, "uid"));
  out.type = text_of(member(&item, "type"));
  out.reason = text_of(member(&item, "reason"));
  out.name_space = text_of(member(about, "namespace"));
  out.kind = text_of(member(about, "kind"));
  out.name = text_of(member(about, "name"));
  // Events of the newer kind count in a series and have an eventTime.
  const auto* series = member(&item, "series");
  out.count = std::max<std::uint64_t>({1, whole_of<std::uint64_t>(member(&item, "count")),
                                       whole_of<std::uint64_t>(member(series, "count"))});
  for (const auto* time : {member(series, "lastObservedTime"), member(&item, "lastTimestamp"),
                           member(&item, "eventTime"), member(metadata, "creationTimestamp")}) {
    if (const auto seconds = time_of(time); seconds && out.last == 0) out.last = *seconds;
  }
  return out;
}

}  // namespace nexus::drivers
