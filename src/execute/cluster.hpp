// What steps on a Kubernetes cluster have in common: the client that [kubernetes] names, targets,
// how long to go on, and what is kept as evidence.
//
// Targets: kubernetes:NAMESPACE/KIND/NAME, and kubernetes:node/NAME. Thread safety: functions
// without state.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "execute/unasked.hpp"
#include "nexus/drivers/kubernetes_control.hpp"
#include "nexus/execute/step.hpp"

namespace nexus::execute {

inline constexpr std::string_view kClusterPrefix = "kubernetes:";

[[nodiscard]] host::Roots roots_of(const config::Config& config);
/// kNotFound: the agent runs in no pod and has no kubeconfig, or [kubernetes] is switched off.
[[nodiscard]] Result<drivers::KubernetesControl> cluster_of(const StepContext& context);
/// Of a question between steps: [kubernetes] timeout.
[[nodiscard]] drivers::KubernetesPatience brief(const StepContext& context);
/// Until the step is to end for any reason.
[[nodiscard]] drivers::KubernetesPatience patience_of(const StepRun& run);
/// An action's own time once more, for taking back what it did.
[[nodiscard]] drivers::KubernetesPatience patience_to_undo(const plan::Action& action,
                                                           const StepContext& context);

/// NAMESPACE and NAME of "kubernetes:NAMESPACE/KIND/NAME" for one `kind`.
struct ClusterObject {
  std::string name_space;
  std::string name;
};
[[nodiscard]] Result<ClusterObject> parse_object(std::string_view target, std::string_view kind);
/// The workload that a pod is of, by the name alone, for the rails to count on: the next pod has
/// another name. Of a stateful set's it is its own, which comes again.
[[nodiscard]] std::string pod_account(const ClusterObject& pod);
/// Of "kubernetes:node/NAME".
[[nodiscard]] Result<std::string> parse_node(std::string_view target);
/// Of "kubernetes:shop/deployment/web", a workload in a namespace that may be changed, and that
/// [guardrails] protected_units does not protect.
[[nodiscard]] Result<drivers::Workload> changeable_workload(std::string_view target,
                                                            const config::Config& config);
/// Why [guardrails] protected_units protects what a cluster calls "shop/deployment/web" (or
/// "node/n1"); nothing: it does not.
[[nodiscard]] std::optional<std::string> protected_in_cluster(std::string_view what,
                                                              const config::Config& config);
/// Whether [kubernetes] change_in has it.
[[nodiscard]] Status may_change(std::string_view name_space, const config::Config& config);
/// Whether [kubernetes] change_nodes has it.
[[nodiscard]] Status may_change_node(std::string_view node, const config::Config& config);

/// What becomes of a step whose change has failed by `error`: one whose answer did not come may
/// have been made all the same. `made` looks whether it was (nothing: it was not; an error: it
/// cannot be told), takes it back, and says so. When the agent ends it is left, for recover() to
/// look.
[[nodiscard]] Result<StepResult> unheard(
    const Error& error, const StepRun& run,
    const std::function<Result<std::optional<std::string>>()>& made);

/// kConflict when `uid` is not that of the evidence: another object has the name now.
[[nodiscard]] Status same_object(const plan::Action& action, std::string_view uid);

/// Whether a remedy's target can be one, in a namespace or on a node that may be changed.
[[nodiscard]] Status check_cluster_remedy(const config::RemedyConfig& remedy,
                                          const config::Config& config);

/// JSON: {"error": "..."}.
[[nodiscard]] std::string error_evidence(const Error& error);

}  // namespace nexus::execute
