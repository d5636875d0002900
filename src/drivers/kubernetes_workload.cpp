#include "drivers/kubernetes_workload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "drivers/json.hpp"
#include "drivers/kubernetes_calls.hpp"
#include "drivers/kubernetes_list.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/name_space.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;

constexpr std::array kKinds = {WorkloadKind::kDeployment, WorkloadKind::kStatefulSet,
                               WorkloadKind::kDaemonSet};

/// DNS labels with dots between: what Kubernetes takes as a name.
bool is_name(std::string_view text) {
  constexpr std::size_t kLongest = 253;
  return text.size() <= kLongest && std::ranges::all_of(base::split(text, '.'), [](auto label) {
           return config::is_name_space(label);
         });
}

std::uint32_t count(const json::value* status, std::string_view name) {
  return whole_of<std::uint32_t>(member(status, name));
}

/// "TIME ProgressDeadlineExceeded: ...": what the controller of a deployment says, of whatever
/// generation; empty: it has not given up.
std::string failure_of(const json::value* status) {
  const auto* conditions = array_of(member(status, "conditions"));
  if (conditions == nullptr) return {};
  for (const auto& one : *conditions) {
    if (text_of(member(&one, "type")) == "Progressing" &&
        text_of(member(&one, "reason")) == "ProgressDeadlineExceeded")
      return fmt::format("{} ProgressDeadlineExceeded: {}", text_of(member(&one, "lastUpdateTime")),
                         text_of(member(&one, "message")));
  }
  return {};
}

void deployment_phase(WorkloadStatus& out) {
  if (!out.failure.empty()) {
    out.phase = RolloutPhase::kFailed;
    out.message = out.failure.substr(out.failure.find(' ') + 1);
    return;
  }
  if (out.updated < out.wanted) {
    out.message = fmt::format("{} of {} new replicas have been updated", out.updated, out.wanted);
  } else if (out.replicas > out.updated) {
    out.message = fmt::format("{} old replicas are still there", out.replicas - out.updated);
  } else if (out.available < out.updated) {
    out.message =
        fmt::format("{} of {} updated replicas are available", out.available, out.updated);
  } else {
    out.phase = RolloutPhase::kComplete;
  }
}

void stateful_phase(const json::value* spec, const json::value* status, WorkloadStatus& out) {
  const auto* rolling = member(member(spec, "updateStrategy"), "rollingUpdate");
  const auto partition = count(rolling, "partition");
  if (out.ready < out.wanted) {
    out.message = fmt::format("{} of {} replicas are ready", out.ready, out.wanted);
  } else if (partition > 0) {
    const std::uint32_t meant = out.wanted - std::min(out.wanted, partition);
    if (out.updated < meant)
      out.message = fmt::format("{} of {} replicas have been updated", out.updated, meant);
    else
      out.phase = RolloutPhase::kComplete;
  } else if (text_of(member(status, "updateRevision")) !=
             text_of(member(status, "currentRevision"))) {
    out.message = fmt::format("{} of {} replicas have been updated", out.updated, out.wanted);
  } else {
    out.phase = RolloutPhase::kComplete;
  }
}

void daemon_phase(WorkloadStatus& out) {
  if (out.updated < out.wanted) {
    out.message = fmt::format("{} of {} pods have been updated", out.updated, out.wanted);
  } else if (out.available < out.wanted) {
    out.message = fmt::format("{} of {} pods are available", out.available, out.wanted);
  } else {
    out.phase = RolloutPhase::kComplete;
  }
}

}  // namespace

std::string_view to_string(WorkloadKind kind) noexcept {
  switch (kind) {
    case WorkloadKind::kDeployment:
      return "deployment";
    case WorkloadKind::kStatefulSet:
      return "statefulset";
    case WorkloadKind::kDaemonSet:
      return "daemonset";
  }
  return "";
}

std::string_view resource_of(WorkloadKind kind) noexcept {
  switch (kind) {
    case WorkloadKind::kDeployment:
      return "deployments";
    case WorkloadKind::kStatefulSet:
      return "statefulsets";
    case WorkloadKind::kDaemonSet:
      return "daemonsets";
  }
  return "";
}

std::string_view kind_of(WorkloadKind kind) noexcept {
  switch (kind) {
    case WorkloadKind::kDeployment:
      return "Deployment";
    case WorkloadKind::kStatefulSet:
      return "StatefulSet";
    case WorkloadKind::kDaemonSet:
      return "DaemonSet";
  }
  return "";
}

std::string_view to_string(RolloutPhase phase) noexcept {
  switch (phase) {
    case RolloutPhase::kProgressing:
      return "progressing";
    case RolloutPhase::kComplete:
      return "complete";
    case RolloutPhase::kFailed:
      return "failed";
    case RolloutPhase::kPaused:
      return "paused";
  }
  return "";
}

