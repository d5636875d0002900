"""The three kinds of patch that the API takes: merge (RFC 7386), JSON Patch (RFC 6902) and strategic merge."""
import copy

MERGE_KEYS = {  # lists that a strategic patch merges by a key of their elements; all others are replaced as a whole
    "containers": "name", "initContainers": "name", "volumes": "name", "env": "name", "ports": "containerPort",
    "volumeMounts": "mountPath", "volumeDevices": "devicePath", "conditions": "type", "ownerReferences": "uid",
    "imagePullSecrets": "name", "hostAliases": "ip", "addresses": "type",
    "topologySpreadConstraints": "topologyKey",
}
PRIMITIVE_MERGE = {"finalizers"}


class PatchError(Exception):
    pass


def merge(target, patch):
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merge(out.get(key), value)
    return out


def strategic(target, patch):
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    patch = dict(patch)
    directive = patch.pop("$patch", None)
    if directive == "replace":
        return copy.deepcopy(patch)
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise PatchError(f"unknown $patch: {directive}")
    out = dict(target) if isinstance(target, dict) else {}
    if retained := patch.pop("$retainKeys", None):
        out = {key: value for key, value in out.items() if key in retained}
    for key, value in patch.items():
        if key.startswith("$setElementOrder/"):
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.split("/", 1)[1]
            out[name] = [one for one in out.get(name, []) if one not in value]
        elif key.startswith("$"):
            raise PatchError(f"unknown directive {key}")
        elif value is None:
            out.pop(key, None)
        elif isinstance(value, list) and key in PRIMITIVE_MERGE:
            out[key] = list(dict.fromkeys([*out.get(key, []), *value]))
        elif isinstance(value, list) and key in MERGE_KEYS and all(isinstance(one, dict) for one in value):
            out[key] = merge_list(out.get(key) or [], value, MERGE_KEYS[key])
        else:
            out[key] = strategic(out.get(key), value)
    return out


def merge_list(target, patch, by):
    if any(one.get("$patch") == "replace" for one in patch):
        return [copy.deepcopy(one) for one in patch if "$patch" not in one]
    out = list(target)
    for one in patch:
        if by not in one:
            raise PatchError(f"map: {one} does not contain declared merge key: {by}")
        place = next((i for i, known in enumerate(out) if known.get(by) == one[by]), None)
        if one.get("$patch") == "delete":
            if place is not None:
                out.pop(place)
        elif place is None:
            out.append(strategic({}, one))
        else:
            out[place] = strategic(out[place], one)
    return out


def json_patch(target, operations):
    if not isinstance(operations, list):
        raise PatchError("a JSON Patch is a list of operations")
    out = copy.deepcopy(target)
    for operation in operations:
        if not isinstance(operation, dict) or operation.get("op") not in ("add", "remove", "replace", "test"):
            raise PatchError(f"unexpected operation {operation}")
        parts = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place = out
        for part in parts[:-1]:
            place = step(place, part)
        last = parts[-1]
        if isinstance(place, list):
            index = len(place) if last == "-" else int(last)
            if operation["op"] == "add":
                place.insert(index, operation["value"])
                continue
            last = index
        elif operation["op"] != "add" and last not in place:
            raise PatchError(f"{operation['op']} operation does not apply: doc is missing path: {operation['path']}")
        if operation["op"] == "test" and place[last] != operation["value"]:
            raise PatchError(f"testing value {operation['path']} failed")
        if operation["op"] in ("add", "replace"):
            place[last] = operation["value"]
        elif operation["op"] == "remove":
            place.pop(last)
    return out


def step(place, part):
    try:
        return place[int(part)] if isinstance(place, list) else place[part]
    except (KeyError, IndexError, ValueError, TypeError) as wrong:
        raise PatchError(f"doc is missing path: {part}") from wrong
