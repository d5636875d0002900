// The kubernetes collector against tests/doubles/kubernetes_api, which validates what it is asked.
#include <catch2/catch.hpp>

#include "monitor/remote_rig.hpp"
#include "support/kubernetes_double.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace std::chrono_literals;
using monitor::testing::RemoteRig;

namespace {

std::string cluster(std::string_view rules = R"(["*"])", int events = 3) {
  return R"({"tokens": {"t": "watcher"}, "rules": {"watcher": )" + std::string(rules) + R"(},
  "objects": {
    "nodes": [
      {"metadata": {"name": "n1", "creationTimestamp": "2024-01-01T00:00:00Z",
                    "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/os": "linux"}},
       "spec": {"podCIDR": "10.1.0.0/24", "providerID": "own://n1",
                "taints": [{"key": "disk", "value": "slow", "effect": "NoSchedule"}]}, "status": {
         "conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "False"}],
         "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110", "hugepages-2Mi": "0"},
         "allocatable": {"cpu": "3800m", "memory": "7Gi"},
         "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
         "nodeInfo": {"kubeletVersion": "v1.30.1", "systemUUID": "u-u", "kubeProxyVersion": "v1.30.2", "kernelVersion": "6.1", "osImage": "Debian 12",
                      "containerRuntimeVersion": "containerd://1.7"}}},
      {"metadata": {"name": "n2"}, "spec": {"unschedulable": true},
       "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}],
    "pods": [
      {"metadata": {"name": "web-1", "namespace": "shop", "uid": "u1",
                    "creationTimestamp": "2024-01-01T00:00:00Z",
                    "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": true}]},
       "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "shop:1",
                "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "128Mi"}}}]},
       "status": {"phase": "Running", "hostIP": "10.0.0.1", "podIP": "10.1.0.5",
                  "startTime": "2024-01-01T00:00:10Z", "qosClass": "Burstable",
                  "conditions": [{"type": "Ready", "status": "False"}, {"type": "PodScheduled", "status": "True"}],
                  "containerStatuses": [{"name": "app", "image": "shop:1", "ready": false, "restartCount": 7,
                    "containerID": "containerd://abc", "imageID": "shop@sha256:1", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"reason": "OOMKilled"}}}]}},
      {"metadata": {"name": "far", "namespace": "shop", "uid": "u2"}, "spec": {"nodeName": "n2"},
       "status": {"phase": "Failed", "reason": "Evicted"}},
      {"metadata": {"name": "waits", "namespace": "shop", "uid": "u3"}, "spec": {},
       "status": {"phase": "Pending"}}],
    "deployments": [
      {"metadata": {"name": "web", "namespace": "shop", "generation": 4},
       "spec": {"replicas": 3}, "status": {"replicas": 3, "availableReplicas": 1, "readyReplicas": 1,
       "unavailableReplicas": 2, "updatedReplicas": 3, "observedGeneration": 3,
       "conditions": [{"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"}]}}],
    "events": [
      {"metadata": {"name": "e1", "namespace": "shop", "uid": "e1"}, "type": "Warning", "reason": "BackOff",
       "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-1"}, "count": )" +
         std::to_string(events) + R"(},
      {"metadata": {"name": "e2", "namespace": "shop", "uid": "e2"}, "type": "Warning", "reason": "Evicted",
       "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "far"}, "count": 1},
      {"metadata": {"name": "e3", "namespace": "shop", "uid": "e3"}, "type": "Normal", "reason": "Pulled",
       "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-1"}, "count": 9}]}})";
}

config::Connections at(const test::KubernetesDouble& api, const std::string& user = "token: t") {
  config::Connections out;
  out.kubernetes.kubeconfig = api.kubeconfig(user);
  out.kubernetes.node = "n1";
  out.kubernetes.timeout = std::chrono::seconds(30);  // a busy machine is no API that hangs
  return out;
}

constexpr std::string_view kPod = R"(namespace="shop",pod="web-1",uid="u1"})";
constexpr std::string_view kContainer =
    R"({container="app",namespace="shop",pod="web-1",uid="u1"})";

}  // namespace