std::string to_string(const Workload& workload) {
  return fmt::format("{}/{}/{}", workload.name_space, to_string(workload.kind), workload.name);
}

Result<Workload> parse_workload(std::string_view text) {
  const auto parts = base::split(text, '/');
  if (parts.size() != 3)
    return fail(Errc::kInvalidArgument,
                "\"{}\": expected NAMESPACE/KIND/NAME, as shop/deployment/web", text);
  const auto kind =
      std::ranges::find(kKinds, parts[1], [](WorkloadKind k) { return to_string(k); });
  if (kind == kKinds.end())
    return fail(Errc::kInvalidArgument,
                "\"{}\": expected the kind deployment, statefulset or daemonset, not \"{}\"", text,
                parts[1]);
  if (!config::is_name_space(parts[0]))
    return fail(Errc::kInvalidArgument, "\"{}\": \"{}\" cannot be a namespace", text, parts[0]);
  if (!is_name(parts[2]))
    return fail(Errc::kInvalidArgument, "\"{}\": \"{}\" cannot be a name", text, parts[2]);
  return Workload{std::string(parts[0]), *kind, std::string(parts[2])};
}

std::string path_of(const Workload& workload) {
  return object_path("/apis/apps/v1", workload.name_space, resource_of(workload.kind),
                     workload.name);
}

std::map<std::string, std::string, std::less<>> images_of(const json::value* pod_template) {
  std::map<std::string, std::string, std::less<>> out;
  if (const auto* containers = array_of(member(member(pod_template, "spec"), "containers"))) {
    for (const auto& one : *containers)
      out.insert_or_assign(text_of(member(&one, "name")), text_of(member(&one, "image")));
  }
  return out;
}

WorkloadStatus to_workload_status(WorkloadKind kind, const json::value& object) {
  const auto* metadata = member(&object, "metadata");
  const auto* spec = member(&object, "spec");
  const auto* status = member(&object, "status");
  const auto* pod_template = member(spec, "template");
  const auto* notes = member(member(pod_template, "metadata"), "annotations");
  WorkloadStatus out;
  out.uid = text_of(member(metadata, "uid"));
  out.generation = whole_of<std::uint64_t>(member(metadata, "generation"));
  out.observed_generation = whole_of<std::uint64_t>(member(status, "observedGeneration"));
  out.restarted_at = text_of(member(notes, "kubectl.kubernetes.io/restartedAt"));
  out.images = images_of(pod_template);
  const auto revision = base::parse_uint(
      text_of(member(member(metadata, "annotations"), "deployment.kubernetes.io/revision")));
  out.revision = revision.value_or(0);
  if (kind == WorkloadKind::kDaemonSet) {
    out.wanted = count(status, "desiredNumberScheduled");
    out.replicas = count(status, "currentNumberScheduled");
    out.updated = count(status, "updatedNumberScheduled");
    out.ready = count(status, "numberReady");
    out.available = count(status, "numberAvailable");
  } else {
    out.wanted = member(spec, "replicas") == nullptr ? 1 : count(spec, "replicas");
    out.replicas = count(status, "replicas");
    out.updated = count(status, "updatedReplicas");
    out.ready = count(status, "readyReplicas");
    out.available = count(status, "availableReplicas");
  }
  if (kind == WorkloadKind::kDeployment) out.failure = failure_of(status);
  if (kind == WorkloadKind::kDeployment && is_true(member(spec, "paused"))) {
    out.phase = RolloutPhase::kPaused;
    out.message = "its rollout is paused";
  } else if (out.generation > out.observed_generation) {
    out.message = "its controller has not seen the change yet";
  } else {
    switch (kind) {
      case WorkloadKind::kDeployment:
        deployment_phase(out);
        break;
      case WorkloadKind::kStatefulSet:
        stateful_phase(spec, status, out);
        break;
      case WorkloadKind::kDaemonSet:
        daemon_phase(out);
        break;
    }
  }
  if (out.phase == RolloutPhase::kComplete)
    out.message = fmt::format("{} of {} replicas are available", out.available, out.wanted);
  return out;
}

Status can_roll(const Workload& workload, const json::value& now, std::string_view what) {
  const auto* spec = member(&now, "spec");
  if (is_true(member(spec, "paused")))
    return fail(Errc::kConflict, "{} is paused: it cannot be {} before its rollout is resumed",
                to_string(workload), what);
  if (text_of(member(member(spec, "updateStrategy"), "type")) == "OnDelete")
    return fail(Errc::kUnsupported,
                "{} cannot be {}: its updateStrategy is OnDelete, by which pods stay as they are "
                "until somebody deletes them",
                to_string(workload), what);
  return {};
}

