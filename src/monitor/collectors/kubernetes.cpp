// kubernetes: nodes, pods, deployments and warnings of the Kubernetes API, under
// kube-state-metrics' names.
//
// Without all_nodes only what concerns this node is asked for: the node, its pods, and warnings
// about them; deployments and pods without a node are then nobody's here. What the API forbids
// (RBAC) fails that run and is left out for a while; the rest goes on. Warnings are counted from
// the start of the agent on.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "nexus/config/connections.hpp"
#include "nexus/config/load.hpp"
#include "nexus/drivers/kubernetes.hpp"
#include "nexus/monitor/observed.hpp"

namespace nexus::monitor {
namespace {

using namespace std::chrono_literals;
using drivers::Kubernetes;
using drivers::KubernetesContainer;
using drivers::KubernetesDeployment;
using drivers::KubernetesEvent;
using drivers::KubernetesNode;
using drivers::KubernetesPod;

constexpr Millis kRefusedPause = 5min;
constexpr std::size_t kMostReasons = 300;  // pairs of reason and kind

constexpr auto kGauge = MetricType::kGauge;
constexpr auto kCounter = MetricType::kCounter;
constexpr std::array kMetrics = {
    MetricDescriptor{"kubernetes_up", kGauge, "Whether the Kubernetes API answers in time"},
    MetricDescriptor{"kubernetes_objects_left_out", kGauge,
                     "Objects beyond max_pods or max_objects"},
    MetricDescriptor{"kubernetes_warnings_total", kCounter,
                     "Events of type Warning since the agent was started"},
    MetricDescriptor{"kube_node_info", kGauge, "Information about a cluster node."},
    MetricDescriptor{"kube_node_created", kGauge, "Unix creation timestamp"},
    MetricDescriptor{"kube_node_spec_unschedulable", kGauge,
                     "Whether a node can schedule new pods."},
    MetricDescriptor{"kube_node_role", kGauge, "The role of a cluster node."},
    MetricDescriptor{"kube_node_spec_taint", kGauge, "The taint of a cluster node."},
    MetricDescriptor{"kube_node_status_condition", kGauge, "The condition of a cluster node."},
    MetricDescriptor{"kube_node_status_capacity", kGauge,
                     "The total amount of resources available for a node."},
    MetricDescriptor{"kube_node_status_allocatable", kGauge,
                     "The amount of resources allocatable for pods."},
    MetricDescriptor{"kube_pod_info", kGauge, "Information about pod."},
    MetricDescriptor{"kube_pod_created", kGauge, "Unix creation timestamp"},
    MetricDescriptor{"kube_pod_start_time", kGauge, "Start time in unix timestamp for a pod."},
    MetricDescriptor{"kube_pod_owner", kGauge, "Information about the Pod's owner."},
    MetricDescriptor{"kube_pod_status_phase", kGauge, "The pods current phase."},
    MetricDescriptor{"kube_pod_status_qos_class", kGauge, "The pods current qosClass."},
    MetricDescriptor{"kube_pod_status_reason", kGauge, "The pod status reasons"},
    MetricDescriptor{"kube_pod_status_ready", kGauge,
                     "Describes whether the pod is ready to serve requests."},
    MetricDescriptor{"kube_pod_status_scheduled", kGauge,
                     "Describes the status of the scheduling process for the pod."},
    MetricDescriptor{"kube_pod_container_info", kGauge, "Information about a container in a pod."},
    MetricDescriptor{"kube_pod_container_state_started", kGauge,
                     "Start time in unix timestamp for a pod container."},
    MetricDescriptor{"kube_pod_container_status_ready", kGauge,
                     "Describes whether the containers readiness check succeeded."},
    MetricDescriptor{"kube_pod_container_status_running", kGauge,
                     "Describes whether the container is currently in running state."},
    MetricDescriptor{"kube_pod_container_status_waiting", kGauge,
                     "Describes whether the container is currently in waiting state."},
    MetricDescriptor{"kube_pod_container_status_terminated", kGauge,
                     "Describes whether the container is currently in terminated state."},
    MetricDescriptor{"kube_pod_container_status_waiting_reason", kGauge,
                     "Describes the reason the container is currently in waiting state."},
    MetricDescriptor{"kube_pod_container_status_terminated_reason", kGauge,
                     "Describes the reason the container is currently in terminated state."},
    MetricDescriptor{"kube_pod_container_status_last_terminated_reason", kGauge,
                     "Describes the last reason the container was in terminated state."},
    MetricDescriptor{"kube_pod_container_status_restarts_total", kCounter,
                     "The number of container restarts per container."},
    MetricDescriptor{"kube_pod_container_resource_requests", kGauge,
                     "The number of requested request resource by a container."},
    MetricDescriptor{"kube_pod_container_resource_limits", kGauge,
                     "The number of requested limit resource by a container."},
    MetricDescriptor{"kube_deployment_created", kGauge, "Unix creation timestamp"},
    MetricDescriptor{"kube_deployment_spec_replicas", kGauge,
                     "Number of desired pods for a deployment."},
    MetricDescriptor{"kube_deployment_spec_paused", kGauge,
                     "Whether the deployment is paused and will not be processed by the "
                     "deployment controller."},
    MetricDescriptor{"kube_deployment_status_replicas", kGauge,
                     "The number of replicas per deployment."},
    MetricDescriptor{"kube_deployment_status_replicas_ready", kGauge,
                     "The number of ready replicas per deployment."},
    MetricDescriptor{"kube_deployment_status_replicas_available", kGauge,
                     "The number of available replicas per deployment."},
    MetricDescriptor{"kube_deployment_status_replicas_unavailable", kGauge,
                     "The number of unavailable replicas per deployment."},
    MetricDescriptor{"kube_deployment_status_replicas_updated", kGauge,
                     "The number of updated replicas per deployment."},
    MetricDescriptor{"kube_deployment_status_observed_generation", kGauge,
                     "The generation observed by the deployment controller."},
    MetricDescriptor{"kube_deployment_metadata_generation", kGauge,
                     "Sequence number representing a specific generation of the desired state."},
    MetricDescriptor{"kube_deployment_status_condition", kGauge,
                     "The current status conditions of a deployment."},
};

/// The place of a metric in kMetrics, found while compiling.
consteval std::size_t at(std::string_view name) {
  for (std::size_t i = 0; i < kMetrics.size(); ++i) {
    if (kMetrics[i].name == name) return i;
  }
  throw "no metric of that name";
}

/// How kube-state-metrics names a resource, and its unit.
struct Resource {
  std::string name;
  std::string_view unit;
};
Resource resource_of(std::string_view name) {
  std::string plain(name);
  std::ranges::replace_if(
      plain,
      [](char c) {
        return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'));
      },
      '_');
  if (name == "cpu") return {std::move(plain), "core"};
  const bool bytes = name == "memory" || name == "storage" || name == "ephemeral-storage" ||
                     name.starts_with("hugepages-") || name.starts_with("attachable-volumes-bytes");
  return {std::move(plain), bytes ? "byte" : "integer"};
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return text;
}

class KubernetesCollector final : public Collector {
 public:
  KubernetesCollector(const CollectorContext& context, const config::KubernetesSection& section)
      : clock_(context.clock),
        observed_(context.observed),
        roots_(context.roots),
        section_(section),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto access = drivers::kubernetes_access(section_, roots_, config::process_environment);
    if (!access && section_.kubeconfig.empty()) return propagate(std::move(access));
    answered_ = false;
    Status status = access ? collect_from(sink, Kubernetes(clock_, *std::move(access)))
                           : Status(std::unexpected(access.error()));
    sink.add(families_[at("kubernetes_up")], answered_ ? 1 : 0);
    if (!status && status.error().code() == Errc::kNotFound)
      return fail(Errc::kUnavailable, "{}", status.error().message());
    return status;
  }

