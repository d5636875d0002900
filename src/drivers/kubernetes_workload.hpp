// JSON of deployments, stateful sets and daemon sets into what is known of their rollout.
// Thread safety: pure functions.
#pragma once

#include <boost/json.hpp>
#include <string>

#include "nexus/drivers/kubernetes_control.hpp"

namespace nexus::drivers {

/// "/apis/apps/v1/namespaces/shop/deployments/web".
[[nodiscard]] std::string path_of(const Workload& workload);
[[nodiscard]] std::string_view resource_of(WorkloadKind kind) noexcept;  // "deployments"
[[nodiscard]] std::string_view kind_of(WorkloadKind kind) noexcept;      // "Deployment"

/// By the rules of `kubectl rollout status`.
[[nodiscard]] WorkloadStatus to_workload_status(WorkloadKind kind,
                                                const boost::json::value& object);
/// Whether a change of the template replaces pods: kConflict for a paused deployment, kUnsupported
/// where pods stay until somebody deletes them. `what` is to be done: "restarted".
[[nodiscard]] Status can_roll(const Workload& workload, const boost::json::value& now,
                              std::string_view what);
/// Images by container of a pod template (not of its init containers).
[[nodiscard]] std::map<std::string, std::string, std::less<>> images_of(
    const boost::json::value* pod_template);
/// "a=b,c in (d,e)" as a query value wants it, from a selector with matchLabels and
/// matchExpressions; kUnsupported: an operator that is not known.
[[nodiscard]] Result<std::string> label_selector(const boost::json::value* selector);
/// Whether the object belongs to the controller of that uid.
[[nodiscard]] bool is_owned_by(const boost::json::value& object, std::string_view uid);
/// The owner with controller=true; null: none.
[[nodiscard]] const boost::json::value* controller_of(const boost::json::value& object);
/// What a deployment puts on its replica sets and their pods.
inline constexpr std::string_view kTemplateHash = "pod-template-hash";
/// "deployment/web": the workload that a pod is of; empty: nobody's. Nothing is asked: a replica
/// set of a deployment is told by its name, which ends with the hash that its pods have as a label.
[[nodiscard]] std::string workload_of_pod(const boost::json::value& pod);

}  // namespace nexus::drivers