Result<std::string> label_selector(const json::value* selector) {
  std::vector<std::string> parts;
  if (const auto* labels = member(selector, "matchLabels"); labels && labels->is_object()) {
    for (const auto& one : labels->get_object())
      parts.push_back(fmt::format("{}={}", std::string_view(one.key()), text_of(&one.value())));
  }
  if (const auto* expressions = array_of(member(selector, "matchExpressions"))) {
    for (const auto& one : *expressions) {
      const std::string key = text_of(member(&one, "key"));
      const std::string how = text_of(member(&one, "operator"));
      std::vector<std::string> values;
      if (const auto* list = array_of(member(&one, "values"))) {
        for (const auto& value : *list) values.push_back(text_of(&value));
      }
      if (how == "In") {
        parts.push_back(fmt::format("{} in ({})", key, fmt::join(values, ",")));
      } else if (how == "NotIn") {
        parts.push_back(fmt::format("{} notin ({})", key, fmt::join(values, ",")));
      } else if (how == "Exists") {
        parts.push_back(key);
      } else if (how == "DoesNotExist") {
        parts.push_back("!" + key);
      } else {
        return fail(Errc::kUnsupported, "a selector with the operator \"{}\"", how);
      }
    }
  }
  return fmt::format("labelSelector={}", url_encode(fmt::format("{}", fmt::join(parts, ","))));
}

const json::value* controller_of(const json::value& object) {
  const auto* owners = array_of(member(member(&object, "metadata"), "ownerReferences"));
  if (owners == nullptr) return nullptr;
  const auto found = std::ranges::find_if(
      *owners, [](const auto& one) { return is_true(member(&one, "controller")); });
  return found == owners->end() ? nullptr : &*found;
}

std::string workload_of_pod(const json::value& pod) {
  const auto* controller = controller_of(pod);
  if (controller == nullptr) return {};
  std::string kind = text_of(member(controller, "kind"));
  std::ranges::transform(kind, kind.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::string name = text_of(member(controller, "name"));
  const std::string tail =
      "-" + text_of(member(member(member(&pod, "metadata"), "labels"), kTemplateHash));
  if (kind == "replicaset" && tail.size() > 1 && name.ends_with(tail)) {
    kind = "deployment";
    name.resize(name.size() - tail.size());
  }
  return fmt::format("{}/{}", kind, name);
}

bool is_owned_by(const json::value& object, std::string_view uid) {
  return !uid.empty() && text_of(member(controller_of(object), "uid")) == uid;
}

Result<WorkloadStatus> KubernetesControl::status(const Workload& workload,
                                                 const KubernetesPatience& patience) const {
  auto object = get(api_, path_of(workload), patience);
  if (!object) return propagate(std::move(object), "{}", to_string(workload));
  return to_workload_status(workload.kind, *object);
}

Result<KubernetesList<WorkloadSummary>> KubernetesControl::workloads(
    const std::string& name_space, std::size_t limit, const KubernetesPatience& patience) const {
  KubernetesList<WorkloadSummary> out;
  for (const auto kind : kKinds) {
    const std::size_t before = out.items.size();
    auto listed = list_objects(
        api_, collection("/apis/apps/v1", name_space, resource_of(kind)), {}, limit, patience,
        [&](const json::value& item) {
          const auto* metadata = member(&item, "metadata");
          out.items.push_back(
              {{text_of(member(metadata, "namespace")), kind, text_of(member(metadata, "name"))},
               to_workload_status(kind, item)});
        },
        [&] { out.items.resize(before); });
    if (!listed) return propagate(std::move(listed));
    out.left_out += listed->left_out;
  }
  return out;
}

std::optional<std::string> refuse_name_space(const KubernetesScope& scope,
                                             std::string_view name_space) {
  if (config::is_protected_name_space(name_space))
    return fmt::format("namespace {} is protected: Kubernetes itself lives in it", name_space);
  if (std::ranges::find(scope.name_spaces, name_space) == scope.name_spaces.end())
    return fmt::format(
        "namespace {} is not among those in which the agent may change something "
        "([kubernetes] change_in)",
        name_space);
  return std::nullopt;
}

Status KubernetesControl::may_change(std::string_view name_space) const {
  if (auto reason = refuse_name_space(scope_, name_space))
    return fail(Errc::kPermissionDenied, "{}", *reason);
  return {};
}

std::optional<std::string> refuse_node(const KubernetesScope& scope, std::string_view node) {
  const bool own = scope.nodes == NodeScope::kOwn && node == scope.own_node;
  if (own || scope.nodes == NodeScope::kAll) return std::nullopt;
  return fmt::format("node {} may not be changed by the agent ([kubernetes] change_nodes)", node);
}

Status KubernetesControl::may_change_node(std::string_view node) const {
  if (auto reason = refuse_node(scope_, node)) return fail(Errc::kPermissionDenied, "{}", *reason);
  return {};
}

Result<std::string> KubernetesControl::server_version(const KubernetesPatience& patience) const {
  auto value = get(api_, "/version", patience);
  if (!value) return propagate(std::move(value));
  return text_of(member(&*value, "gitVersion"));
}

}  // namespace nexus::drivers