 private:
  enum Part : std::size_t { kNodes, kPods, kDeployments, kWarnings, kParts };

  Status collect_from(Sink& sink, const Kubernetes& api) {
    const SteadyTime deadline = clock_.steady() + section_.timeout;
    const std::string node = drivers::kubernetes_node(section_, roots_);
    if (!section_.all_nodes && node.empty())
      return fail(Errc::kInvalidArgument, "[kubernetes] node: the name of this host is not known");
    pods_.clear();
    Status first;
    const auto part = [&](Part which, auto&& list, auto&& add) {
      if (clock_.steady() < next_[which]) return;
      auto objects = list();
      if (!objects) {
        const Errc code = objects.error().code();
        if (code == Errc::kPermissionDenied && !is_unknown_caller(objects.error().message())) {
          next_[which] = clock_.steady() + kRefusedPause;
          answered_ = true;
        }
        if (first) first = propagate(std::move(objects));
        return;
      }
      answered_ = true;
      left_out_[which] = static_cast<double>(objects->left_out);
      for (const auto& one : objects->items) add(one);
    };
    part(
        kNodes,
        [&] { return api.nodes(section_.all_nodes ? "" : node, section_.max_objects, deadline); },
        [&](const KubernetesNode& one) { add_node(sink, one); });
    const auto names = std::make_shared<ContainerNames>();
    bool named = false;
    part(
        kPods,
        [&] {
          auto pods = api.pods(section_.name_space, section_.all_nodes ? "" : node,
                               section_.max_pods, deadline);
          named = pods.has_value();
          return pods;
        },
        [&](const KubernetesPod& one) {
          add_pod(sink, one);
          add_names(*names, one);
        });
    if (named && observed_ != nullptr) observed_->publish(NameSource::kKubernetes, names);
    if (section_.all_nodes) {
      part(
          kDeployments,
          [&] { return api.deployments(section_.name_space, section_.max_objects, deadline); },
          [&](const KubernetesDeployment& one) { add_deployment(sink, one); });
    }
    std::map<std::string, std::uint64_t, std::less<>> events;
    bool listed = false;
    part(
        kWarnings,
        [&] {
          auto events_now = api.warnings(section_.name_space, section_.max_objects, deadline);
          listed = events_now.has_value();
          return events_now;
        },
        [&](const KubernetesEvent& one) { count_event(one, node, events); });
    if (listed) {
      seen_.swap(events);
      counting_ = true;
    }
    add_counts(sink);
    return first;
  }

