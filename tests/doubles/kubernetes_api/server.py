#!/usr/bin/python3
"""A double of the Kubernetes API server: see README.md beside this file."""
import argparse
import base64
import http.server
import json
import os
import re
import ssl
import subprocess
import threading
import time
import urllib.parse

RESOURCES = {  # resource: (group and version, kind, namespaced, fields that can be selected)
    "nodes": ("v1", "Node", False, {"metadata.name", "spec.unschedulable"}),
    "namespaces": ("v1", "Namespace", False, {"metadata.name", "status.phase"}),
    "pods": ("v1", "Pod", True, {"metadata.name", "metadata.namespace", "spec.nodeName", "spec.restartPolicy",
                                 "spec.schedulerName", "spec.serviceAccountName", "status.phase", "status.podIP"}),
    "events": ("v1", "Event", True, {"metadata.name", "metadata.namespace", "involvedObject.kind",
                                     "involvedObject.name", "involvedObject.namespace", "involvedObject.uid",
                                     "reason", "type", "source", "reportingComponent"}),
    "deployments": ("apps/v1", "Deployment", True, {"metadata.name", "metadata.namespace"}),
    "leases": ("coordination.k8s.io/v1", "Lease", True, {"metadata.name", "metadata.namespace"}),
}
LIST_PARAMETERS = {"limit", "continue", "fieldSelector", "labelSelector", "resourceVersion", "timeoutSeconds"}
CHANGE_PARAMETERS = {"dryRun", "fieldManager", "force", "gracePeriodSeconds", "propagationPolicy"}
PATCH_TYPES = {"application/merge-patch+json", "application/strategic-merge-patch+json", "application/json-patch+json"}
PATH = re.compile(r"^/(?:api/v1|apis/(?P<group>[a-z0-9.]+/v1))(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>[a-z]+)"
                  r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>scale|status))?$")
LOCK = threading.Lock()


class Refusal(Exception):
    """An answer that is no success; `complaint` when the request itself breaks the documented API."""

    def __init__(self, status, reason, message, complaint=False):
        super().__init__(message)
        self.status, self.reason, self.message, self.complaint = status, reason, message, complaint


def bad(message):
    return Refusal(400, "BadRequest", message, complaint=True)


