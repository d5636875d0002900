"""What a cluster does by itself, as far as tests need it: controllers of workloads, a scheduler, kubelets, budgets and quotas.

One turn follows each change. Kubelets run every pod at once and call it ready, but one whose image has "broken" in its name;
deployments surge to their full number. `state.json` has "controllers": true to have it.
"""
import copy
import hashlib
import json
import time

from refusal import Refusal
from resources import amount, now_text

REVISION = "deployment.kubernetes.io/revision"
progress = {}  # uid of a deployment: {counts of replicas, since when, whether it was done, whether it has timed out}


def minor_of(state):
    return int(str(state.get("server_version", "1.20")).split(".")[1])


def owner_of(one):
    return next((ref for ref in one["metadata"].get("ownerReferences", []) if ref.get("controller")), None)


def owned(state, resource, uid):
    return [one for one in state["objects"].get(resource, []) if (owner_of(one) or {}).get("uid") == uid]


def reference(kind, one):
    return [{"apiVersion": "apps/v1", "kind": kind, "name": one["metadata"]["name"], "uid": one["metadata"]["uid"],
             "controller": True, "blockOwnerDeletion": True}]


def is_ready(pod):
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod.get("status", {}).get("conditions", []))


def is_alive(pod):
    return "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


DRAWN = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, no 0, 1 and 3: of these are endings of names


def digest(value, size=10):
    return drawn(int(hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest(), 16), size)