  /// 401: whoever asks is not known; 403: may not see this one thing.
  static bool is_unknown_caller(std::string_view message) {
    return message.ends_with("(status 401)");
  }

  void add_node(Sink& sink, const KubernetesNode& node) const {
    sink.add(families_[at("kube_node_info")],
             {{"node", node.name},
              {"kernel_version", node.kernel_version},
              {"os_image", node.os_image},
              {"container_runtime_version", node.runtime_version},
              {"kubelet_version", node.kubelet_version},
              {"kubeproxy_version", node.kube_proxy_version},
              {"pod_cidr", node.pod_cidr},
              {"provider_id", node.provider_id},
              {"system_uuid", node.system_uuid},
              {"internal_ip", node.internal_ip}},
             1);
    sink.add(families_[at("kube_node_created")], {{"node", node.name}}, node.created);
    sink.add(families_[at("kube_node_spec_unschedulable")], {{"node", node.name}},
             node.unschedulable ? 1 : 0);
    for (const std::string& role : node.roles)
      sink.add(families_[at("kube_node_role")], {{"node", node.name}, {"role", role}}, 1);
    for (const drivers::KubernetesTaint& taint : node.taints) {
      sink.add(families_[at("kube_node_spec_taint")],
               {{"node", node.name},
                {"key", taint.key},
                {"value", taint.value},
                {"effect", taint.effect}},
               1);
    }
    for (const auto& [condition, status] : node.conditions) {
      for (const std::string_view value : {"true", "false", "unknown"}) {
        sink.add(families_[at("kube_node_status_condition")],
                 {{"node", node.name}, {"condition", condition}, {"status", value}},
                 lower(status) == value ? 1 : 0);
      }
    }
    const auto add = [&](std::size_t metric, const drivers::KubernetesQuantities& all) {
      for (const auto& [name, value] : all) {
        const Resource resource = resource_of(name);
        sink.add(families_[metric],
                 {{"node", node.name}, {"resource", resource.name}, {"unit", resource.unit}},
                 value);
      }
    };
    add(at("kube_node_status_capacity"), node.capacity);
    add(at("kube_node_status_allocatable"), node.allocatable);
  }

