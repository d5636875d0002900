// JSON of the Kubernetes API into values. Thread safety: pure functions.
#pragma once

#include "drivers/json.hpp"
#include "nexus/drivers/kubernetes.hpp"

namespace nexus::drivers {

[[nodiscard]] KubernetesNode to_node(const boost::json::value& item);
[[nodiscard]] KubernetesPod to_pod(const boost::json::value& item);
[[nodiscard]] KubernetesDeployment to_deployment(const boost::json::value& item);
[[nodiscard]] KubernetesEvent to_event(const boost::json::value& item);

}  // namespace nexus::drivers
