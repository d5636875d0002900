"""The kubernetes collector against a real API server: names and labels are those that kube-state-metrics documents.

    kubernetes.py BIN_DIR kubernetes_collector.py NEXUS_AGENT

The agent asks as a service account that may do what docs/sources.md says it needs, and nothing else.
"""
import contextlib
import json
import pathlib
import re
import subprocess
import sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "agent"))
from harness import Agent, directory, equal, expect, run_tests, wait_for  # noqa: E402
from kubernetes_agent import BED, Cluster  # noqa: E402

SPACE = "watched"
POD = {"namespace", "pod", "uid"}
CONTAINER = POD | {"container"}
DEPLOYMENT = {"namespace", "deployment"}
# What kube-state-metrics' documentation (docs/metrics of its repository) says of the metrics that the agent has too.
DOCUMENTED = {
    "kube_node_info": {"node", "kernel_version", "os_image", "container_runtime_version", "kubelet_version", "kubeproxy_version",
                       "pod_cidr", "provider_id", "system_uuid", "internal_ip"},
    "kube_node_created": {"node"},
    "kube_node_role": {"node", "role"},
    "kube_node_spec_unschedulable": {"node"},
    "kube_node_spec_taint": {"node", "key", "value", "effect"},
    "kube_node_status_condition": {"node", "condition", "status"},
    "kube_node_status_capacity": {"node", "resource", "unit"},
    "kube_node_status_allocatable": {"node", "resource", "unit"},
    "kube_pod_info": POD | {"host_ip", "pod_ip", "node", "created_by_kind", "created_by_name", "priority_class", "host_network"},
    "kube_pod_created": POD,
    "kube_pod_start_time": POD,
    "kube_pod_owner": POD | {"owner_kind", "owner_name", "owner_is_controller"},
    "kube_pod_status_phase": POD | {"phase"},
    "kube_pod_status_qos_class": POD | {"qos_class"},
    "kube_pod_status_ready": POD | {"condition"},
    "kube_pod_status_scheduled": POD | {"condition"},
    "kube_pod_container_info": CONTAINER | {"image", "image_id", "image_spec", "container_id"},
    "kube_pod_container_state_started": CONTAINER,
    "kube_pod_container_status_ready": CONTAINER,
    "kube_pod_container_status_running": CONTAINER,
    "kube_pod_container_status_waiting": CONTAINER,
    "kube_pod_container_status_waiting_reason": CONTAINER | {"reason"},
    "kube_pod_container_status_terminated": CONTAINER,
    "kube_pod_container_status_restarts_total": CONTAINER,
    "kube_pod_container_resource_requests": CONTAINER | {"node", "resource", "unit"},
    "kube_pod_container_resource_limits": CONTAINER | {"node", "resource", "unit"},
    "kube_deployment_created": DEPLOYMENT,
    "kube_deployment_spec_replicas": DEPLOYMENT,
    "kube_deployment_spec_paused": DEPLOYMENT,
    "kube_deployment_metadata_generation": DEPLOYMENT,
    "kube_deployment_status_replicas": DEPLOYMENT,
    "kube_deployment_status_replicas_ready": DEPLOYMENT,
    "kube_deployment_status_replicas_available": DEPLOYMENT,
    "kube_deployment_status_replicas_unavailable": DEPLOYMENT,
    "kube_deployment_status_replicas_updated": DEPLOYMENT,
    "kube_deployment_status_observed_generation": DEPLOYMENT,
    "kube_deployment_status_condition": DEPLOYMENT | {"condition", "status", "reason"},
}