  void add_pod(Sink& sink, const KubernetesPod& pod) {
    pods_.insert(pod.name_space + "/" + pod.name);
    const auto add = [&](std::size_t metric, double value, LabelView more = {"", ""}) {
      sink.add(families_[metric],
               {{"namespace", pod.name_space}, {"pod", pod.name}, {"uid", pod.uid}, more}, value);
    };
    sink.add(families_[at("kube_pod_info")],
             {{"namespace", pod.name_space},
              {"pod", pod.name},
              {"uid", pod.uid},
              {"node", pod.node},
              {"host_ip", pod.host_ip},
              {"pod_ip", pod.pod_ip},
              {"created_by_kind", pod.owner_is_controller ? pod.owner_kind : ""},
              {"created_by_name", pod.owner_is_controller ? pod.owner_name : ""},
              {"priority_class", pod.priority_class},
              {"host_network", pod.host_network ? "true" : "false"}},
             1);
    sink.add(families_[at("kube_pod_owner")],
             {{"namespace", pod.name_space},
              {"pod", pod.name},
              {"uid", pod.uid},
              {"owner_kind", pod.owner_kind},
              {"owner_name", pod.owner_name},
              {"owner_is_controller", pod.owner_kind.empty()    ? ""
                                      : pod.owner_is_controller ? "true"
                                                                : "false"}},
             1);
    add(at("kube_pod_created"), pod.created);
    if (pod.started) add(at("kube_pod_start_time"), *pod.started);
    for (const std::string_view phase : {"Pending", "Succeeded", "Failed", "Unknown", "Running"})
      add(at("kube_pod_status_phase"), pod.phase == phase ? 1 : 0, {"phase", phase});
    if (!pod.qos.empty()) {
      for (const std::string_view qos : {"BestEffort", "Burstable", "Guaranteed"})
        add(at("kube_pod_status_qos_class"), pod.qos == qos ? 1 : 0, {"qos_class", qos});
    }
    if (!pod.reason.empty()) add(at("kube_pod_status_reason"), 1, {"reason", pod.reason});
    for (const std::string_view value : {"true", "false", "unknown"}) {
      if (!pod.ready.empty())
        add(at("kube_pod_status_ready"), lower(pod.ready) == value ? 1 : 0, {"condition", value});
      if (!pod.scheduled.empty())
        add(at("kube_pod_status_scheduled"), lower(pod.scheduled) == value ? 1 : 0,
            {"condition", value});
    }
    for (const auto& container : pod.containers) add_container(sink, pod, container);
  }

  /// For the collector of control groups, which finds ids only.
  static void add_names(ContainerNames& names, const KubernetesPod& pod) {
    names.try_emplace(pod.uid, ContainerName{.name = {},
                                             .image = {},
                                             .name_space = pod.name_space,
                                             .pod = pod.name,
                                             .container = {}});
    for (const auto& container : pod.containers) {
      if (container.id.empty()) continue;
      names.try_emplace(container.id, ContainerName{.name = {},
                                                    .image = container.image,
                                                    .name_space = pod.name_space,
                                                    .pod = pod.name,
                                                    .container = container.name});
    }
  }

  void add_container(Sink& sink, const KubernetesPod& pod,
                     const KubernetesContainer& container) const {
    const auto add = [&](std::size_t metric, double value, LabelView more = {"", ""}) {
      sink.add(families_[metric],
               {{"namespace", pod.name_space},
                {"pod", pod.name},
                {"uid", pod.uid},
                {"container", container.name},
                more},
               value);
    };
    sink.add(families_[at("kube_pod_container_info")],
             {{"namespace", pod.name_space},
              {"pod", pod.name},
              {"uid", pod.uid},
              {"container", container.name},
              {"image", container.image},
              {"image_id", container.image_id},
              {"image_spec", container.image_spec},
              {"container_id", container.full_id}},
             1);
    if (!container.state.empty()) {
      add(at("kube_pod_container_status_ready"), container.ready ? 1 : 0);
      add(at("kube_pod_container_status_restarts_total"), static_cast<double>(container.restarts));
      add(at("kube_pod_container_status_running"), container.state == "running" ? 1 : 0);
      add(at("kube_pod_container_status_waiting"), container.state == "waiting" ? 1 : 0);
      add(at("kube_pod_container_status_terminated"), container.state == "terminated" ? 1 : 0);
    }
    if (container.started) add(at("kube_pod_container_state_started"), *container.started);
    if (!container.reason.empty()) {
      const std::size_t metric = container.state == "waiting"
                                     ? at("kube_pod_container_status_waiting_reason")
                                     : at("kube_pod_container_status_terminated_reason");
      add(metric, 1, {"reason", container.reason});
    }
    if (!container.last_terminated_reason.empty())
      add(at("kube_pod_container_status_last_terminated_reason"), 1,
          {"reason", container.last_terminated_reason});
    const auto resources = [&](std::size_t metric, const drivers::KubernetesQuantities& all) {
      for (const auto& [name, value] : all) {
        const Resource resource = resource_of(name);
        sink.add(families_[metric],
                 {{"namespace", pod.name_space},
                  {"pod", pod.name},
                  {"uid", pod.uid},
                  {"container", container.name},
                  {"node", pod.node},
                  {"resource", resource.name},
                  {"unit", resource.unit}},
                 value);
      }
    };
    resources(at("kube_pod_container_resource_requests"), container.requests);
    resources(at("kube_pod_container_resource_limits"), container.limits);
  }

