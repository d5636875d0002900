// Kubernetes: a client of the Kubernetes API over TLS, with the token of the pod that the agent
// runs in, or with the token or client certificate of a kubeconfig.
//
// Invariants: (1) a list is read in pages and never beyond `limit` objects: what is more is counted
// in `left_out`; (2) a page that has expired (410) begins the list anew, once; (3) a token file is
// read for every request, for it is renewed in place; (4) nothing that a kubeconfig names is run.
//
// Errors name the server and path, never a token: kUnavailable (no connection, TLS, 503), kTimeout,
// kPermissionDenied (401, 403; with the API's message), kNotFound, kConflict (409), kExhausted
// (429, too large an answer), kCorrupt (no JSON of the expected form), kInvalidArgument (other
// refusals), kInternal (500); each says in words what the status means. Fields that the API leaves
// out are empty. What changes something: kubernetes_control.hpp. Thread safety: any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/values.hpp"
#include "nexus/drivers/http_client.hpp"
#include "nexus/host/roots.hpp"

namespace nexus::config {
struct KubernetesSection;
}

namespace nexus::drivers {

/// Where the API is, and who asks.
struct KubernetesAccess {
  std::string server;  // "https://10.0.0.1:443", without a slash at the end
  HttpTls tls;
  config::Secret token;
  std::string token_file;
  std::string name_space;  // of the pod, or the context; may be empty
};

/// From a kubeconfig; `context` empty: its current one. Relative paths are beside the file.
/// kUnsupported: a plugin (exec, auth-provider), a password, a proxy.
[[nodiscard]] Result<KubernetesAccess> kubernetes_from_config(const std::string& path,
                                                              const std::string& context);
/// From the token that the kubelet mounts into a pod; `host` and `port` are what
/// KUBERNETES_SERVICE_HOST and _PORT say. kNotFound: the agent runs in no pod.
[[nodiscard]] Result<KubernetesAccess> kubernetes_in_cluster(const host::Roots& roots,
                                                             const std::string& host,
                                                             const std::string& port);

/// As [kubernetes] says: its kubeconfig, else the pod's own token. `environment` gives a variable
/// of the process, or nothing.
[[nodiscard]] Result<KubernetesAccess> kubernetes_access(
    const config::KubernetesSection& section, const host::Roots& roots,
    const std::function<std::optional<std::string>(const std::string&)>& environment);

/// The name of this host's node; empty when it is not known.
[[nodiscard]] std::string kubernetes_node(const config::KubernetesSection& section,
                                          const host::Roots& roots);

using KubernetesQuantities = std::map<std::string, double, std::less<>>;  // cores, bytes, counts

struct KubernetesTaint {
  std::string key;
  std::string value;
  std::string effect;
};

struct KubernetesNode {
  std::string name;
  std::map<std::string, std::string, std::less<>> conditions;  // Ready: True, False, Unknown
  KubernetesQuantities capacity;
  KubernetesQuantities allocatable;
  bool unschedulable = false;
  std::string kubelet_version;
  std::string kernel_version;
  std::string os_image;
  std::string runtime_version;
  std::string kube_proxy_version;
  std::string internal_ip;
  std::string pod_cidr;
  std::string provider_id;
  std::string system_uuid;
  std::vector<std::string> roles;  // of its labels node-role.kubernetes.io/ROLE
  std::vector<KubernetesTaint> taints;
  double created = 0;  // seconds since the epoch, as all times here
};

struct KubernetesContainer {
  std::string name;
  std::string image_spec;  // as the pod asks for it
  std::string image;       // as the kubelet found it, else as asked for
  std::string image_id;
  std::string id;       // without "containerd://"
  std::string full_id;  // with it
  std::string state;    // waiting, running, terminated; empty: not told
  std::string reason;   // of waiting and terminated
  std::string last_terminated_reason;
  bool ready = false;
  std::uint64_t restarts = 0;
  std::optional<double> started;  // of the present state: running, or terminated
  KubernetesQuantities requests;
  KubernetesQuantities limits;
};

struct KubernetesPod {
  std::string name_space;
  std::string name;
  std::string uid;
  std::string node;
  std::string phase;   // Pending, Running, Succeeded, Failed, Unknown
  std::string reason;  // Evicted, NodeLost, ...
  std::string host_ip;
  std::string pod_ip;
  std::string qos;
  std::string owner_kind;
  std::string owner_name;
  bool owner_is_controller = false;
  std::string priority_class;
  bool host_network = false;
  std::string ready;  // conditions: True, False, Unknown; empty: not told
  std::string scheduled;
  double created = 0;
  std::optional<double> started;
  std::vector<KubernetesContainer> containers;
};

struct KubernetesDeployment {
  std::string name_space;
  std::string name;
  std::uint64_t generation = 0;
  std::uint64_t observed_generation = 0;
  std::uint32_t wanted = 1;
  std::uint32_t replicas = 0;
  std::uint32_t ready = 0;
  std::uint32_t available = 0;
  std::uint32_t unavailable = 0;
  std::uint32_t updated = 0;
  bool paused = false;
  std::map<std::string, std::string, std::less<>> conditions;
  std::map<std::string, std::string, std::less<>> reasons;  // of conditions
  double created = 0;
};

struct KubernetesEvent {
  std::string uid;
  std::string type;  // Normal, Warning
  std::string reason;
  std::string name_space;
  std::string kind;  // of what it is about
  std::string name;
  std::uint64_t count = 1;
  double last = 0;
};

struct KubernetesAnswer {
  unsigned status = 0;
  std::string body;  // JSON
};

/// One request and all that may be said of it.
struct KubernetesCall {
  std::string_view method = "GET";
  std::string path;  // with its query
  std::string json = {};
  std::string_view content_type = "application/json";
  SteadyTime deadline{};
  std::function<bool()> cancelled = {};                      // asked about once a second
  std::function<bool(std::string_view piece)> receive = {};  // as HttpRequest::receive
  std::size_t largest_answer = 16U << 20;                    // bytes; beyond: kExhausted
};

struct KubernetesReply {
  unsigned status = 0;
  std::string body;                   // JSON, mostly
  std::optional<Millis> retry_after;  // what the API asks to wait
};

template <typename T>
struct KubernetesList {
  std::vector<T> items;
  std::uint64_t left_out = 0;  // at least so many are beyond the limit
};

class Kubernetes {
 public:
  Kubernetes(Clock& clock, KubernetesAccess access) : clock_(clock), access_(std::move(access)) {}