def deployment(cluster, name, image, replicas, **pod):
    container = {"name": "main", "image": image, "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "128Mi"}}}
    cluster.make(f"/apis/apps/v1/namespaces/{SPACE}/deployments", "Deployment", name, "apps/v1", spec={
        "replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **pod}}})


def prepare(cluster):
    """Two deployments that run, one whose image is broken, a pod that no node has room for; a token of who may look at them."""
    cluster.make("/api/v1/namespaces", "Namespace", SPACE)
    rules = yaml.safe_load(re.search(r"\n((?:    - .*\n)+)", HERE.parent.parent.joinpath("docs/sources.md").read_text()
                                     .partition("To be seen by the agent's account, in a ClusterRole:")[2])[1])
    rbac = "rbac.authorization.k8s.io"
    cluster.make(f"/apis/{rbac}/v1/clusterroles", "ClusterRole", "watcher", f"{rbac}/v1", rules=rules)
    cluster.make(f"/api/v1/namespaces/{SPACE}/serviceaccounts", "ServiceAccount", "watcher")
    cluster.make(f"/apis/{rbac}/v1/clusterrolebindings", "ClusterRoleBinding", "watcher", f"{rbac}/v1",
                 roleRef={"apiGroup": rbac, "kind": "ClusterRole", "name": "watcher"},
                 subjects=[{"kind": "ServiceAccount", "name": "watcher", "namespace": SPACE}])
    cluster.ask("PATCH", "/api/v1/nodes/n1", {
        "metadata": {"labels": {"node-role.kubernetes.io/worker": ""}},
        "spec": {"podCIDR": "10.9.0.0/24", "providerID": "bed://n1",
                 "taints": [{"key": "disk", "value": "slow", "effect": "PreferNoSchedule"}]}}, "application/merge-patch+json")
    here, there = ({"nodeSelector": {"kubernetes.io/hostname": name}} for name in ("n1", "n2"))
    deployment(cluster, "web", "app:1", 2, **here)
    deployment(cluster, "far", "app:1", 1, **there)
    deployment(cluster, "torn", "broken:1", 1, **here)
    huge = {"name": "main", "image": "app:1", "resources": {"requests": {"memory": "1Ti"}}}
    cluster.make(f"/api/v1/namespaces/{SPACE}/pods", "Pod", "huge", spec={"containers": [huge]})
    return cluster.ask("POST", f"/api/v1/namespaces/{SPACE}/serviceaccounts/watcher/token", {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}})["status"]["token"]


def settings(path, token, **keys):
    """[kubernetes] of an agent that asks with the token."""
    (path / "token").write_text(token)
    (path / "token").chmod(0o600)
    config = json.loads((BED / "admin.conf").read_text())
    config["clusters"][0]["cluster"]["certificate-authority"] = str(BED / "ca.crt")
    config["users"][0]["user"] = {"tokenFile": "token"}
    (path / "kubeconfig").write_text(json.dumps(config))
    (path / "kubeconfig").chmod(0o600)
    keys = {"kubeconfig": str(path / "kubeconfig"), "timeout": "30s", **keys}
    return ("[kubernetes]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
            + '[collect]\ndeadline = "40s"\n[collect.kubernetes]\ninterval = "1s"\n')


def labels_of(row):
    return {key: value for key, value in row["metric"].items() if key != "__name__"}


def the_cluster(cluster, token):
    with directory() as where, contextlib.closing(Agent(sys.argv[1], where, settings(where, token, all_nodes=True))) as agent:
        agent.start()

        def value(expression):
            rows = agent.query(expression)
            return float(rows[0]["value"][1]) if rows else None
        at = f'namespace="{SPACE}"'
        web = f'{{{at},deployment="web"}}'
        wait_for("the deployment being available", lambda: value(f"kube_deployment_status_replicas_available{web}") == 2, 300)
        torn = f'kube_pod_container_status_waiting_reason{{{at},pod=~"torn-.*",reason="ImagePullBackOff"}}'
        wait_for("the broken image being told", lambda: value(torn) == 1, 300)
        wait_for("the pod without a place", lambda: value(f'kube_pod_status_scheduled{{{at},pod="huge",condition="false"}}') == 1, 300)
        equal(value("kubernetes_up"), 1.0, "the API")

        shown = {}
        for row in agent.query('{__name__=~"kube_.*"}'):
            shown.setdefault(row["metric"]["__name__"], set()).update(labels_of(row))
        for name, labels in sorted(shown.items()):
            expect(labels <= DOCUMENTED.get(name, set()), f"{name} has labels that are not documented: {labels}")
        equal(sorted(set(DOCUMENTED) - set(shown)), [], "documented metrics that a cluster with all of it does not show")

        equal(value(f'kube_deployment_spec_replicas{web}'), 2.0, "wanted replicas")
        equal(value(f'kube_deployment_status_observed_generation{web}'), value(f'kube_deployment_metadata_generation{web}'),
              "generations")
        condition = f'kube_deployment_status_condition{{{at},deployment="web",condition="Available",status="true"}}'
        equal(labels_of(agent.query(condition)[0])["reason"], "MinimumReplicasAvailable", "why it is available")
        equal(value(f'sum(kube_pod_status_phase{{{at},phase="Running"}})'), 3.0, "pods that run")
        equal(value(f'kube_pod_status_phase{{{at},pod="huge",phase="Pending"}}'), 1.0, "the pod that waits for room")
        equal(value('kube_node_status_capacity{node="n1",resource="memory"}'), 64.0 * 2 ** 30, "memory of a node")
        requests = f'kube_pod_container_resource_requests{{{at},pod=~"web-.*",resource="cpu",unit="core",node="n1"}}'
        equal([row["value"][1] for row in agent.query(requests)], ["0.1", "0.1"], "what the pods ask for")
        equal(labels_of(agent.query('kube_node_spec_taint{node="n1"}')[0]) | {"job": ""},
              {"node": "n1", "key": "disk", "value": "slow", "effect": "PreferNoSchedule", "job": ""}, "the taint")
        info = labels_of(agent.query('kube_node_info{node="n1"}')[0])
        equal((info["pod_cidr"], info["provider_id"]), ("10.9.0.0/24", "bed://n1"), "what the node says of itself")
        owner = labels_of(agent.query(f'kube_pod_owner{{{at},pod=~"web-.*"}}')[0])
        equal((owner["owner_kind"], owner["owner_is_controller"]), ("ReplicaSet", "true"), "whose pods")

        # A warning of the scheduler's own: it counts from the agent's start on.
        cluster.make(f"/api/v1/namespaces/{SPACE}/pods", "Pod", "huge-too", spec={"containers": [{
            "name": "main", "image": "app:1", "resources": {"requests": {"memory": "1Ti"}}}]})
        wait_for("the warning", lambda: (value('kubernetes_warnings_total{kind="Pod",reason="FailedScheduling"}') or 0) >= 1, 300)


def one_node(token):
    with directory() as where:
        config = where / "agent.toml"
        config.write_text(f'[agent]\ndata_dir = "{where}/data"\n' + settings(where, token, node="n1"))
        page = subprocess.run([sys.argv[1], "collect", "--once", "--collector", "kubernetes", "--config", config],
                              check=True, capture_output=True, text=True).stdout
        pods = set(re.findall(rf'kube_pod_info{{.*namespace="{SPACE}".*pod="([a-z]+)-?[^"]*"', page))
        equal(pods, {"web", "torn"}, "pods of this node")
        equal(set(re.findall(r'kube_node_info{.*node="(\w+)"', page)), {"n1"}, "nodes")
        expect("kube_deployment" not in page, "deployments are nobody's on one node")


def refused(cluster):
    """An account that may do nothing, and a token that nobody gave."""
    cluster.make(f"/api/v1/namespaces/{SPACE}/serviceaccounts", "ServiceAccount", "nobody")
    token = cluster.ask("POST", f"/api/v1/namespaces/{SPACE}/serviceaccounts/nobody/token", {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}})["status"]["token"]
    for given, up, why in ((token, "1", 'cannot list resource "nodes"'), ("made-up", "0", "(status 401)")):
        with directory() as where:
            config = where / "agent.toml"
            config.write_text(f'[agent]\ndata_dir = "{where}/data"\n' + settings(where, given, node="n1"))
            ran = subprocess.run([sys.argv[1], "collect", "--once", "--collector", "kubernetes", "--config", config],
                                 check=False, capture_output=True, text=True)
            expect(f"kubernetes_up {up}\n" in ran.stdout, f"kubernetes_up is not {up}: {ran.stdout}")
            expect(why in ran.stderr, f"what was refused: {ran.stderr}")
            expect(given not in ran.stdout + ran.stderr, "the token was printed")


def main():
    cluster = Cluster()
    token = prepare(cluster)
    run_tests([("a real cluster: kube-state-metrics' names and labels", lambda: the_cluster(cluster, token)),
               ("a real cluster: one node", lambda: one_node(token)),
               ("a real cluster: who may not look", lambda: refused(cluster))])


if __name__ == "__main__":
    main()