  void add_deployment(Sink& sink, const KubernetesDeployment& one) const {
    const auto add = [&](std::size_t metric, double value) {
      sink.add(families_[metric], {{"namespace", one.name_space}, {"deployment", one.name}}, value);
    };
    add(at("kube_deployment_created"), one.created);
    add(at("kube_deployment_spec_replicas"), one.wanted);
    add(at("kube_deployment_spec_paused"), one.paused ? 1 : 0);
    add(at("kube_deployment_status_replicas"), one.replicas);
    add(at("kube_deployment_status_replicas_ready"), one.ready);
    add(at("kube_deployment_status_replicas_available"), one.available);
    add(at("kube_deployment_status_replicas_unavailable"), one.unavailable);
    add(at("kube_deployment_status_replicas_updated"), one.updated);
    add(at("kube_deployment_status_observed_generation"),
        static_cast<double>(one.observed_generation));
    add(at("kube_deployment_metadata_generation"), static_cast<double>(one.generation));
    for (const auto& [condition, status] : one.conditions) {
      const auto reason = one.reasons.find(condition);
      for (const std::string_view value : {"true", "false", "unknown"}) {
        sink.add(families_[at("kube_deployment_status_condition")],
                 {{"namespace", one.name_space},
                  {"deployment", one.name},
                  {"reason", reason == one.reasons.end() ? "" : std::string_view(reason->second)},
                  {"condition", condition},
                  {"status", value}},
                 lower(status) == value ? 1 : 0);
      }
    }
  }

  /// An event's count grows as long as it goes on; what there was at the first look is history.
  void count_event(const KubernetesEvent& event, const std::string& node,
                   std::map<std::string, std::uint64_t, std::less<>>& events) {
    events[event.uid] = event.count;
    const bool here = section_.all_nodes || (event.kind == "Node" && event.name == node) ||
                      (event.kind == "Pod" && pods_.contains(event.name_space + "/" + event.name));
    const auto known = seen_.find(event.uid);
    const std::uint64_t before = known == seen_.end() ? 0 : known->second;
    if (!here || event.count <= before) return;
    const std::pair what(event.reason, event.kind);
    if (!warnings_.contains(what) && warnings_.size() >= kMostReasons) return;
    warnings_[what] += counting_ ? static_cast<double>(event.count - before) : 0;
  }

  void add_counts(Sink& sink) const {
    for (const auto& [what, count] : warnings_) {
      sink.add(families_[at("kubernetes_warnings_total")],
               {{"reason", what.first}, {"kind", what.second}}, count);
    }
    static constexpr std::array<std::string_view, kParts> kNames = {"node", "pod", "deployment",
                                                                    "event"};
    for (std::size_t i = 0; i < kParts; ++i) {
      sink.add(families_[at("kubernetes_objects_left_out")], {{"kind", kNames[i]}}, left_out_[i]);
    }
  }

  Clock& clock_;
  Observed* const observed_;
  const host::Roots roots_;
  const config::KubernetesSection section_;
  const std::array<FamilyId, kMetrics.size()> families_;
  std::array<SteadyTime, kParts> next_{};
  std::array<double, kParts> left_out_{};
  std::set<std::string, std::less<>> pods_;                 // namespace/name, of this run
  std::map<std::string, std::uint64_t, std::less<>> seen_;  // counts of events by uid
  std::map<std::pair<std::string, std::string>, double> warnings_;
  bool counting_ = false;  // after the first look
  bool answered_ = false;  // in this run
};

class NoKubernetes final : public Collector {
 public:
  Status collect(Sink& /*sink*/) override {
    return fail(Errc::kNotFound, "[kubernetes] is switched off");
  }
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  if (context.connections == nullptr || !context.connections->kubernetes.enabled)
    return std::make_unique<NoKubernetes>();
  return std::make_unique<KubernetesCollector>(context, context.connections->kubernetes);
}

}  // namespace

const CollectorDescriptor kKubernetesCollector = {
    .name = "kubernetes",
    .help = "Nodes, pods, deployments and warnings of the Kubernetes API: see [kubernetes].",
    .default_interval = Millis(30'000),
    .remote = true,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
