"""Real agents against a real Kubernetes API server, as their users see them: over HTTP, on the command line, in a fleet.

    kubernetes.py BIN_DIR kubernetes_agent.py NEXUS_AGENT

The agents run as a service account that may do what README.md ("Act on Kubernetes") says it needs, and nothing else.
"""
import contextlib
import json
import os
import pathlib
import re
import ssl
import sys
import urllib.error
import urllib.request

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "agent"))
from harness import Agent, directory, equal, expect, run_tests, wait_for  # noqa: E402

BED = pathlib.Path(os.environ["NEXUS_KUBERNETES_BED"])
SHOP = "shop"
APPS = f"/apis/apps/v1/namespaces/{SHOP}"
WEB = f"kubernetes:{SHOP}/deployment/web"
AT = f"/operations/services/{WEB}"
# What is said of workloads decides, whoever it is that made them sick.
REMEDIES = f"""
[collect.kubernetes]
interval = "1s"
[[alert]]
name = "WebDoesNotGetOn"
expr = 'kube_deployment_status_replicas_unavailable{{namespace="{SHOP}", deployment="web"}} > 0'
for = "3s"
[[remedy]]
name = "back"
on = "WebDoesNotGetOn"
action = "rollback_deployment"
target = "{WEB}"
[[alert]]
name = "PodStuck"
expr = 'kube_pod_container_status_waiting_reason{{namespace="{SHOP}", pod=~"sick-.*", reason="ImagePullBackOff"}} == 1'
[[remedy]]
name = "pod"
on = "PodStuck"
action = "delete_pod"
target = "kubernetes:${{namespace}}/pod/${{pod}}"
parameters = {{ min_age = "0s" }}
cooldown = "1s"
max_attempts = 2
"""


class Cluster:
    """The API, asked as its administrator."""

    def __init__(self):
        config = json.loads((BED / "admin.conf").read_text())
        self.server = config["clusters"][0]["cluster"]["server"]
        self.context = ssl.create_default_context(cafile=BED / "ca.crt")
        self.context.load_cert_chain(BED / "admin.crt", BED / "admin.key")

    def ask(self, method, path, body=None, kind="application/json"):
        request = urllib.request.Request(self.server + path, None if body is None else json.dumps(body).encode(),
                                         {"Content-Type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            raise OSError(f"{method} {path}: {refused.code}: {refused.read().decode()}") from refused

    def make(self, path, kind, name, version="v1", **more):
        return self.ask("POST", path, {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more})

    def deploy(self, name, image, replicas):
        return self.make(f"{APPS}/deployments", "Deployment", name, "apps/v1", spec={
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {
                "terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": image}]}}})

    def change_web(self, **spec):
        return self.ask("PATCH", f"{APPS}/deployments/web", {"spec": spec}, "application/merge-patch+json")

    def web(self):
        return self.ask("GET", f"{APPS}/deployments/web")

    def image(self):
        return self.web()["spec"]["template"]["spec"]["containers"][0]["image"]


def prepare(cluster):
    cluster.make("/api/v1/namespaces", "Namespace", SHOP)
    role = yaml.safe_load(re.search(r"\n((?:    .*\n)+)", HERE.parent.parent.joinpath("docs/services.md").read_text()
                                    .partition("The account needs a Role for it")[2])[1])
    equal(role["metadata"]["namespace"], SHOP, "the namespace of the documented role")
    rbac = "rbac.authorization.k8s.io"
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["list", "get", "create", "patch"]}
    cluster.make(f"/apis/{rbac}/v1/namespaces/{SHOP}/roles", "Role", "agent", f"{rbac}/v1", rules=[*role["rules"], leases])
    cluster.make(f"/api/v1/namespaces/{SHOP}/serviceaccounts", "ServiceAccount", "agent")
    cluster.make(f"/apis/{rbac}/v1/namespaces/{SHOP}/rolebindings", "RoleBinding", "agent", f"{rbac}/v1",
                 roleRef={"apiGroup": rbac, "kind": "Role", "name": "agent"},
                 subjects=[{"kind": "ServiceAccount", "name": "agent", "namespace": SHOP}])
    cluster.deploy("web", "app:1", 2)
    return cluster.make(f"/api/v1/namespaces/{SHOP}/serviceaccounts/agent/token", "TokenRequest", "agent",
                        "authentication.k8s.io/v1", spec={"expirationSeconds": 3600})["status"]["token"]


