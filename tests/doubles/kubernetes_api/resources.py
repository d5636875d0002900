"""What the API serves: resources, their groups and versions by the server's version, discovery, and what is valid."""
import datetime
import re

from refusal import Refusal

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
QUANTITY = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
FACTORS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60, "n": 1e-9, "u": 1e-6, "m": 1e-3,
           "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
POD_FIELDS = {"metadata.name", "metadata.namespace", "spec.nodeName", "spec.restartPolicy", "spec.schedulerName",
              "spec.serviceAccountName", "status.phase", "status.podIP", "status.nominatedNodeName"}
PLAIN = {"metadata.name", "metadata.namespace"}


class Resource:
    """`since` and `until` of a group's version: the first minor version that serves it, and the first that does not."""

    def __init__(self, group, kind, namespaced=True, fields=frozenset(), subs=(), versions=None, generation=False):
        self.group, self.kind, self.namespaced, self.subs, self.generation = group, kind, namespaced, subs, generation
        self.fields = PLAIN | set(fields)
        self.versions = versions or {"v1": (0, 99)}

    def served(self, minor):
        return [version for version, (since, until) in self.versions.items() if since <= minor < until]

    def qualified(self, name):
        return f"{name}.{self.group}" if self.group else name


RESOURCES = {
    "nodes": Resource("", "Node", False, {"spec.unschedulable"}, ("status",)),
    "namespaces": Resource("", "Namespace", False, {"status.phase"}, ("status",)),
    "pods": Resource("", "Pod", True, POD_FIELDS, ("status", "eviction")),
    "events": Resource("", "Event", True, {"involvedObject.kind", "involvedObject.name", "involvedObject.namespace",
                                           "involvedObject.uid", "reason", "type", "source", "reportingComponent"}),
    "resourcequotas": Resource("", "ResourceQuota", subs=("status",)),
    "deployments": Resource("apps", "Deployment", subs=("scale", "status"), generation=True),
    "statefulsets": Resource("apps", "StatefulSet", subs=("scale", "status"), generation=True),
    "daemonsets": Resource("apps", "DaemonSet", subs=("status",), generation=True),
    "replicasets": Resource("apps", "ReplicaSet", subs=("scale", "status"), generation=True),
    "controllerrevisions": Resource("apps", "ControllerRevision"),
    "leases": Resource("coordination.k8s.io", "Lease"),
    "horizontalpodautoscalers": Resource("autoscaling", "HorizontalPodAutoscaler", subs=("status",), versions={
        "v1": (0, 99), "v2beta2": (12, 26), "v2": (23, 99)}),
    "poddisruptionbudgets": Resource("policy", "PodDisruptionBudget", subs=("status",), generation=True, versions={
        "v1beta1": (0, 25), "v1": (21, 99)}),
}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def eviction_version(minor):
    return "v1" if minor >= 22 else "v1beta1"


def discover(path, minor):
    """/version, /apis, /apis/GROUP, /apis/GROUP/VERSION and /api/v1; None for any other path."""
    if path == "/version":
        return {"major": "1", "minor": str(minor), "gitVersion": f"v1.{minor}.0", "platform": "linux/amd64"}
    groups = {}
    for resource in RESOURCES.values():
        if resource.group:
            groups.setdefault(resource.group, []).extend(
                one for one in resource.served(minor) if one not in groups.get(resource.group, []))

    def group_of(name):
        # The preferred one first: autoscaling/v2 since 1.24.
        ordered = sorted(groups[name], key=lambda one: one != "v2") if minor >= 24 else groups[name]
        versions = [{"groupVersion": f"{name}/{one}", "version": one} for one in ordered]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group_of(name) for name in sorted(groups)]}
    parts = path.strip("/").split("/")
    if parts[0] == "apis" and len(parts) == 2 and parts[1] in groups:
        return {"kind": "APIGroup", "apiVersion": "v1", **group_of(parts[1])}
    if parts == ["api", "v1"] or (parts[0] == "apis" and len(parts) == 3 and parts[2] in groups.get(parts[1], [])):
        group, version = ("", "v1") if parts[0] == "api" else parts[1:]
        listed = []
        for name, resource in RESOURCES.items():
            if resource.group != group or version not in resource.served(minor):
                continue
            listed.append({"name": name, "singularName": "", "namespaced": resource.namespaced, "kind": resource.kind,
                           "verbs": VERBS})
            for sub in resource.subs:
                entry = {"name": f"{name}/{sub}", "singularName": "", "namespaced": resource.namespaced,
                         "kind": resource.kind, "verbs": ["get", "patch", "update"]}
                if sub == "eviction":
                    entry |= {"group": "policy", "version": eviction_version(minor), "kind": "Eviction", "verbs": ["create"]}
                if sub == "scale":
                    entry |= {"group": "autoscaling", "version": "v1", "kind": "Scale"}
                listed.append(entry)
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}" if group else version,
                "resources": listed}
    return None


def now_text():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def amount(text):
    found = QUANTITY.fullmatch(str(text))
    if not found:
        return None
    suffix = found[3] or ""
    if suffix in FACTORS:
        return float(str(text)[:-len(suffix)]) * FACTORS[suffix]
    return float(str(text))


class Invalid:
    """Collects what is wrong with fields, and refuses as the API does: 422 with causes."""

    def __init__(self, resource, name):
        self.resource, self.name, self.causes = resource, name, []

    def say(self, field, message, reason="FieldValueInvalid"):
        self.causes.append({"field": field, "message": message, "reason": reason})

    def refuse(self):
        if not self.causes:
            return
        kind = RESOURCES[self.resource].kind
        group = RESOURCES[self.resource].group
        about = f"{kind}.{group}" if group else kind
        listed = [f"{one['field']}: {one['message']}" for one in self.causes]
        text = listed[0] if len(listed) == 1 else f"[{', '.join(listed)}]"
        raise Refusal(422, "Invalid", f'{about} "{self.name}" is invalid: {text}',
                      details={"name": self.name, "group": group, "kind": kind, "causes": self.causes})