def drawn(number, size):
    return "".join(DRAWN[number // len(DRAWN) ** i % len(DRAWN)] for i in reversed(range(size)))


def fits(selector, labels):
    return bool(selector.get("matchLabels")) and all(labels.get(key) == value for key, value in selector["matchLabels"].items())


def usage(state, space):
    pods = [one for one in state["objects"].get("pods", [])
            if one["metadata"].get("namespace") == space and one.get("status", {}).get("phase") not in ("Succeeded", "Failed")]
    used = {"pods": float(len(pods))}
    for pod in pods:
        for container in pod["spec"].get("containers", []):
            for kind in ("requests", "limits"):
                for key, value in container.get("resources", {}).get(kind, {}).items():
                    used[f"{kind}.{key}"] = used.get(f"{kind}.{key}", 0) + amount(value)
    return used


def admit(state, resource, new):
    """Quotas: 403 for a pod that is one too many."""
    if resource != "pods":
        return
    space = new["metadata"]["namespace"]
    for quota in state["objects"].get("resourcequotas", []):
        if quota["metadata"]["namespace"] != space:
            continue
        hard, used = quota["spec"].get("hard", {}), usage(state, space)
        if "pods" in hard and used["pods"] + 1 > amount(hard["pods"]):
            name = new["metadata"]["name"]
            raise Refusal(403, "Forbidden", f'pods "{name}" is forbidden: exceeded quota: {quota["metadata"]["name"]}, '
                                            f'requested: pods=1, used: pods={int(used["pods"])}, limited: pods={hard["pods"]}')


def allow_eviction(cluster, state, pod):
    """429 when a budget does not allow it; else the budget's allowance is used up by one."""
    budgets = [one for one in state["objects"].get("poddisruptionbudgets", [])
               if one["metadata"]["namespace"] == pod["metadata"]["namespace"]
               and fits(one["spec"].get("selector", {}), pod["metadata"].get("labels", {}))]
    if not budgets or pod.get("status", {}).get("phase") in ("Succeeded", "Failed", "Pending"):
        return
    if len(budgets) > 1:
        raise Refusal(500, "InternalError", "This pod has more than one PodDisruptionBudget, which the eviction subresource "
                                            "does not support.")
    budget = budgets[0]
    status = budget.get("status", {})
    name = budget["metadata"]["name"]
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 1):
        raise Refusal(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", retry_after=10,
                      details={"causes": [{"reason": "DisruptionBudget", "message": f"The disruption budget {name} is still "
                                                                                    "being processed by the server."}]})
    if status.get("disruptionsAllowed", 0) < 1:
        raise Refusal(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.",
                      details={"causes": [{"reason": "DisruptionBudget", "message":
                                           f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods "
                                           f"and has {status.get('currentHealthy', 0)} currently"}]})
    new = copy.deepcopy(budget)
    new["status"]["disruptionsAllowed"] -= 1
    new["status"].setdefault("disruptedPods", {})[pod["metadata"]["name"]] = "now"
    cluster.put(state, "poddisruptionbudgets", budget, new)


class Turn:
    """One look at everything; each change is written at once, so that watches see the steps."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.state = cluster.load()

    def all(self, resource):
        return list(self.state["objects"].get(resource, []))

    def put(self, resource, before, after):
        return self.cluster.put(self.state, resource, before, after)

    def set_status(self, resource, one, status):
        new = copy.deepcopy(one)
        new["status"] = {**new.get("status", {}), **status}
        return self.put(resource, one, new)

    def run(self):
        # Each looks at what is there then: what the one before has changed is not lost.
        for step in (self.collect, self.deployments, self.replica_sets, self.stateful_sets, self.daemon_sets, self.schedule,
                     self.kubelets, self.budgets, self.quotas, self.deployments):
            step()

    def collect(self):
        alive = {one["metadata"].get("uid") for objects in self.state["objects"].values() for one in objects}
        for resource in ("replicasets", "controllerrevisions", "pods"):
            for one in self.all(resource):
                if (owner := owner_of(one)) and owner["uid"] not in alive:
                    self.put(resource, one, None)

    def make_pod(self, owner, kind, name, template, labels, **spec):
        pod = {"apiVersion": "v1", "kind": "Pod",
               "metadata": {"name": name, "namespace": owner["metadata"]["namespace"], "labels": labels,
                            "annotations": template.get("metadata", {}).get("annotations", {}),
                            "ownerReferences": reference(kind, owner)},
               "spec": {**copy.deepcopy(template["spec"]), **spec}, "status": {"phase": "Pending"}}
        try:
            admit(self.state, "pods", pod)
        except Refusal:
            return
        self.put("pods", None, pod)

    def remove_pod(self, pod):
        if pod["spec"].get("nodeName"):
            new = copy.deepcopy(pod)
            new["metadata"] |= {"deletionTimestamp": now_text(), "deletionGracePeriodSeconds": 30}
            if "deletionTimestamp" not in pod["metadata"]:
                self.put("pods", pod, new)
        else:
            self.put("pods", pod, None)

    def deployments(self):
        for one in self.all("deployments"):
            if "uid" in one["metadata"] and one["spec"].get("selector"):
                self.deployment(one)

    def deployment(self, one):
        uid, wanted = one["metadata"]["uid"], one["spec"].get("replicas", 1)
        sets = owned(self.state, "replicasets", uid)
        mine = next((rs for rs in sets if self.template_of(rs) == one["spec"]["template"]), None)
        newest = max([int(rs["metadata"]["annotations"][REVISION]) for rs in sets], default=0)
        if not one["spec"].get("paused"):
            if mine is None:
                mine = self.make_replica_set(one, wanted, newest + 1)
                progress.pop(uid, None)
                sets.append(mine)
            elif int(mine["metadata"]["annotations"][REVISION]) < newest:
                new = copy.deepcopy(mine)
                new["metadata"]["annotations"][REVISION] = str(newest + 1)
                mine = self.replace(sets, mine, new)
            if one["metadata"].get("annotations", {}).get(REVISION) != mine["metadata"]["annotations"][REVISION]:
                new = copy.deepcopy(one)
                new["metadata"].setdefault("annotations", {})[REVISION] = mine["metadata"]["annotations"][REVISION]
                one = self.put("deployments", one, new)
        if mine is not None:
            if mine["spec"]["replicas"] != wanted:
                new = copy.deepcopy(mine)
                new["spec"]["replicas"] = wanted
                mine = self.replace(sets, mine, new)
            spare = wanted - mine.get("status", {}).get("availableReplicas", 0)
            for rs in [rs for rs in sets if rs is not mine]:
                keep = min(rs["spec"]["replicas"], max(0, spare))
                spare -= keep
                if keep != rs["spec"]["replicas"]:
                    new = copy.deepcopy(rs)
                    new["spec"]["replicas"] = keep
                    self.replace(sets, rs, new)
        self.deployment_status(one, sets, mine, wanted)

    def replace(self, known, before, after):
        after = self.put("replicasets", before, after)
        known[known.index(before)] = after
        return after

    @staticmethod
    def template_of(replica_set):
        out = copy.deepcopy(replica_set["spec"]["template"])
        out["metadata"]["labels"].pop("pod-template-hash", None)
        return out

    def make_replica_set(self, one, replicas, revision):
        name = digest(one["spec"]["template"])
        template = copy.deepcopy(one["spec"]["template"])
        template["metadata"]["labels"]["pod-template-hash"] = name
        labels = template["metadata"]["labels"]
        notes = {key: value for key, value in one["metadata"].get("annotations", {}).items()
                 if key not in (REVISION, "kubectl.kubernetes.io/last-applied-configuration")}
        return self.put("replicasets", None, {
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": f"{one['metadata']['name']}-{name}", "namespace": one["metadata"]["namespace"],
                         "labels": dict(labels), "annotations": {**notes, REVISION: str(revision)},
                         "ownerReferences": reference("Deployment", one)},
            "spec": {"replicas": replicas, "selector": {"matchLabels": dict(labels)}, "template": template}, "status": {}})

    def deployment_status(self, one, sets, mine, wanted):
        total = {key: sum(rs.get("status", {}).get(key, 0) for rs in sets)
                 for key in ("replicas", "readyReplicas", "availableReplicas")}
        updated = mine.get("status", {}).get("replicas", 0) if mine else 0
        status = {"observedGeneration": one["metadata"]["generation"], "updatedReplicas": updated, **total,
                  "unavailableReplicas": max(0, wanted - total["availableReplicas"])}
        counts = (updated, updated - total["replicas"], total["readyReplicas"], total["availableReplicas"])
        done = updated == wanted == total["replicas"] == total["availableReplicas"]
        fresh = {"counts": counts, "since": time.monotonic(), "done": done, "late": False}
        known = progress.setdefault(one["metadata"]["uid"], fresh)
        if known["done"] or any(now > before for now, before in zip(counts, known["counts"])):
            known |= fresh
        # Once said, it is said until there is progress, whatever is changed.
        waited = time.monotonic() - known["since"]
        before = next((c for c in one.get("status", {}).get("conditions", []) if c["type"] == "Progressing"), {})
        # One that was rolled out before is only scaled: that has no deadline.
        settled = before.get("reason") == "NewReplicaSetAvailable" and total["replicas"] == updated
        late = not done and not settled and (known["late"] or waited > one["spec"].get("progressDeadlineSeconds", 600))
        known |= {"counts": counts, "done": done, "late": late}
        if one["spec"].get("paused"):
            reason, value = "DeploymentPaused", "Unknown"
        elif done or settled:
            reason, value = "NewReplicaSetAvailable", "True"
        elif late:
            reason, value = "ProgressDeadlineExceeded", "False"
        else:
            reason, value = "ReplicaSetUpdated", "True"
        name = mine["metadata"]["name"] if mine else ""
        said = {"ProgressDeadlineExceeded": f'ReplicaSet "{name}" has timed out progressing.'}
        if late and before.get("reason") == reason:  # as it was said first, of whatever ReplicaSet
            progressing = before
        else:
            progressing = {"type": "Progressing", "status": value, "reason": reason,
                           "message": said.get(reason, f'ReplicaSet "{name}"')}
            same = {**before, **progressing} == before
            progressing["lastUpdateTime"] = before["lastUpdateTime"] if same else now_text()
        status["conditions"] = [{"type": "Available", "status": str(total["availableReplicas"] >= wanted)}, progressing]
        self.set_status("deployments", one, status)

    def replica_sets(self):
        for rs in self.all("replicasets"):
            pods = [pod for pod in owned(self.state, "pods", rs["metadata"]["uid"]) if is_alive(pod)]
            missing = rs["spec"]["replicas"] - len(pods)
            for _ in range(missing):
                number = self.state.setdefault("pods_made", 0) + 1
                self.state["pods_made"] = number
                template = rs["spec"]["template"]
                self.make_pod(rs, "ReplicaSet", f"{rs['metadata']['name']}-{drawn(number, 5)}", template,
                              dict(template["metadata"]["labels"]))
            for pod in sorted(pods, key=is_ready)[:max(0, -missing)]:
                self.remove_pod(pod)
            pods = [pod for pod in owned(self.state, "pods", rs["metadata"]["uid"]) if is_alive(pod)]
            ready = sum(map(is_ready, pods))
            self.set_status("replicasets", rs, {"replicas": len(pods), "readyReplicas": ready, "availableReplicas": ready,
                                                "observedGeneration": rs["metadata"]["generation"]})

    def controller_revision(self, kind, one):
        """The revision of the template of a stateful or daemon set, made when there is none."""
        data = {"spec": {"template": {**copy.deepcopy(one["spec"]["template"]), "$patch": "replace"}}}
        known = owned(self.state, "controllerrevisions", one["metadata"]["uid"])
        newest = max([revision["revision"] for revision in known], default=0)
        for revision in known:
            if revision["data"] == data:
                if revision["revision"] < newest:
                    self.put("controllerrevisions", revision, {**copy.deepcopy(revision), "revision": newest + 1})
                return revision["metadata"]["name"]
        name = f"{one['metadata']['name']}-{digest(data)}"
        self.put("controllerrevisions", None, {
            "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": newest + 1, "data": data,
            "metadata": {"name": name, "namespace": one["metadata"]["namespace"], "ownerReferences": reference(kind, one),
                         "labels": dict(one["spec"]["selector"]["matchLabels"])}})
        return name

    def stateful_sets(self):
        for one in self.all("statefulsets"):
            revision = self.controller_revision("StatefulSet", one)
            wanted, template = one["spec"].get("replicas", 1), one["spec"]["template"]
            pods = {pod["metadata"]["name"]: pod for pod in owned(self.state, "pods", one["metadata"]["uid"])}
            names = [f"{one['metadata']['name']}-{i}" for i in range(wanted)]
            labels = {**template["metadata"]["labels"], "controller-revision-hash": revision}
            for name in names:
                if name not in pods:
                    self.make_pod(one, "StatefulSet", name, template, labels)
                    break
                if not is_ready(pods[name]):
                    break
            else:
                old = [pods[name] for name in names if self.revision_of(pods[name]) != revision]
                if old and is_alive(old[-1]):
                    self.remove_pod(old[-1])
            for name, pod in pods.items():
                if name not in names and is_alive(pod):
                    self.remove_pod(pod)
            live = [pods[name] for name in names if name in pods and is_alive(pods[name])]
            updated = sum(self.revision_of(pod) == revision for pod in live)
            ready = sum(map(is_ready, live))
            status = {"observedGeneration": one["metadata"]["generation"], "replicas": len(live), "readyReplicas": ready,
                      "updatedReplicas": updated, "updateRevision": revision,
                      "currentRevision": one.get("status", {}).get("currentRevision", revision)}
            if updated == ready == wanted:
                status["currentRevision"] = revision
            self.set_status("statefulsets", one, status)

    @staticmethod
    def revision_of(pod):
        return pod["metadata"]["labels"].get("controller-revision-hash")

    def daemon_sets(self):
        for one in self.all("daemonsets"):
            revision = self.controller_revision("DaemonSet", one)
            template = one["spec"]["template"]
            labels = {**template["metadata"]["labels"], "controller-revision-hash": revision}
            pods = {pod["spec"]["nodeName"]: pod for pod in owned(self.state, "pods", one["metadata"]["uid"])}
            nodes = [node["metadata"]["name"] for node in self.all("nodes")]
            for node in nodes:
                if node not in pods:
                    self.make_pod(one, "DaemonSet", f"{one['metadata']['name']}-{digest([node, labels], 5)}", template, labels,
                                  nodeName=node)
            if all(is_ready(pod) for pod in pods.values()):
                old = [pod for pod in pods.values() if self.revision_of(pod) != revision]
                if old and is_alive(old[0]):
                    self.remove_pod(old[0])
            live = [pod for pod in pods.values() if is_alive(pod)]
            ready = sum(map(is_ready, live))
            self.set_status("daemonsets", one, {
                "observedGeneration": one["metadata"]["generation"], "desiredNumberScheduled": len(nodes),
                "currentNumberScheduled": len(live), "numberReady": ready, "numberAvailable": ready,
                "updatedNumberScheduled": sum(self.revision_of(pod) == revision for pod in live)})

    def schedule(self):
        nodes = [node["metadata"]["name"] for node in self.all("nodes") if not node.get("spec", {}).get("unschedulable")]
        for pod in self.all("pods"):
            if pod["spec"].get("nodeName") or not nodes:
                continue
            load = {name: sum(other["spec"].get("nodeName") == name for other in self.all("pods")) for name in nodes}
            new = copy.deepcopy(pod)
            new["spec"]["nodeName"] = min(load, key=load.get)
            self.put("pods", pod, new)

    def kubelets(self):
        for pod in self.all("pods"):
            if not pod["spec"].get("nodeName"):
                continue
            if "deletionTimestamp" in pod["metadata"]:
                # One that does not heed its end is deleted only with a grace of 0.
                if not any("stubborn" in one["image"] for one in pod["spec"]["containers"]):
                    self.put("pods", pod, None)
                continue
            if pod.get("status", {}).get("conditions"):
                continue
            broken = any("broken" in one["image"] for one in pod["spec"]["containers"])
            self.set_status("pods", pod, {
                "phase": "Pending" if broken else "Running",
                "conditions": [{"type": "Ready", "status": "False" if broken else "True"}]})

    def budgets(self):
        for budget in self.all("poddisruptionbudgets"):
            spec = budget["spec"]
            pods = [pod for pod in self.all("pods") if pod["metadata"].get("namespace") == budget["metadata"]["namespace"]
                    and fits(spec.get("selector", {}), pod["metadata"].get("labels", {})) and is_alive(pod)]
            healthy = sum(map(is_ready, pods))
            expected = self.expected(pods)
            if "maxUnavailable" in spec:
                desired = max(0, expected - self.share(spec["maxUnavailable"], expected))
            else:
                desired = self.share(spec.get("minAvailable", 1), expected)
            self.set_status("poddisruptionbudgets", budget, {
                "observedGeneration": budget["metadata"]["generation"], "currentHealthy": healthy, "desiredHealthy": desired,
                "expectedPods": expected, "disruptionsAllowed": max(0, healthy - desired) if expected else 0,
                "disruptedPods": {}})

    def expected(self, pods):
        owners = {(owner_of(pod) or {}).get("uid") for pod in pods}
        return sum(one["spec"].get("replicas", 1) for resource in ("replicasets", "statefulsets")
                   for one in self.all(resource) if one["metadata"]["uid"] in owners)

    @staticmethod
    def share(value, of):
        return -(-of * int(value[:-1]) // 100) if isinstance(value, str) else value

    def quotas(self):
        for quota in self.all("resourcequotas"):
            hard, used = quota["spec"].get("hard", {}), usage(self.state, quota["metadata"]["namespace"])
            self.set_status("resourcequotas", quota, {
                "hard": hard, "used": {key: f"{used.get(key, 0):g}" for key in hard}})


def run(cluster):
    seen = None
    while True:
        with cluster.lock:
            turn = Turn(cluster)
            turn.run()
            version = turn.state.get("version")
            if version == seen:
                cluster.moved.wait(0.5)
            seen = version
        time.sleep(0.02)  # others want the lock too