def agent_of(binary, path, token, more=""):
    (path / "token").write_text(token)
    (path / "token").chmod(0o600)
    config = json.loads((BED / "admin.conf").read_text())
    config["clusters"][0]["cluster"]["certificate-authority"] = str(BED / "ca.crt")
    config["users"][0]["user"] = {"tokenFile": "token"}
    (path / "kubeconfig").write_text(json.dumps(config))
    (path / "kubeconfig").chmod(0o600)
    return Agent(binary, path, f"""
[kubernetes]
kubeconfig = "{path / 'kubeconfig'}"
namespace = "{SHOP}"
all_nodes = true
change_in = ["{SHOP}"]
change_nodes = "all"
timeout = "30s"
[fleet]
lock = "kubernetes"
namespace = "{SHOP}"
timeout = "30s"
[guardrails]
max_actions_per_hour = 1000
max_actions_per_hour_per_target = 1000
[[command]]
name = "wait"
argv = ["/bin/sleep", "1000"]
{more}""")


def post(agent, path, **body):
    answer = agent.unix("POST", path, body)
    equal(answer.status, 202, f"status of POST {path}: {answer.body}")
    return answer.json["id"]


def ended(agent, identity, patience=300):
    def ask():
        action = agent.get(f"/operations/actions/{identity}").json
        return action if action["finished"] else None
    return wait_for(f"the end of {identity}", ask, patience)


def run(agent, path, state="succeeded", **body):
    action = ended(agent, post(agent, path, **body))
    equal(action["state"], state, f"state of POST {path} {body}: {action['outcome']}")
    return action["outcome"]


def is_idle(agent):
    status = agent.get("/operations/status").json
    return status["in_progress_actions"] + status["queue_size"] == 0


def act(agent, kind, target, state="succeeded", **parameters):
    return run(agent, "/operations/actions", state, action_type=kind, target_component=target, parameters=parameters)


def over_http(cluster, agent):
    wait_for("web being up", lambda: agent.get(AT + "/status").json.get("rollout") == "complete")
    listed = agent.get("/operations/services?kind=kubernetes").json
    equal([one["name"] for one in listed["services"]], [WEB], "services of the cluster")
    status = agent.get(AT + "/status").json
    equal((status["condition"], status["replicas"], status["ready"]), ("up", 2, 2), "what web is")

    before = cluster.web()["metadata"]["generation"]
    expect("would replace the pods" in run(agent, AT + "/restart", dry_run=True)["would_do"], "a dry run of a restart")
    equal(cluster.web()["metadata"]["generation"], before, "generation after a dry run")
    expect("restarted shop/deployment/web; 2 of 2" in run(agent, AT + "/restart", reason="slow")["result"], "a restart")
    expect("kubectl.kubernetes.io/restartedAt" in cluster.web()["spec"]["template"]["metadata"]["annotations"],
           "kubectl's own note of the restart")
    expect("scaled shop/deployment/web from 2 to 3" in run(agent, AT + "/scale", replicas=3)["result"], "scaling")
    equal(cluster.web()["status"]["availableReplicas"], 3, "replicas after scaling")
    run(agent, AT + "/rollout", image="app:2")
    equal(cluster.image(), "app:2", "image after a rollout")
    run(agent, AT + "/rollout", undo=True)
    equal(cluster.image(), "app:1", "image after the undo")

    cluster.change_web(progressDeadlineSeconds=10)
    failed = run(agent, AT + "/rollout", "failed", image="broken:1")["result"]
    expect("ProgressDeadlineExceeded" in failed and "is set back to app:1" in failed, f"a rollout that fails: {failed}")
    equal(cluster.image(), "app:1", "image after a rollout that failed")
    cluster.change_web(progressDeadlineSeconds=600)
    expect("restarted" in run(agent, AT + "/restart")["result"], "a restart after a rollout that failed")


def refused(cluster, agent):
    for path, why in ((f"kubernetes:other/deployment/web", "[kubernetes] change_in"),
                      ("kubernetes:kube-system/deployment/dns", "is protected"), ("kubernetes:web", "NAMESPACE/KIND/NAME")):
        answer = agent.unix("POST", f"/operations/services/{path}/restart", {})
        expect(answer.status in (400, 403, 409) and why in answer.body, f"a restart of {path}: {answer.status} {answer.body}")
    none = run(agent, f"/operations/services/kubernetes:{SHOP}/deployment/none/restart", "failed")["result"]
    expect("there is none of that name" in none, f"a restart of what is not there: {none}")
    # The role of README.md has no nodes: the cluster refuses, and the agent says what is missing.
    node = act(agent, "cordon_node", "kubernetes:node/n1", "failed")["result"]
    expect("a Role and its binding have to allow it" in node and 'resource "nodes"' in node, f"a node: {node}")
    cluster.change_web(paused=True)
    paused = run(agent, AT + "/restart", "failed")["result"]
    expect("paused" in paused, f"a restart of what is paused: {paused}")
    cluster.change_web(paused=False)


