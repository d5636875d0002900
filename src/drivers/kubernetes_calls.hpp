// What the changing requests to the Kubernetes API have in common: reading one object, patching it,
// and doing both again when somebody else was quicker.
//
// A 429, and a 503 that names a time, is waited out within the patience: for as long as the API
// says, else longer each time. Nothing that could have been done is repeated blindly: a connection
// that breaks in a change is an Error. Thread safety: functions without state.
#pragma once

#include <boost/json.hpp>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "nexus/drivers/kubernetes.hpp"
#include "nexus/drivers/kubernetes_control.hpp"

namespace nexus::drivers {

inline constexpr std::string_view kMergePatch = "application/merge-patch+json";
inline constexpr std::string_view kStrategicPatch = "application/strategic-merge-patch+json";
inline constexpr std::string_view kJsonPatch = "application/json-patch+json";

/// Waits; kTimeout when `how_long` is more than is left, kCancelled.
[[nodiscard]] Status wait_for(Clock& clock, Millis how_long, const KubernetesPatience& patience);

/// The reply of `call` once the API no longer asks to wait. Its deadline and cancellation are those
/// of the patience. A status of 400 or more is an answer. `busy` decides whether a 429 is to be
/// waited out here (a refused eviction is not).
[[nodiscard]] Result<KubernetesReply> send_patiently(
    const Kubernetes& api, KubernetesCall call, const KubernetesPatience& patience,
    const std::function<bool(const KubernetesReply&)>& busy = {});

/// As send_patiently, with a status of 400 or more as an Error and the answer as JSON.
[[nodiscard]] Result<boost::json::value> ask(const Kubernetes& api, KubernetesCall call,
                                             const KubernetesPatience& patience);
[[nodiscard]] Result<boost::json::value> get(const Kubernetes& api, const std::string& path,
                                             const KubernetesPatience& patience);

struct KubernetesEdit {
  boost::json::value body;
  std::string_view content_type = kStrategicPatch;
  std::string_view method = "PATCH";
};

/// Reads the object at `path` and sends what `change` makes of it (nothing: it is right as it is)
/// with the resourceVersion and uid of what was read, so that it applies to that and nothing else.
/// After a 409 both are done again, unless it is another object by then. The object as it is then.
[[nodiscard]] Result<boost::json::value> edit(
    const Kubernetes& api, const std::string& path, const KubernetesPatience& patience,
    const std::function<Result<std::optional<KubernetesEdit>>(const boost::json::value& now)>&
        change);

/// The part of a path after the namespace: "deployments/web".
[[nodiscard]] std::string object_path(std::string_view group, std::string_view name_space,
                                      std::string_view kind, std::string_view name);

/// The first of `versions` ("v2", "v2beta2") that the server has of a group. kUnsupported: none.
[[nodiscard]] Result<std::string> choose_version(const Kubernetes& api, std::string_view group,
                                                 std::span<const std::string_view> versions,
                                                 const KubernetesPatience& patience);

}  // namespace nexus::drivers
