#!/usr/bin/python3
"""A double of the Kubernetes API server: see README.md beside this file."""
import argparse
import base64
import copy
import http.server
import json
import os
import re
import ssl
import threading
import time
import urllib.parse
import uuid

import certificates
import controllers
import patches
from refusal import Refusal, bad
from resources import RESOURCES, discover, eviction_version, from_version, now_text, to_version, validate
from selecting import Selectors

LIST_PARAMETERS = {"limit", "continue", "fieldSelector", "labelSelector", "resourceVersion", "resourceVersionMatch",
                   "timeoutSeconds", "watch", "allowWatchBookmarks"}
CHANGE_PARAMETERS = {"dryRun", "fieldManager", "force", "gracePeriodSeconds", "propagationPolicy"}
PATCH_TYPES = {"application/merge-patch+json": patches.merge, "application/strategic-merge-patch+json": patches.strategic,
               "application/json-patch+json": patches.json_patch}
PATH = re.compile(r"^/(?:api/v1|apis/(?P<group>[a-z0-9.]+)/(?P<version>v[a-z0-9]+))(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
                  r"/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>scale|status|eviction))?$")
KEPT_EVENTS = 2000


class Request:
    """What is asked for, taken apart."""

    def __init__(self, match, command, query, minor):
        self.resource, self.name, self.space, self.sub = match["resource"], match["name"], match["namespace"], match["sub"]
        self.command, self.query = command, query
        self.about = RESOURCES.get(self.resource)
        self.version = match["version"] or "v1"
        if self.about is None or (match["group"] or "") != self.about.group or self.version not in self.about.served(minor) or (
                self.sub and self.sub not in self.about.subs):
            # Which versions there are is to be discovered: a guess is a mistake of the client's.
            raise Refusal(404, "NotFound", "the server could not find the requested resource", complaint=True)
        if (self.space and not self.about.namespaced) or (self.name and self.about.namespaced and not self.space):
            raise bad("the namespace does not fit")
        self.watch = command == "GET" and query.get("watch") in ("true", "1")
        if self.watch and self.name:
            raise bad("watching one object is deprecated: a collection with a field selector")
        self.verb = {"GET": "watch" if self.watch else "get" if self.name else "list", "PUT": "update", "POST": "create",
                     "PATCH": "patch", "DELETE": "delete"}[command]
        self.what = self.resource + (f"/{self.sub}" if self.sub else "")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for the acknowledgement of its head
    timeout = 30

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            self.close_connection = True

    def respond(self):
        url = urllib.parse.urlsplit(self.path)
        record = {"method": self.command, "path": url.path, "query": url.query, "user": None, "status": 200}
        retry_after = None
        try:
            query = self.query_of(url.query)
            body = self.read_body()
            with self.server.cluster.lock:
                state = self.server.cluster.load()
            fault = self.server.fault(state, url.path, self.command)
            if fault and self.break_down(fault, record, query):
                return
            answer = self.answer(state, url.path, query, body, record)
            if fault and "answer" in fault:  # it is done, but what is heard is something else
                fault = self.server.use_up(fault)["answer"]
                record["status"] = fault["status"]
                self.server.note(record)
                self.send(fault["status"], fault.get("body", "{}").encode(), fault.get("retry_after"))
                return
            if answer is None or (fault and fault.get("close_after")):  # a watch has answered already
                self.server.note(record)
                self.close_connection = True
                return
        except Refusal as refusal:
            record["status"] = refusal.status
            if refusal.complaint:
                record["complaint"] = refusal.message
            answer, retry_after = refusal.body(), refusal.retry_after
        self.server.note(record)
        self.send(record["status"], json.dumps(answer).encode(), retry_after)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = respond

    def send(self, status, body, retry_after=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(body)

    @staticmethod
    def query_of(text):
        query = {}
        for key, value in urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)):
            if key in query:
                raise bad(f"query parameter {key} is given twice")
            query[key] = value
        return query

    def read_body(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0) or 0))
        if self.command == "GET" and text:
            raise bad("a GET has no body")
        if not text and self.command in ("GET", "DELETE"):
            return None
        content_type = self.headers.get("Content-Type", "").partition(";")[0]
        if self.command == "PATCH" and content_type not in PATCH_TYPES:
            raise Refusal(415, "UnsupportedMediaType", f"{content_type}: not a patch type", complaint=True)
        if self.command != "PATCH" and content_type != "application/json":
            raise Refusal(415, "UnsupportedMediaType", f"{content_type}: expected application/json", complaint=True)
        try:
            body = json.loads(text)
        except ValueError as wrong:
            raise bad(f"the body is no JSON: {wrong}") from wrong
        if not isinstance(body, dict) and content_type != "application/json-patch+json":
            raise bad("the body is no object")
        return body

    def break_down(self, fault, record, query):
        """A fault that a test asked for. Whether the answer is done with."""
        if "delay" in fault:
            time.sleep(fault["delay"])
        if fault.get("close"):
            self.close_connection = True
            self.connection.close()
        elif "huge" in fault:
            self.send_response(200)
            self.send_header("Content-Length", str(fault["huge"]))
            self.end_headers()
            for _ in range(fault["huge"] // 65536 + 1):
                self.wfile.write(b" " * 65536)
        elif "status" in fault or "body" in fault:
            record["status"] = fault.get("status", 200)
            self.send(record["status"], fault.get("body", "").encode(), fault.get("retry_after"))
        elif "gone_after" in fault and "continue" in query and self.server.expire(fault["gone_after"]):
            raise Refusal(410, "Expired", "The provided continue parameter is too old to display a consistent list result.")
        else:
            return False
        self.server.note(record)
        return True

    def user_of(self, state):
        token = self.headers.get("Authorization", "")
        if token.startswith("Bearer ") and token[7:] in state.get("tokens", {}):
            return state["tokens"][token[7:]]
        certificate = self.connection.getpeercert()
        if certificate and not token:
            names = dict(pair[0] for pair in certificate["subject"])
            if names.get("commonName") in state.get("certificates", {}):
                return state["certificates"][names["commonName"]]
        raise Refusal(401, "Unauthorized", "Unauthorized")

    def answer(self, state, path, query, body, record):
        user = record["user"] = self.user_of(state)
        accept = self.headers.get("Accept", "*/*")
        if "application/json" not in accept and "*/*" not in accept:
            raise bad(f"Accept: {accept}: JSON is not accepted")
        minor = controllers.minor_of(state)
        if self.command == "GET" and (found := discover(path, minor)):
            return found
        match = PATH.match(path)
        if not match:
            raise Refusal(404, "NotFound", "the server could not find the requested resource",
                          complaint=not path.startswith("/apis/"))
        asked = Request(match, self.command, query, minor)
        rules = state.get("rules", {}).get(user, [])
        if not {"*", f"* {asked.what}", f"{asked.verb} *", f"{asked.verb} {asked.what}"} & set(rules):
            scope = f'in the namespace "{asked.space}"' if asked.space else "at the cluster scope"
            name = f' "{asked.name}"' if asked.name else ""
            raise Refusal(403, "Forbidden", f'{asked.about.qualified(asked.resource)}{name} is forbidden: User "{user}" cannot '
                                            f'{asked.verb} resource "{asked.what}" in API group "{asked.about.group}" {scope}')
        known = LIST_PARAMETERS if asked.verb in ("list", "watch") else CHANGE_PARAMETERS
        if unknown := set(query) - known:
            raise bad(f"unknown query parameters: {', '.join(sorted(unknown))}")
        if asked.watch:
            return self.stream(asked, record)
        if asked.verb == "list":
            return self.list(state, asked)
        return self.server.cluster.change(asked, body, self.headers.get("Content-Type", "").partition(";")[0])

    def list(self, state, asked):
        query = asked.query
        if not re.fullmatch(r"[0-9]+", query.get("limit", "0")):
            raise bad(f"limit={query['limit']}: expected a whole number")
        selectors = Selectors(asked.resource, asked.space, query)
        objects = [to_version(asked.resource, asked.version, one)
                   for one in state.get("objects", {}).get(asked.resource, []) if selectors.fit(one)]
        about = f"{asked.resource} {asked.space} {query.get('fieldSelector', '')} {query.get('labelSelector', '')}"
        first = 0
        if "continue" in query:
            try:
                token = json.loads(base64.urlsafe_b64decode(query["continue"]))
            except ValueError as wrong:
                raise bad("continue: not a token of this server") from wrong
            if token["about"] != about:
                raise bad("continue: a token of another list")
            first = token["first"]
        limit = int(query.get("limit", 0)) or len(objects)
        metadata = {"resourceVersion": str(state.get("version", 1))}
        if first + limit < len(objects):
            token = {"about": about, "first": first + limit}
            metadata["continue"] = base64.urlsafe_b64encode(json.dumps(token).encode()).decode()
            if not selectors.fields and not selectors.labels:  # with a selector the server does not count
                metadata["remainingItemCount"] = len(objects) - first - limit
        group = asked.about.group
        return {"kind": asked.about.kind + "List", "apiVersion": f"{group}/{asked.version}" if group else asked.version,
                "metadata": metadata, "items": objects[first:first + limit]}

    def stream(self, asked, record):
        """A watch: from a version on, bookmarks when they are allowed, an ERROR of 410 for a version that is too old."""
        query = asked.query
        selectors = Selectors(asked.resource, asked.space, query)
        seconds = int(query.get("timeoutSeconds", 1800))
        if not re.fullmatch(r"[0-9]*", query.get("resourceVersion", "")):
            raise bad("resourceVersion: expected a version of this server")
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

        def tell(kind, one):
            line = json.dumps({"type": kind, "object": one}).encode() + b"\n"
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")

        try:
            for kind, one in self.server.cluster.follow(asked, selectors, query.get("resourceVersion", ""), seconds,
                                                        query.get("allowWatchBookmarks") == "true"):
                tell(kind, one)
            self.wfile.write(b"0\r\n\r\n")
        except (ConnectionError, ssl.SSLError, TimeoutError):
            record["left"] = True


class Cluster:
    """The objects, and what has happened to them since the server began. `lock` guards both.

    Without controllers they are what state.json says at the moment; with controllers it is read once, at the start. An object
    is never changed, only replaced: what load() gives is a snapshot.
    """

    def __init__(self, path):
        self.path = path
        self.lock = threading.RLock()
        self.moved = threading.Condition(self.lock)
        self.events = []  # (version, resource, object before, object after)
        self.state = None
        first = self.load()
        self.oldest = first.get("version", 1)
        if first.get("controllers"):
            self.state = first

    def load(self):
        if self.state is not None:
            return {**self.state, "objects": {kind: list(every) for kind, every in self.state["objects"].items()}}
        with open(self.path, encoding="utf-8") as file:
            return json.load(file)

    def save(self, state):
        if self.state is not None:
            self.state = state
            return
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(self.path + ".new", self.path)

    def put(self, state, resource, before, after):
        """Writes one change: `before` or `after` is None for what is made or removed. No change, no version."""
        objects = state.setdefault("objects", {}).setdefault(resource, [])
        if before is not None and after is not None and before == after:
            return after
        state["version"] = state.get("version", 1) + 1
        if after is None:
            objects.remove(before)
            gone = copy.deepcopy(before)
            gone["metadata"]["resourceVersion"] = str(state["version"])
            self.remember(state["version"], resource, before, gone, True)
            self.save(state)
            return gone
        metadata = after["metadata"]
        metadata["resourceVersion"] = str(state["version"])
        if before is None:
            metadata.setdefault("uid", str(uuid.uuid4()))
            metadata.setdefault("creationTimestamp", now_text())
            if RESOURCES[resource].generation:
                metadata["generation"] = 1
            objects.append(after)
        else:
            if RESOURCES[resource].generation and before.get("spec") != after.get("spec"):
                metadata["generation"] = before["metadata"].get("generation", 0) + 1
            objects[objects.index(before)] = after
        self.remember(state["version"], resource, before, after, False)
        self.save(state)
        return after

    def remember(self, version, resource, before, after, gone):
        self.events.append((version, resource, before, after, gone))
        if len(self.events) > KEPT_EVENTS:
            self.oldest = self.events.pop(0)[0]
        self.moved.notify_all()

    def follow(self, asked, selectors, version, seconds, bookmarks):
        end = time.monotonic() + seconds
        bookmark_at = min(end, max(time.monotonic() + 0.3, end - 2))
        with self.lock:
            state = self.load()
            if version in ("", "0"):
                present = [("ADDED", one) for one in state["objects"].get(asked.resource, []) if selectors.fit(one)]
                at = state.get("version", 1)
            else:
                present, at = [], int(version)
                if at < self.oldest:
                    present = [("ERROR", Refusal(410, "Expired", f"too old resource version: {at} ({self.oldest})").body())]
        for kind, one in present:
            yield kind, one if kind == "ERROR" else to_version(asked.resource, asked.version, one)
            if kind == "ERROR":
                return
        while time.monotonic() < end:
            with self.lock:
                fresh = [event for event in self.events if event[0] > at]
                if not fresh:
                    self.moved.wait(min(0.5, max(0.01, end - time.monotonic())))
            for number, resource, before, after, gone in fresh:
                at = number
                if resource != asked.resource:
                    continue
                had, has = selectors.fit(before), not gone and selectors.fit(after)
                kind = {(False, True): "ADDED", (True, True): "MODIFIED", (True, False): "DELETED"}.get((had, has))
                if kind:
                    yield kind, to_version(asked.resource, asked.version, after)
            if bookmarks and time.monotonic() >= bookmark_at:
                bookmark_at = end + 1
                group = asked.about.group
                yield "BOOKMARK", {"kind": asked.about.kind, "metadata": {"resourceVersion": str(at)},
                                   "apiVersion": f"{group}/{asked.version}" if group else asked.version}

    def change(self, asked, body, content_type):
        with self.lock:
            state = self.load()
            objects = state.setdefault("objects", {}).setdefault(asked.resource, [])
            if asked.sub == "eviction":
                return self.evict(state, asked, body)
            if asked.command == "POST":
                return self.create(state, asked, body)
            present = next((one for one in objects if one["metadata"]["name"] == asked.name
                            and (not asked.about.namespaced or one["metadata"].get("namespace") == asked.space)), None)
            if present is None:
                raise Refusal(404, "NotFound", f'{asked.about.qualified(asked.resource)} "{asked.name}" not found',
                              details={"name": asked.name, "kind": asked.resource})
            shown = self.scale_of(present) if asked.sub == "scale" else to_version(asked.resource, asked.version, present)
            if asked.command == "GET":
                return shown
            if asked.command == "DELETE":
                return self.delete(state, asked.resource, present, body or {}, asked.query)
            if asked.command == "PATCH":
                try:
                    wanted = PATCH_TYPES[content_type](shown, body)
                except patches.PatchError as wrong:
                    raise Refusal(422, "Invalid", f"the server rejected our request due to an error in our request: {wrong}") \
                        from wrong
            else:
                wanted = self.whole(asked, body)
            changed = self.update(state, asked, present, wanted)
            return self.scale_of(changed) if asked.sub == "scale" else to_version(asked.resource, asked.version, changed)

    @staticmethod
    def whole(asked, body):
        group = asked.about.group
        version, kind = (f"{group}/{asked.version}" if group else asked.version), asked.about.kind
        if asked.sub == "scale":
            version, kind = "autoscaling/v1", "Scale"
        if body is None or body.get("apiVersion") != version or body.get("kind") != kind:
            raise bad(f"expected apiVersion {version} and kind {kind}")
        name = body.get("metadata", {}).get("name")
        if not name or (asked.name and name != asked.name):
            raise bad("metadata.name: missing, or not that of the path")
        return body

    def create(self, state, asked, body):
        if asked.name:
            raise Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource",
                          complaint=True)
        new = from_version(asked.resource, asked.version, self.whole(asked, body))
        metadata = new["metadata"]
        objects = state["objects"][asked.resource]
        if asked.about.namespaced:
            metadata.setdefault("namespace", asked.space)
            if metadata["namespace"] != asked.space:
                raise bad("the namespace of the object does not match the request")
            if state.get("controllers") and not any(one["metadata"]["name"] == asked.space
                                                    for one in state["objects"].get("namespaces", [])):
                raise Refusal(404, "NotFound", f'namespaces "{asked.space}" not found')
        if any(one["metadata"]["name"] == metadata["name"]
               and one["metadata"].get("namespace") == metadata.get("namespace") for one in objects):
            raise Refusal(409, "AlreadyExists", f'{asked.about.qualified(asked.resource)} "{metadata["name"]}" already exists')
        for server_side in ("uid", "resourceVersion", "creationTimestamp", "generation"):
            metadata.pop(server_side, None)
        validate(asked.resource, new, None)
        controllers.admit(state, asked.resource, new)
        if "dryRun" not in asked.query:
            new = self.put(state, asked.resource, None, new)
        return to_version(asked.resource, asked.version, new)

    def update(self, state, asked, present, wanted):
        metadata, mine = wanted.get("metadata", {}), present["metadata"]
        given = metadata.get("resourceVersion")
        qualified = asked.about.qualified(asked.resource)
        if asked.resource == "leases" and asked.command == "PUT" and not given:
            raise Refusal(422, "Invalid", f'{qualified} "{asked.name}" is invalid: metadata.resourceVersion: Invalid value: 0x0: '
                                          "must be specified for an update", complaint=True)
        if given and given != mine.get("resourceVersion"):
            raise Refusal(409, "Conflict", f'Operation cannot be fulfilled on {qualified} "{asked.name}": the object has been '
                                           "modified; please apply your changes to the latest version and try again")
        if metadata.get("uid") and mine.get("uid") and metadata["uid"] != mine["uid"]:
            raise Refusal(409, "Conflict", f'Operation cannot be fulfilled on {qualified} "{asked.name}": Precondition failed: '
                                           f"UID in precondition: {metadata['uid']}, UID in object meta: {mine['uid']}")
        if asked.sub == "scale":
            replicas = wanted.get("spec", {}).get("replicas", 0)
            if not isinstance(replicas, int):
                raise bad("spec.replicas: expected a whole number")
            if replicas < 0:
                raise Refusal(422, "Invalid", f'Scale.autoscaling "{asked.name}" is invalid: spec.replicas: Invalid value: '
                                              f"{replicas}: must be greater than or equal to 0",
                              details={"causes": [{"field": "spec.replicas", "message": "must be greater than or equal to 0"}]})
            new = {**present, "spec": {**present.get("spec", {}), "replicas": replicas}}
        elif asked.sub == "status":
            new = {**present, "status": wanted.get("status", {})}
        else:
            new = from_version(asked.resource, asked.version, copy.deepcopy(wanted))
            if "status" in asked.about.subs:  # only the subresource changes it
                new.pop("status", None)
                if "status" in present:
                    new["status"] = present["status"]
        new = copy.deepcopy(new)
        new["metadata"] = {**copy.deepcopy(new["metadata"] if asked.sub not in ("scale", "status") else mine)}
        for server_side in ("uid", "creationTimestamp", "generation", "resourceVersion", "namespace", "name"):
            if server_side in mine:
                new["metadata"][server_side] = mine[server_side]
        new["apiVersion"], new["kind"] = present.get("apiVersion"), present.get("kind")
        for key in ("apiVersion", "kind"):
            if new[key] is None:
                new.pop(key)
        if asked.sub is None:
            validate(asked.resource, new, present)
        return new if "dryRun" in asked.query else self.put(state, asked.resource, present, new)

    def delete(self, state, resource, present, options, query):
        metadata = present["metadata"]
        conditions = options.get("preconditions", {})
        about = RESOURCES[resource]
        for key, name in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            if conditions.get(key) and conditions[key] != metadata.get(key):
                raise Refusal(409, "Conflict", f'Operation cannot be fulfilled on {about.qualified(resource)} '
                                               f'"{metadata["name"]}": Precondition failed: {name} in precondition: '
                                               f"{conditions[key]}, {name} in object meta: {metadata.get(key)}")
        grace = options.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        bound = resource == "pods" and present.get("spec", {}).get("nodeName") and state.get("controllers")
        if "dryRun" in query:
            return present
        if bound and grace not in (0, "0"):
            if "deletionTimestamp" in metadata:
                return present
            new = copy.deepcopy(present)
            new["metadata"] |= {"deletionTimestamp": now_text(),
                                "deletionGracePeriodSeconds": 30 if grace is None else int(grace)}
            return self.put(state, resource, present, new)
        self.put(state, resource, present, None)
        if resource == "namespaces":
            for kind, objects in state["objects"].items():
                for one in [one for one in objects if one["metadata"].get("namespace") == metadata["name"]]:
                    self.put(state, kind, one, None)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": {"name": metadata["name"], "kind": resource, "uid": metadata.get("uid", "")}}

    def evict(self, state, asked, body):
        newest = eviction_version(controllers.minor_of(state))
        allowed = {f"policy/{newest}", "policy/v1beta1"}
        if body is None or body.get("apiVersion") not in allowed or body.get("kind") != "Eviction" or \
                body.get("metadata", {}).get("name") != asked.name:
            raise bad(f"expected an Eviction of policy/{newest} about {asked.name}")
        pod = next((one for one in state["objects"]["pods"] if one["metadata"]["name"] == asked.name
                    and one["metadata"]["namespace"] == asked.space), None)
        if pod is None:
            raise Refusal(404, "NotFound", f'pods "{asked.name}" not found')
        options = body.get("deleteOptions", {})
        wanted = options.get("preconditions", {}).get("uid")
        if wanted and wanted != pod["metadata"]["uid"]:
            raise Refusal(409, "Conflict", f'Operation cannot be fulfilled on pods "{asked.name}": Precondition failed: UID in '
                                           f"precondition: {wanted}, UID in object meta: {pod['metadata']['uid']}")
        controllers.allow_eviction(self, state, pod)
        state = self.load()
        self.delete(state, "pods", next(one for one in state["objects"]["pods"]
                                        if one["metadata"]["uid"] == pod["metadata"]["uid"]), options, {})
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    @staticmethod
    def scale_of(workload):
        metadata = {key: workload["metadata"][key] for key in
                    ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if key in workload["metadata"]}
        return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
                "spec": {"replicas": workload["spec"].get("replicas", 1)},
                "status": {"replicas": workload.get("status", {}).get("replicas", 0)}}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, directory, port):
        super().__init__(("127.0.0.1", port), Handler)
        self.directory = directory
        self.expired = 0
        self.broken = {}  # faults that happen a number of times
        self.writing = threading.Lock()
        self.cluster = Cluster(self.at("state.json"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.at("server.crt"), self.at("server.key"))
        context.load_verify_locations(self.at("ca.crt"))
        context.verify_mode = ssl.CERT_OPTIONAL
        self.context = context

    def at(self, name):
        return os.path.join(self.directory, name)

    def finish_request(self, request, client_address):  # in a thread: a slow handshake holds nobody up
        request.settimeout(30)
        try:
            secure = self.context.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError):
            return
        self.RequestHandlerClass(secure, client_address, self)

    def fault(self, state, path, method):
        """The fault of a path, or of "METHOD PATH"; with `times` only so often, anew for each faults.json."""
        faults, written = state.get("faults", {}), 0
        if os.path.exists(self.at("faults.json")):
            with open(self.at("faults.json"), encoding="utf-8") as file:
                faults, written = {**faults, **json.load(file)}, os.fstat(file.fileno()).st_mtime_ns
        for key in (f"{method} {path}", path):
            fault = faults.get(key)
            if not fault:
                continue
            if "times" in fault and self.broken.get((key, written), 0) >= fault["times"]:
                continue
            fault = {**fault, "known_as": (key, written)}
            # An answer is used up by what was done: a conflict, asked again, is not.
            return fault if "answer" in fault else self.use_up(fault)
        return None

    def use_up(self, fault):
        with self.writing:
            self.broken[fault["known_as"]] = self.broken.get(fault["known_as"], 0) + 1
        return fault

    def note(self, record):
        with self.writing, open(self.at("requests.jsonl"), "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def expire(self, times):
        with self.writing:
            self.expired += 1
            return self.expired <= times


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", required=True)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    certificates.make(arguments.directory)
    server = Server(arguments.directory, arguments.port)
    if server.cluster.load().get("controllers"):
        threading.Thread(target=controllers.run, args=(server.cluster,), daemon=True).start()
    with open(server.at("port.new"), "w", encoding="utf-8") as file:
        file.write(str(server.server_address[1]))
    os.replace(server.at("port.new"), server.at("port"))
    server.serve_forever()


if __name__ == "__main__":
    main()