def actions(cluster, agent):
    made = act(agent, "adjust_autoscaler", WEB, min=3, max=6)["result"]
    expect("made the autoscaler web: 3 to 6 replicas" in made, made)
    conflict = run(agent, AT + "/scale", "failed", replicas=2)["result"]
    expect("adjust that one" in conflict, conflict)
    act(agent, "adjust_autoscaler", WEB, raise_max_by=2, at_most=7)
    identity = post(agent, "/operations/actions", action_type="adjust_autoscaler", target_component=WEB,
                    parameters={"max": 5})
    ended(agent, identity)
    agent.command("actions", "rollback", identity)
    scalers = f"/apis/autoscaling/v1/namespaces/{SHOP}/horizontalpodautoscalers"
    wait_for("the way back", lambda: cluster.ask("GET", scalers)["items"][0]["spec"]["maxReplicas"] == 7)
    cluster.ask("DELETE", scalers + "/web")
    cluster.make(f"/api/v1/namespaces/{SHOP}/resourcequotas", "ResourceQuota", "most", spec={"hard": {"pods": "20"}})
    act(agent, "adjust_quota", f"kubernetes:{SHOP}/resourcequota/most", hard=["pods=30"])
    equal(cluster.ask("GET", f"/api/v1/namespaces/{SHOP}/resourcequotas/most")["spec"]["hard"], {"pods": "30"}, "the quota")
    act(agent, "adjust_resources", WEB, requests=["cpu=50m"], limits=["memory=64Mi"])
    equal(cluster.web()["spec"]["template"]["spec"]["containers"][0]["resources"],
          {"requests": {"cpu": "50m"}, "limits": {"memory": "64Mi"}}, "resources")
    wrong = act(agent, "adjust_resources", WEB, "failed", requests=["memory=1Gi"])["result"]
    expect("must be less than or equal to memory limit" in wrong, wrong)
    pods = cluster.ask("GET", f"/api/v1/namespaces/{SHOP}/pods?labelSelector=app%3Dweb")["items"]
    pod = next(one for one in pods if "deletionTimestamp" not in one["metadata"])
    target = f"kubernetes:{SHOP}/pod/{pod['metadata']['name']}"
    expect("is ready" in act(agent, "delete_pod", target, "failed")["result"], "a pod that is ready")
    act(agent, "delete_pod", target, if_ready=True, min_age="0s")


def by_command_line(cluster, agent):
    out, _ = agent.command("services", "--kind", "kubernetes")
    expect(WEB in out and "up" in out, f"services: {out}")
    agent.command("services", "scale", WEB, "2")
    wait_for("two replicas", lambda: cluster.web()["spec"]["replicas"] == 2)
    wait_for("its rollout", lambda: is_idle(agent))
    agent.command("services", "rollout", WEB, "--image", "app:3")
    wait_for("the image", lambda: agent.get(AT + "/status").json["description"] == "app:3")
    wait_for("its rollout", lambda: is_idle(agent))
    agent.command("services", "rollout", WEB, "--undo")
    wait_for("the image before", lambda: cluster.image() == "app:1")
    wait_for("its rollout", lambda: is_idle(agent))


def killed(cluster, agent):
    """kill -9 in the middle of a rollout that will fail: found, followed, and set back."""
    cluster.change_web(progressDeadlineSeconds=15)
    identity = post(agent, AT + "/rollout", image="broken:2")
    wait_for("the rollout", lambda: cluster.image() == "broken:2")
    agent.kill()
    agent.start()
    action = ended(agent, identity)
    equal(action["state"], "unverified", f"what became of it: {action['outcome']}")
    expect("is set back to app:1" in str(action["outcome"]["undone"]), f"what was undone: {action['outcome']}")
    equal(cluster.image(), "app:1", "image after the restart of the agent")
    cluster.change_web(progressDeadlineSeconds=600)