TEST_CASE("kubernetes collector: this node, its pods and their warnings, and nothing else") {
  test::KubernetesDouble api(cluster());
  RemoteRig rig("kubernetes", at(api));
  const Status status = rig.collect();
  INFO((status ? "" : status.error().message()));
  REQUIRE(status);
  const auto& sink = rig.sink;
  const auto of_pod = [&](std::string_view name, std::string_view more = "{") {
    return sink.value(std::string(name) + std::string(more) + std::string(kPod));
  };
  const auto of_container = [&](std::string_view name) {
    return sink.value(std::string(name) + std::string(kContainer));
  };
  CHECK(sink.value("kubernetes_up") == 1);
  CHECK(sink.value(R"(kube_node_status_condition{condition="Ready",node="n1",status="true"})") ==
        1);
  CHECK(sink.value(R"(kube_node_status_capacity{node="n1",resource="memory",unit="byte"})") ==
        8589934592);
  CHECK(sink.value(R"(kube_node_status_allocatable{node="n1",resource="cpu",unit="core"})") ==
        Approx(3.8));
  CHECK(sink.has(R"(kube_node_status_capacity{node="n1",resource="hugepages_2Mi",unit="byte"})"));
  CHECK(sink.value(R"(kube_node_spec_unschedulable{node="n1"})") == 0);
  CHECK(sink.has(
      R"(kube_node_info{container_runtime_version="containerd://1.7",internal_ip="10.0.0.1",)"
      R"(kernel_version="6.1",kubelet_version="v1.30.1",kubeproxy_version="v1.30.2",node="n1",)"
      R"(os_image="Debian 12",pod_cidr="10.1.0.0/24",provider_id="own://n1",system_uuid="u-u"})"));
  CHECK(sink.value(R"(kube_node_role{node="n1",role="worker"})") == 1);
  CHECK(sink.value(
            R"(kube_node_spec_taint{effect="NoSchedule",key="disk",node="n1",value="slow"})") == 1);
  CHECK(sink.has(R"(kube_pod_info{created_by_kind="ReplicaSet",created_by_name="web",)"
                 R"(host_ip="10.0.0.1",host_network="false",namespace="shop",node="n1",)"
                 R"(pod="web-1",pod_ip="10.1.0.5",uid="u1"})"));
  CHECK(sink.has(R"(kube_pod_owner{namespace="shop",owner_is_controller="true",)"
                 R"(owner_kind="ReplicaSet",owner_name="web",pod="web-1",uid="u1"})"));
  CHECK(sink.value(R"(kube_pod_status_qos_class{namespace="shop",pod="web-1",)"
                   R"(qos_class="Burstable",uid="u1"})") == 1);
  CHECK(sink.value(
            R"(kube_pod_status_phase{namespace="shop",phase="Running",pod="web-1",uid="u1"})") ==
        1);
  CHECK(of_pod("kube_pod_status_ready", "{condition=\"false\",") == 1);
  CHECK(of_pod("kube_pod_status_scheduled", "{condition=\"true\",") == 1);
  CHECK(of_pod("kube_pod_start_time") == 1704067210);
  CHECK(of_container("kube_pod_container_status_restarts_total") == 7);
  CHECK(of_container("kube_pod_container_status_running") == 0);
  CHECK(of_container("kube_pod_container_status_waiting") == 1);
  CHECK(sink.has(R"(kube_pod_container_status_waiting_reason{container="app",namespace="shop",)"
                 R"(pod="web-1",reason="CrashLoopBackOff",uid="u1"})"));
  CHECK(sink.has(R"(kube_pod_container_status_last_terminated_reason{container="app",)"
                 R"(namespace="shop",pod="web-1",reason="OOMKilled",uid="u1"})"));
  CHECK(sink.value(R"(kube_pod_container_resource_requests{container="app",namespace="shop",)"
                   R"(node="n1",pod="web-1",resource="cpu",uid="u1",unit="core"})") == Approx(0.1));
  CHECK(sink.has(R"(kube_pod_container_info{container="app",container_id="containerd://abc",)"
                 R"(image="shop:1",image_id="shop@sha256:1",image_spec="shop:1",namespace="shop",)"
                 R"(pod="web-1",uid="u1"})"));
  CHECK_FALSE(sink.text().contains("\"n2\""));
  CHECK_FALSE(sink.text().contains("\"far\""));
  CHECK_FALSE(sink.text().contains("kube_deployment"));
  // For the collector of control groups: containers by their ids, pods by their uids.
  const auto names = rig.observed.container_names(NameSource::kKubernetes);
  REQUIRE(names != nullptr);
  REQUIRE(names->contains("abc"));
  CHECK(names->at("abc").container == "app");
  CHECK(names->at("abc").pod == "web-1");
  REQUIRE(names->contains("u1"));
  CHECK(names->at("u1").name_space == "shop");
  CHECK(names->at("u1").container.empty());
  CHECK_FALSE(names->contains("u2"));
  constexpr std::string_view kBackOff = R"(kubernetes_warnings_total{kind="Pod",reason="BackOff"})";
  CHECK(sink.value(kBackOff) == 0);  // what there was before counts as nothing new
  api.set(cluster(R"(["*"])", 5));
  REQUIRE(rig.collect());
  CHECK(sink.value(kBackOff) == 2);
  CHECK_FALSE(sink.text().contains("reason=\"Evicted\""));
  CHECK_FALSE(api.requests().contains("complaint"));
}

TEST_CASE("kubernetes collector: the whole cluster when it is asked for, bounded") {
  test::KubernetesDouble api(cluster());
  auto all = at(api);
  all.kubernetes.all_nodes = true;
  RemoteRig rig("kubernetes", all);
  REQUIRE(rig.collect());
  const auto& sink = rig.sink;
  CHECK(sink.value(R"(kube_node_status_condition{condition="Ready",node="n2",status="unknown"})") ==
        1);
  CHECK(sink.value(
            R"(kube_pod_status_phase{namespace="shop",phase="Pending",pod="waits",uid="u3"})") ==
        1);
  CHECK(sink.value(
            R"(kube_pod_status_reason{namespace="shop",pod="far",reason="Evicted",uid="u2"})") ==
        1);
  constexpr std::string_view kWeb = R"({deployment="web",namespace="shop"})";
  CHECK(sink.value(R"(kube_deployment_status_condition{condition="Available",deployment="web",)"
                   R"(namespace="shop",reason="MinimumReplicasUnavailable",status="false"})") == 1);
  CHECK(sink.value("kube_deployment_spec_replicas" + std::string(kWeb)) == 3);
  CHECK(sink.value("kube_deployment_status_replicas_available" + std::string(kWeb)) == 1);
  CHECK(sink.value("kube_deployment_status_observed_generation" + std::string(kWeb)) == 3);
  CHECK(sink.value("kube_deployment_metadata_generation" + std::string(kWeb)) == 4);
  CHECK(sink.has(R"(kubernetes_warnings_total{kind="Pod",reason="Evicted"})"));
  all.kubernetes.max_pods = 1;
  RemoteRig few("kubernetes", all);
  REQUIRE(few.collect());
  CHECK(few.sink.value(R"(kubernetes_objects_left_out{kind="pod"})") == 2);
  CHECK_FALSE(api.requests().contains("complaint"));
}

TEST_CASE("kubernetes collector: what RBAC forbids is told, and the rest goes on") {
  test::KubernetesDouble api(cluster(R"(["list pods", "list nodes"])"));
  RemoteRig rig("kubernetes", at(api));
  const Status status = rig.collect();
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == Errc::kPermissionDenied);
  CHECK(status.error().message().contains("cannot list resource \"events\""));
  CHECK(rig.sink.value("kubernetes_up") == 1);
  CHECK(rig.sink.text().contains("kube_pod_info"));
  CHECK(rig.collect());  // not asked again for a while

  RemoteRig unknown("kubernetes", at(api, "token: hunter2"));
  const Status refused = unknown.collect();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message().ends_with("(status 401)"));
  CHECK(unknown.sink.value("kubernetes_up") == 0);
}

TEST_CASE("kubernetes collector: an API that hangs, and one that is not configured") {
  test::KubernetesDouble api(cluster());
  auto hasty = at(api);
  hasty.kubernetes.timeout = 300ms;
  RemoteRig rig("kubernetes", hasty);
  api.freeze();
  const Status late = rig.collect();
  api.thaw();
  REQUIRE_FALSE(late);
  CHECK(late.error().code() == Errc::kTimeout);
  CHECK(rig.sink.value("kubernetes_up") == 0);
  CHECK_FALSE(rig.sink.text().contains("kube_"));
  CHECK(test::eventually([&] { return rig.collect().has_value(); }));
  CHECK(rig.sink.value("kubernetes_up") == 1);

  RemoteRig none("kubernetes", {});
  CHECK(none.collect().error().code() == Errc::kNotFound);
  CHECK(none.sink.count() == 0);
  config::Connections wrong;
  wrong.kubernetes.kubeconfig = "/nowhere";
  RemoteRig broken("kubernetes", wrong);
  CHECK(broken.collect().error().code() == Errc::kUnavailable);
  CHECK(broken.sink.value("kubernetes_up") == 0);
}
