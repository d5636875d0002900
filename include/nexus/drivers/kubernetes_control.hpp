// KubernetesControl: what may be changed in a cluster: workloads restarted, scaled and rolled back,
// autoscalers, quotas and resources set, nodes cordoned and drained, stuck pods deleted.
//
// Invariants: (1) nothing outside the namespaces and nodes of the scope is changed, and nothing of
// the namespaces that Kubernetes itself lives in: kPermissionDenied before anything is sent; (2) a
// change applies to the object that was read (its uid and resourceVersion): when somebody else was
// quicker it is read and decided anew, and an object that was deleted and made again is another
// one; (3) a 429 and its Retry-After are waited out within the patience; (4) a drain evicts, so
// that disruption budgets hold, and never deletes what no controller would make again, unless asked
// to; pods of daemon sets and of the kubelet's own files stay; (5) API groups are discovered:
// servers from 1.20 on.
//
// Errors: as kubernetes.hpp, and kConflict where the state of a thing forbids what is asked (a
// paused deployment, a workload that an autoscaler scales), kTimeout at the end of the patience,
// kUnsupported where the kind of workload cannot do it, or its updateStrategy is OnDelete. Times
// are milliseconds, quantities texts as Kubernetes writes them ("500m", "1Gi"). Thread safety: any
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/drivers/kubernetes.hpp"

namespace nexus::drivers {

/// How long to go on, and who may end it.
struct KubernetesPatience {
  SteadyTime deadline{};
  std::function<bool()> cancelled = {};  // asked about once a second
};

enum class NodeScope { kNone, kOwn, kAll };

struct KubernetesScope {
  std::vector<std::string> name_spaces;  // exactly these
  NodeScope nodes = NodeScope::kNone;
  std::string own_node;
};

/// As [kubernetes] change_in and change_nodes say.
[[nodiscard]] KubernetesScope kubernetes_scope(const config::KubernetesSection& section,
                                               const host::Roots& roots);

/// Why nothing there may be changed; nothing: it may.
[[nodiscard]] std::optional<std::string> refuse_name_space(const KubernetesScope& scope,
                                                           std::string_view name_space);
[[nodiscard]] std::optional<std::string> refuse_node(const KubernetesScope& scope,
                                                     std::string_view node);

enum class WorkloadKind { kDeployment, kStatefulSet, kDaemonSet };
[[nodiscard]] std::string_view to_string(WorkloadKind kind) noexcept;  // "deployment", ...

struct Workload {
  std::string name_space;
  WorkloadKind kind = WorkloadKind::kDeployment;
  std::string name;
};
[[nodiscard]] std::string to_string(const Workload& workload);
/// "shop/deployment/web"; kInvalidArgument says what is expected.
[[nodiscard]] Result<Workload> parse_workload(std::string_view text);

/// kComplete: everything that is wanted runs as wanted; kFailed: the controller has given up
/// (ProgressDeadlineExceeded); kPaused: nobody works on it.
enum class RolloutPhase { kProgressing, kComplete, kFailed, kPaused };
[[nodiscard]] std::string_view to_string(RolloutPhase phase) noexcept;

struct WorkloadStatus {
  std::string uid;
  std::uint64_t generation = 0;
  std::uint64_t observed_generation = 0;
  std::uint32_t wanted = 0;
  std::uint32_t replicas = 0;
  std::uint32_t updated = 0;
  std::uint32_t ready = 0;
  std::uint32_t available = 0;
  std::uint64_t revision = 0;                              // of a deployment; 0: not told
  std::string restarted_at;                                // of its template, as kubectl writes it
  std::map<std::string, std::string, std::less<>> images;  // by container
  RolloutPhase phase = RolloutPhase::kProgressing;
  std::string message;  // one sentence about the phase
  std::string failure;  // since when and why its controller has given up; empty: it has not
};

struct WorkloadSummary {
  Workload workload;
  WorkloadStatus status;
};

struct WorkloadRevision {
  std::uint64_t number = 0;
  std::string name;   // of the ReplicaSet or ControllerRevision
  std::string cause;  // kubernetes.io/change-cause; may be empty
  std::map<std::string, std::string, std::less<>> images;  // by container
};

struct WorkloadRollback {
  std::uint64_t from = 0;  // revision; 0: not told
  std::uint64_t to = 0;
  bool changed = false;  // false: its template is that of the revision already
};

struct AutoscalerState {
  std::string name;
  std::string uid;
  std::uint32_t min = 1;
  std::uint32_t max = 1;
  std::optional<std::uint32_t> cpu_percent;  // target utilisation; unset: it has other metrics
  std::uint32_t current = 0;                 // replicas
  std::uint32_t desired = 0;
};

/// What is unset stays as it is; a new one needs `max`.
struct AutoscalerWish {
  std::optional<std::uint32_t> min;
  std::optional<std::uint32_t> max;
  std::optional<std::uint32_t> cpu_percent;
  bool no_cpu_percent = false;  // instead of cpu_percent: takes that target away
};

struct AutoscalerChange {
  std::optional<AutoscalerState> before;  // unset: there was none
  AutoscalerState after;
};

using QuantityTexts = std::map<std::string, std::string, std::less<>>;
/// Nothing takes the entry away.
using QuantityChanges = std::map<std::string, std::optional<std::string>, std::less<>>;

struct QuotaState {
  std::string uid;
  QuantityTexts hard;
  QuantityTexts used;
};

struct ContainerResources {
  QuantityTexts requests;
  QuantityTexts limits;
};

struct DrainWish {
  std::optional<Millis> grace;  // for a pod to end; unset: its own
  bool unmanaged = false;       // also pods that no controller would make again
  bool local_data = false;      // also pods with emptyDir volumes, whose data goes with them
  /// Why a pod ("shop/pod/web-1"), or those of a workload ("shop/deployment/web"), are not
  /// evicted; nothing: they are. Asked about both of each pod that runs.
  std::function<std::optional<std::string>(std::string_view what)> protects = {};
};

struct DrainPlan {
  std::vector<std::string> evict;   // "shop/web-1"
  std::vector<std::string> left;    // of daemon sets and of the kubelet's own files
  std::vector<std::string> refuse;  // "shop/one: no controller would make it again"
};

struct PodState {
  std::string uid;
  std::string node;
  std::string phase;
  std::string reason;
  std::string owner_kind;  // of its controller; empty: none
  std::string owner_name;
  std::string workload;  // "deployment/web", though its controller is a replica set; empty: none
  bool ready = false;
  bool mirror = false;             // of a file of the kubelet
  std::optional<double> deleting;  // since when, seconds since the epoch
  double created = 0;
};

class KubernetesControl {
 public:
  KubernetesControl(Kubernetes api, KubernetesScope scope)
      : api_(std::move(api)), scope_(std::move(scope)) {}