def in_a_fleet(agent, other):
    """One of two hosts at a time."""
    wait = {"action_type": "run_command", "target_component": "one", "parameters": {"command": "wait"}}
    first = post(agent, "/operations/actions", **wait)
    wait_for("the first", lambda: agent.get(f"/operations/actions/{first}").json["state"] == "running")
    held = agent.get(f"/operations/actions/{first}").json["outcome"]["fleet_lock"]
    expect(held.startswith("kubernetes lease shop/nexus-run-command-"), held)
    second = ended(other, post(other, "/operations/actions", **wait))
    equal((second["state"], second["outcome"]["reason_code"]), ("cancelled", "fleet_lock"), "the second host")
    agent.command("actions", "cancel", first)
    ended(agent, first)

    def begun():
        """An action of the other host that runs; the place is given back a little after its action has ended."""
        identity = post(other, "/operations/actions", **wait)
        state = wait_for("its beginning or end", lambda: {other.get(f"/operations/actions/{identity}").json["state"]}
                         - {"queued", "proposed"}).pop()
        return identity if state == "running" else None
    third = wait_for("the second host's turn", begun)
    other.command("actions", "cancel", third)
    ended(other, third)
    # A cluster that cannot be asked: nothing begins.
    (other.directory / "token").write_text("wrong")
    refused_ = ended(other, post(other, "/operations/actions", **wait))
    equal(refused_["outcome"]["reason_code"], "fleet_unreachable", f"without a token: {refused_['outcome']}")
    expect("expired" in refused_["outcome"]["result"], refused_["outcome"]["result"])


def remedied(cluster, agent):
    """Findings about kube_* metrics start what mends the workload, under the fleet's lock and the rails."""
    def all_of(remedy):
        return [one for one in agent.get("/operations/actions?limit=1000").json["history"]
                if one["remedy"] == remedy]

    wait_for("web being up", lambda: agent.get(AT + "/status").json.get("rollout") == "complete")
    # A person rolls out an image that does not come up.
    cluster.change_web(template={"spec": {"containers": [{"name": "main", "image": "broken:3"}]}})
    back = wait_for("the rollback", lambda: all_of("back"), 300)[0]
    equal(back["state"], "succeeded", f"the rollback: {back['outcome']}")
    expect("rolled shop/deployment/web back" in back["outcome"]["result"], back["outcome"]["result"])
    expect(back["outcome"]["fleet_lock"].startswith("kubernetes lease shop/nexus-rollback-deployment-"), back["outcome"])
    equal(cluster.image(), "app:1", "image after the remedy")
    # Pods that are stuck however often they are made: each has another name, but the workload has its attempts.
    cluster.deploy("sick", "broken:1", 1)
    breaker = wait_for("the breaker", lambda: [one for one in agent.get("/operations/breakers").json["breakers"]
                                               if one["remedy"] == "pod" and one["state"] == "open"], 300)[0]
    equal(breaker["target"], f"kubernetes:{SHOP}/deployment/sick", "what gave up")
    deleted = all_of("pod")
    equal(len({one["target_component"] for one in deleted}), 2, f"pods that were deleted: {deleted}")
    equal({one["state"] for one in deleted}, {"succeeded"}, f"what became of them: {deleted}")
    cluster.ask("DELETE", f"{APPS}/deployments/sick")


def main():
    binary = sys.argv[1]
    with contextlib.ExitStack() as stack:
        cluster = Cluster()
        token = prepare(cluster)
        agents = [stack.enter_context(contextlib.closing(agent_of(binary, stack.enter_context(directory()), token).start()))
                  for _ in range(2)]
        healer = stack.enter_context(contextlib.closing(
            agent_of(binary, stack.enter_context(directory()), token, REMEDIES)))
        run_tests([("a real cluster: restart, scale, rollout, undo over HTTP", lambda: over_http(cluster, agents[0])),
                   ("a real cluster: what is refused, and by whom", lambda: refused(cluster, agents[0])),
                   ("a real cluster: autoscaler, quota, resources, pod", lambda: actions(cluster, agents[0])),
                   ("a real cluster: the command line", lambda: by_command_line(cluster, agents[0])),
                   ("a real cluster: kill -9 in the middle of a rollout", lambda: killed(cluster, agents[0])),
                   ("a real cluster: two hosts share a lock", lambda: in_a_fleet(*agents)),
                   ("a real cluster: what is measured of a workload mends it", lambda: remedied(cluster, healer.start()))])


if __name__ == "__main__":
    main()