  /// Any request; a status of 400 or more is an answer, not an error.
  [[nodiscard]] Result<KubernetesReply> send(const KubernetesCall& call) const;
  /// What a reply of 400 or more means, in words, with the API's own message.
  [[nodiscard]] Error explain(const KubernetesCall& call, const KubernetesReply& reply) const;

  /// Any request: `path` with its query, a JSON text or nothing. A status of 400 or more is an
  /// Error with the message of the API.
  [[nodiscard]] Result<KubernetesAnswer> request(
      std::string_view method, std::string_view path, std::string_view json, SteadyTime deadline,
      std::string_view content_type = "application/json") const;

  /// An empty `name`, `node` or `name_space`: all of them.
  [[nodiscard]] Result<KubernetesList<KubernetesNode>> nodes(std::string_view name,
                                                             std::size_t limit,
                                                             SteadyTime deadline) const;
  [[nodiscard]] Result<KubernetesList<KubernetesPod>> pods(std::string_view name_space,
                                                           std::string_view node, std::size_t limit,
                                                           SteadyTime deadline) const;
  [[nodiscard]] Result<KubernetesList<KubernetesDeployment>> deployments(
      std::string_view name_space, std::size_t limit, SteadyTime deadline) const;
  /// Those of type Warning.
  [[nodiscard]] Result<KubernetesList<KubernetesEvent>> warnings(std::string_view name_space,
                                                                 std::size_t limit,
                                                                 SteadyTime deadline) const;

  [[nodiscard]] const KubernetesAccess& access() const noexcept { return access_; }
  [[nodiscard]] Clock& clock() const noexcept { return clock_; }

 private:
  Clock& clock_;
  const KubernetesAccess access_;
};

/// "100m" is 0.1, "1Gi" 1073741824, "1e3" 1000; nothing when it is no quantity.
[[nodiscard]] std::optional<double> parse_quantity(std::string_view text);

}  // namespace nexus::drivers