def validate(resource, new, old):
    """`old` is None for what is made."""
    name = new.get("metadata", {}).get("name", "")
    bad = Invalid(resource, name)
    if not NAME.fullmatch(name):
        bad.say("metadata.name", f'Invalid value: "{name}": a DNS-1123 subdomain must consist of lower case alphanumeric '
                                 "characters, '-' or '.'")
    spec = new.get("spec", {})
    if resource in ("deployments", "statefulsets", "replicasets", "daemonsets"):
        workload(bad, resource, spec, (old or {}).get("spec"))
    if resource == "pods":
        containers(bad, "spec", spec)
    if resource == "horizontalpodautoscalers":
        autoscaler(bad, spec)
    if resource == "leases":
        lease(bad, spec)
    if resource == "resourcequotas":
        for key, value in spec.get("hard", {}).items():
            quantity(bad, f"spec.hard[{key}]", value)
    bad.refuse()


def workload(bad, resource, spec, old):
    if resource != "daemonsets":
        replicas = spec.get("replicas", 1)
        if not isinstance(replicas, int) or replicas < 0:
            bad.say("spec.replicas", f"Invalid value: {replicas}: must be greater than or equal to 0")
    labels = spec.get("selector", {}).get("matchLabels", {})
    if not labels:
        bad.say("spec.selector", "Required value", "FieldValueRequired")
    if old is not None and old.get("selector") != spec.get("selector"):
        bad.say("spec.selector", f"Invalid value: {labels}: field is immutable")
    template = spec.get("template", {})
    has = template.get("metadata", {}).get("labels", {})
    if any(has.get(key) != value for key, value in labels.items()):
        bad.say("spec.template.metadata.labels", f"Invalid value: {has}: `selector` does not match template `labels`")
    containers(bad, "spec.template.spec", template.get("spec", {}))


def containers(bad, place, spec):
    if not spec.get("containers"):
        bad.say(f"{place}.containers", "Required value", "FieldValueRequired")
    for i, one in enumerate(spec.get("containers", [])):
        here = f"{place}.containers[{i}]"
        for key in ("name", "image"):
            if not one.get(key):
                bad.say(f"{here}.{key}", "Required value", "FieldValueRequired")
        resources = one.get("resources", {})
        for kind in ("requests", "limits"):
            for key, value in resources.get(kind, {}).items():
                quantity(bad, f"{here}.resources.{kind}[{key}]", value)
        for key, value in resources.get("requests", {}).items():
            limit = resources.get("limits", {}).get(key)
            if limit is not None and (amount(value) or 0) > (amount(limit) or 0):
                bad.say(f"{here}.resources.requests", f'Invalid value: "{value}": must be less than or equal to {key} limit')


def quantity(bad, field, value):
    if amount(value) is None:
        raise Refusal(400, "BadRequest", "quantities must match the regular expression "
                                         "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    if amount(value) < 0:
        bad.say(field, f'Invalid value: "{value}": must be greater than or equal to 0')


def autoscaler(bad, spec):
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas")
    if not isinstance(high, int) or high < 1:
        bad.say("spec.maxReplicas", f"Invalid value: {high}: must be greater than 0")
    elif low < 1:
        bad.say("spec.minReplicas", f"Invalid value: {low}: must be greater than or equal to 1")
    elif high < low:
        bad.say("spec.maxReplicas", f"Invalid value: {high}: must be greater than or equal to `minReplicas`")
    target = spec.get("scaleTargetRef", {})
    for key in ("kind", "name"):
        if not target.get(key):
            bad.say(f"spec.scaleTargetRef.{key}", "Required value", "FieldValueRequired")


def lease(bad, spec):
    for key, least in (("leaseDurationSeconds", 1), ("leaseTransitions", 0)):
        value = spec.get(key, least)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refusal(400, "BadRequest", f"spec.{key}: json: cannot unmarshal {value!r} into an int32")
        if value < least:
            bad.say(f"spec.{key}", f"Invalid value: {value}: must be greater than {'or equal to ' if least == 0 else ''}0")
    for key in ("acquireTime", "renewTime"):
        if key in spec and not MICRO_TIME.fullmatch(str(spec[key])):
            raise Refusal(400, "BadRequest", f'spec.{key}: parsing time "{spec[key]}" as "2006-01-02T15:04:05.000000Z07:00": '
                                             "cannot parse", complaint=True)


def from_version(resource, version, one):
    """As it is stored: autoscalers in v2's form."""
    if resource != "horizontalpodautoscalers" or version != "v1":
        return one
    spec = dict(one.get("spec", {}))
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        spec["metrics"] = [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}}]
    return {**one, "spec": spec}


def to_version(resource, version, one):
    group = RESOURCES[resource].group
    out = {**one, "apiVersion": f"{group}/{version}" if group else version, "kind": RESOURCES[resource].kind}
    if resource != "horizontalpodautoscalers" or version != "v1":
        return out
    spec = dict(out.get("spec", {}))
    for metric in spec.pop("metrics", []):
        found = metric.get("resource", {})
        if found.get("name") == "cpu" and found.get("target", {}).get("type") == "Utilization":
            spec["targetCPUUtilizationPercentage"] = found["target"]["averageUtilization"]
    return {**out, "spec": spec}