  /// gitVersion of the server: "v1.20.2".
  [[nodiscard]] Result<std::string> server_version(const KubernetesPatience& patience) const;

  [[nodiscard]] Result<WorkloadStatus> status(const Workload& workload,
                                              const KubernetesPatience& patience) const;
  /// Deployments, stateful sets and daemon sets of a namespace, at most `limit` of each kind.
  [[nodiscard]] Result<KubernetesList<WorkloadSummary>> workloads(
      const std::string& name_space, std::size_t limit, const KubernetesPatience& patience) const;

  /// As `kubectl rollout restart`: `stamp` (RFC 3339) is written into the template; the same stamp
  /// again changes nothing. What it is afterwards.
  [[nodiscard]] Result<WorkloadStatus> restart(const Workload& workload, const std::string& stamp,
                                               const KubernetesPatience& patience) const;
  /// Sets images by container (a rolling update); kNotFound: no container of that name.
  [[nodiscard]] Result<WorkloadStatus> set_images(
      const Workload& workload, const std::map<std::string, std::string, std::less<>>& images,
      const KubernetesPatience& patience) const;
  /// Newest first.
  [[nodiscard]] Result<std::vector<WorkloadRevision>> revisions(
      const Workload& workload, const KubernetesPatience& patience) const;
  /// As `kubectl rollout undo`: to a revision, 0: the one before. kNotFound: there is none.
  [[nodiscard]] Result<WorkloadRollback> undo(const Workload& workload, std::uint64_t revision,
                                              const KubernetesPatience& patience) const;
  /// Watches until the rollout is complete. kConflict: it has failed or is paused, with the
  /// controller's reason. `progress` is given each new state. `known_failure` is the `failure` of
  /// before the change: a controller says it on until what comes after it gets on.
  [[nodiscard]] Result<WorkloadStatus> await_rollout(
      const Workload& workload, const KubernetesPatience& patience,
      const std::function<void(const WorkloadStatus&)>& progress = {},
      std::string_view known_failure = {}) const;