def field(value, path):
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def merge(target, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merge(out.get(key), value)
    return out


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
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
        try:
            query = self.query_of(url.query)
            with LOCK:
                state = self.server.state()
            fault = state.get("faults", {}).get(url.path)
            if fault and self.break_down(fault, record, query):
                return
            answer = self.answer(state, url.path, query, record)
        except Refusal as refusal:
            record["status"] = refusal.status
            if refusal.complaint:
                record["complaint"] = refusal.message
            answer = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                      "message": refusal.message, "reason": refusal.reason, "code": refusal.status}
        self.server.note(record)
        self.send(record["status"], json.dumps(answer).encode())

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = respond

    def send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
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
            self.send(record["status"], fault.get("body", "").encode())
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

    def answer(self, state, path, query, record):
        user = record["user"] = self.user_of(state)
        match = PATH.match(path)
        if not match or match["resource"] not in RESOURCES:
            raise Refusal(404, "NotFound", "the server could not find the requested resource", complaint=True)
        resource, name, space = match["resource"], match["name"], match["namespace"]
        version, _, namespaced, _ = RESOURCES[resource]
        if (match["group"] or "v1") != version:
            raise Refusal(404, "NotFound", f"{resource} are not in {match['group'] or 'v1'}", complaint=True)
        if (space and not namespaced) or (name and namespaced and not space):
            raise bad(f"{path}: the namespace does not fit")
        accept = self.headers.get("Accept", "*/*")
        if "application/json" not in accept and "*/*" not in accept:
            raise bad(f"Accept: {accept}: JSON is not accepted")
        verb = {"GET": "get" if name else "list", "PUT": "update", "POST": "create", "PATCH": "patch",
                "DELETE": "delete"}[self.command]
        what = resource + ("/" + match["sub"] if match["sub"] else "")
        rules = state.get("rules", {}).get(user, [])
        if "*" not in rules and f"{verb} {what}" not in rules:
            scope = f'in the namespace "{space}"' if space else "at the cluster scope"
            raise Refusal(403, "Forbidden", f'{what} is forbidden: User "{user}" cannot {verb} resource "{what}" in API '
                                            f'group "{version.partition("/")[0] if "/" in version else ""}" {scope}')
        if verb == "list":
            return self.list(state, resource, space, query)
        return self.one(state, resource, space, name, match["sub"], query)

    def list(self, state, resource, space, query):
        version, kind, _, selectable = RESOURCES[resource]
        if int(self.headers.get("Content-Length", 0) or 0):
            raise bad("a GET has no body")
        if unknown := set(query) - LIST_PARAMETERS:
            raise bad(f"unknown query parameters: {', '.join(sorted(unknown))}")
        if not re.fullmatch(r"[0-9]+", query.get("limit", "0")):
            raise bad(f"limit={query['limit']}: expected a whole number")
        objects = [one for one in state.get("objects", {}).get(resource, [])
                   if not space or one["metadata"].get("namespace") == space]
        for selector in filter(None, query.get("fieldSelector", "").split(",")):
            parts = re.fullmatch(r"([A-Za-z.]+)(==|=|!=)(.*)", selector)
            if not parts or parts[1] not in selectable:
                raise bad(f'field label not supported: "{selector}"')
            objects = [one for one in objects if (field(one, parts[1]) == parts[3]) == (parts[2] != "!=")]
        about = f"{resource} {space} {query.get('fieldSelector', '')}"
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
            metadata["remainingItemCount"] = len(objects) - first - limit
        return {"kind": kind + "List", "apiVersion": version, "metadata": metadata, "items": objects[first:first + limit]}

    def one(self, state, resource, space, name, sub, query):
        version, kind, namespaced, _ = RESOURCES[resource]
        if unknown := set(query) - CHANGE_PARAMETERS:
            raise bad(f"unknown query parameters: {', '.join(sorted(unknown))}")
        body = self.read_body(version, kind, name, sub)
        with LOCK:
            state = self.server.state()
            objects = state.setdefault("objects", {}).setdefault(resource, [])
            place = next((i for i, one in enumerate(objects) if one["metadata"]["name"] == (name or body["metadata"]["name"])
                          and (not namespaced or one["metadata"].get("namespace") == space)), None)
            if self.command == "POST":
                if place is not None:
                    raise Refusal(409, "AlreadyExists", f'{resource} "{body["metadata"]["name"]}" already exists')
                body["metadata"].setdefault("namespace", space)
                objects.append(body)
                return self.changed(state, objects[-1], query)
            if place is None:
                raise Refusal(404, "NotFound", f'{resource} "{name}" not found')
            present = objects[place]
            if self.command == "GET":
                return self.scale_of(present) if sub == "scale" else present
            if self.command == "DELETE":
                if "dryRun" not in query:
                    objects.pop(place)
                return self.changed(state, present, query)
            if self.command == "PUT" and sub != "scale":
                given = body["metadata"].get("resourceVersion")
                if given and given != present["metadata"].get("resourceVersion"):
                    raise Refusal(409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": the object has '
                                                   "been modified")
                objects[place] = body
            elif sub == "scale":
                objects[place] = merge(present, {"spec": {"replicas": body["spec"]["replicas"]}})
            else:
                objects[place] = merge(present, body)
            changed = self.changed(state, objects[place], query)
            return self.scale_of(changed) if sub == "scale" else changed

    @staticmethod
    def scale_of(deployment):
        return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": deployment["metadata"],
                "spec": {"replicas": deployment["spec"].get("replicas", 1)},
                "status": {"replicas": deployment.get("status", {}).get("replicas", 0)}}

    def changed(self, state, one, query):
        if "dryRun" in query:
            return one
        state["version"] = state.get("version", 1) + 1
        one["metadata"]["resourceVersion"] = str(state["version"])
        one["metadata"]["generation"] = one["metadata"].get("generation", 0) + 1
        self.server.write(state)
        return one

    def read_body(self, version, kind, name, sub):
        length = int(self.headers.get("Content-Length", 0) or 0)
        text = self.rfile.read(length)
        if self.command in ("GET", "DELETE"):
            if self.command == "GET" and text:
                raise bad("a GET has no body")
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
        if not isinstance(body, dict):
            raise bad("the body is no object")
        if self.command != "PATCH" and sub != "scale":
            if body.get("apiVersion") != version or body.get("kind") != kind:
                raise bad(f"expected apiVersion {version} and kind {kind}")
            if not body.get("metadata", {}).get("name") or (name and body["metadata"]["name"] != name):
                raise bad("metadata.name: missing, or not that of the path")
        if sub == "scale" and not isinstance(body.get("spec", {}).get("replicas"), int):
            raise bad("spec.replicas: expected a whole number")
        return body


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, directory, port):
        super().__init__(("127.0.0.1", port), Handler)
        self.directory = directory
        self.expired = 0
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

    def state(self):
        with open(self.at("state.json"), encoding="utf-8") as file:
            return json.load(file)

    def write(self, state):
        with open(self.at("state.json.new"), "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(self.at("state.json.new"), self.at("state.json"))

    def note(self, record):
        with LOCK, open(self.at("requests.jsonl"), "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def expire(self, times):
        with LOCK:
            self.expired += 1
            return self.expired <= times


def make_certificates(directory):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=double-ca")
    openssl("req", "-x509", *key, "-keyout", "other-ca.key", "-out", "other-ca.crt", "-subj", "/CN=other-ca")
    with open(os.path.join(directory, "names"), "w", encoding="utf-8") as file:
        file.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-out", f"{name}.crt", *(("-extfile", "names") if name == "server" else ()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", required=True)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    make_certificates(arguments.directory)
    server = Server(arguments.directory, arguments.port)
    with open(server.at("port.new"), "w", encoding="utf-8") as file:
        file.write(str(server.server_address[1]))
    os.replace(server.at("port.new"), server.at("port"))
    server.serve_forever()


if __name__ == "__main__":
    main()