  /// Replicas before. kConflict: an autoscaler scales it; kUnsupported: a daemon set.
  [[nodiscard]] Result<std::uint32_t> scale(const Workload& workload, std::uint32_t replicas,
                                            const KubernetesPatience& patience) const;

  /// The one whose target the workload is; nothing: there is none.
  [[nodiscard]] Result<std::optional<AutoscalerState>> autoscaler(
      const Workload& workload, const KubernetesPatience& patience) const;
  /// Makes it, with the workload's name, or adjusts it; other metrics than the CPU's stay.
  [[nodiscard]] Result<AutoscalerChange> set_autoscaler(const Workload& workload,
                                                        const AutoscalerWish& wish,
                                                        const KubernetesPatience& patience) const;
  /// kConflict: there is another of that name now.
  [[nodiscard]] Status remove_autoscaler(const std::string& name_space, const std::string& name,
                                         const std::string& uid,
                                         const KubernetesPatience& patience) const;

  [[nodiscard]] Result<QuotaState> quota(const std::string& name_space, const std::string& name,
                                         const KubernetesPatience& patience) const;
  /// What it was.
  [[nodiscard]] Result<QuotaState> set_quota(const std::string& name_space, const std::string& name,
                                             const QuantityChanges& changes,
                                             const KubernetesPatience& patience) const;
  /// By container.
  [[nodiscard]] Result<std::map<std::string, ContainerResources, std::less<>>> resources(
      const Workload& workload, const KubernetesPatience& patience) const;
  /// What they were. A rollout begins.
  [[nodiscard]] Result<ContainerResources> set_resources(const Workload& workload,
                                                         const std::string& container,
                                                         const QuantityChanges& requests,
                                                         const QuantityChanges& limits,
                                                         const KubernetesPatience& patience) const;

  /// Whether pods may be placed on the node.
  [[nodiscard]] Result<bool> schedulable(const std::string& node,
                                         const KubernetesPatience& patience) const;
  /// Cordon and uncordon; whether it was schedulable before.
  [[nodiscard]] Result<bool> set_schedulable(const std::string& node, bool schedulable,
                                             const KubernetesPatience& patience) const;
  [[nodiscard]] Result<DrainPlan> plan_drain(const std::string& node, const DrainWish& wish,
                                             const KubernetesPatience& patience) const;
  /// Cordons, evicts and waits until the evicted pods are gone; the names of those. kConflict:
  /// pods that the wish does not allow, before anything is changed; kTimeout names what is left and
  /// which budget holds it; the node stays cordoned.
  [[nodiscard]] Result<std::vector<std::string>> drain(const std::string& node,
                                                       const DrainWish& wish,
                                                       const KubernetesPatience& patience) const;

  [[nodiscard]] Result<PodState> pod(const std::string& name_space, const std::string& name,
                                     const KubernetesPatience& patience) const;
  /// Only the pod of that uid (else kConflict), and waits until it is gone. Without `grace` its
  /// own; 0 does not wait for its node, which for a stateful set may make two of one.
  [[nodiscard]] Status delete_pod(const std::string& name_space, const std::string& name,
                                  const std::string& uid, std::optional<Millis> grace,
                                  const KubernetesPatience& patience) const;

  [[nodiscard]] const Kubernetes& api() const noexcept { return api_; }
  [[nodiscard]] const KubernetesScope& scope() const noexcept { return scope_; }

 private:
  [[nodiscard]] Status may_change(std::string_view name_space) const;
  [[nodiscard]] Status may_change_node(std::string_view node) const;

  const Kubernetes api_;
  const KubernetesScope scope_;
};

}  // namespace nexus::drivers
