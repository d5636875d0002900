"""A real Kubernetes API server with its controllers and scheduler on loopback, for one command.

usage: kubernetes.py BIN_DIR COMMAND [ARGUMENT...]

BIN_DIR is what tests/tools/kubernetes.sh prints; etcd comes from Debian's package. The kubelets of two nodes, n1 and n2, are
played here through the API: they call every pod that is bound to them ready, but one whose image has "broken" in its name, and
end pods that are deleted, but "stubborn" ones. COMMAND gets NEXUS_KUBERNETES_BED, a directory with admin.conf (a client
certificate) and viewer.conf (a token that may only read). Its exit status is ours.
"""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from ports import free_port

READY_WITHIN = 180  # seconds; a busy machine takes one or two minutes
SERVICE_NAMES = "IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default"


class Client:
    def __init__(self, port, directory):
        self.context = ssl.create_default_context(cafile=directory / "ca.crt")
        self.context.load_cert_chain(directory / "admin.crt", directory / "admin.key")
        self.port = port
        self.connection = None

    def ask(self, method, path, body=None, kind="application/json"):
        """Status and JSON; a connection that broke is made anew, once."""
        for again in (True, False):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=30)
                self.connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": kind})
                response = self.connection.getresponse()
                text = response.read()
                return response.status, json.loads(text) if text[:1] == b"{" else {}
            except (OSError, http.client.HTTPException):
                self.connection = None
                if not again:
                    raise
        return None


class Cluster:
    def __init__(self, programs, directory):
        self.programs, self.directory, self.children = pathlib.Path(programs), pathlib.Path(directory), []
        self.port = free_port()
        self.server = f"https://127.0.0.1:{self.port}"
        self.ending = threading.Event()
        self.kubelets = threading.Thread(target=self.play_kubelets, daemon=True)

    def at(self, name):
        return str(self.directory / name)

    def make_certificates(self):
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)

        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=testbed-ca")
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "accounts.key")
        (self.directory / "names").write_text(f"subjectAltName={SERVICE_NAMES}\n")
        for name, subject in (("server", "/CN=kube-apiserver"), ("admin", "/O=system:masters/CN=admin"),
                              ("controllers", "/O=system:masters/CN=controllers")):
            openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                    "-out", f"{name}.crt", "-extfile", "names")

    def write_config(self, name, user):
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "bed",
                  "clusters": [{"name": "bed", "cluster": {"server": self.server, "certificate-authority": "ca.crt"}}],
                  "users": [{"name": "one", "user": user}],
                  "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "one"}}]}
        (self.directory / f"{name}.conf").write_text(json.dumps(config))  # JSON is YAML too

    def start_one(self, name, *arguments):
        log = open(self.at(f"{name}.log"), "wb")
        program = self.programs / name
        command = [str(program) if program.exists() else name, *arguments]
        self.children.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory, start_new_session=True))

    def start(self):
        self.make_certificates()

        def data(name):
            return base64.b64encode((self.directory / name).read_bytes()).decode()

        self.write_config("admin", {"client-certificate-data": data("admin.crt"), "client-key-data": data("admin.key")})
        self.write_config("controllers", {"client-certificate": "controllers.crt", "client-key": "controllers.key"})
        self.write_config("viewer", {"token": "viewer-token"})
        (self.directory / "tokens.csv").write_text('viewer-token,viewer,viewer-uid\n')
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.start_one("etcd", "--data-dir", self.at("etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
                       "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster",
                       f"default={peer}", "--unsafe-no-fsync")
        self.wait_for("etcd", lambda: self.age(client))
        self.start_one(
            "kube-apiserver", f"--etcd-servers={client}", f"--secure-port={self.port}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", "--tls-cert-file=server.crt", "--tls-private-key-file=server.key",
            "--client-ca-file=ca.crt", "--token-auth-file=tokens.csv", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes", "--service-account-key-file=accounts.key",
            "--service-account-signing-key-file=accounts.key", "--service-cluster-ip-range=10.96.0.0/24",
            # No kubelet is there to bring accounts or to take the taint of a node that is not ready away.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition", f"--cert-dir={self.at('generated')}")
        self.wait_for("the API server", lambda: self.client().ask("GET", "/readyz")[0] == 200)
        self.start_one("kube-controller-manager", "--kubeconfig=controllers.conf", "--leader-elect=false", "--port=0",
                       f"--secure-port={free_port()}", "--bind-address=127.0.0.1", f"--cert-dir={self.at('generated')}",
                       "--controllers=*,-nodelifecycle,-nodeipam,-ttl,-csrsigning", "--kube-api-qps=200",
                       "--kube-api-burst=400", "--service-account-private-key-file=accounts.key")
        self.start_one("kube-scheduler", "--kubeconfig=controllers.conf", "--leader-elect=false", "--port=0",
                       f"--secure-port={free_port()}", "--bind-address=127.0.0.1", f"--cert-dir={self.at('generated')}")
        admin = self.client()
        for name in ("n1", "n2"):
            admin.ask("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {
                "name": name, "labels": {"kubernetes.io/hostname": name}}})
            room = {"cpu": "16", "memory": "64Gi", "pods": "200"}
            admin.ask("PATCH", f"/api/v1/nodes/{name}/status", {"status": {
                "capacity": room, "allocatable": room,
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}}, "application/merge-patch+json")
        status, answer = admin.ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "viewer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "viewer"}]})
        if status != 201:
            raise RuntimeError(f"the viewer cannot be bound: {answer}")
        self.kubelets.start()
        self.wait_for("the controllers", self.controllers_work)

    @staticmethod
    def age(client):
        """A history that is compacted away, as a cluster has that has lived a while: version 1 is too old (410) from the start."""
        def ask(path, **body):
            request = urllib.request.Request(f"{client}/v3/{path}", json.dumps(body).encode())
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)

        def coded(text):
            return base64.b64encode(text.encode()).decode()

        for i in range(20):
            revision = ask("kv/put", key=coded("/before-the-cluster"), value=coded(str(i)))["header"]["revision"]
        ask("kv/compaction", revision=revision)
        return True

    def client(self):
        return Client(self.port, self.directory)

    def controllers_work(self):
        """The account of a new namespace is made by a controller: then they all run."""
        return self.client().ask("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200

    def wait_for(self, what, so):
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end:
            for child in self.children:
                if child.poll() is not None:
                    raise RuntimeError(f"{child.args[0]} has ended: {self.tail(child)}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if so():
                    return
            time.sleep(0.2)
        raise RuntimeError(f"{what}: not ready within {READY_WITHIN} s")

    def tail(self, child):
        name = pathlib.Path(child.args[0]).name
        return (self.directory / f"{name}.log").read_text(errors="replace")[-2000:]

    def play_kubelets(self):
        api = self.client()
        while not self.ending.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                for pod in api.ask("GET", "/api/v1/pods?resourceVersion=0")[1].get("items", []):
                    self.play_pod(api, pod)
            self.ending.wait(0.1)

    @staticmethod
    def play_pod(api, pod):
        metadata, spec = pod["metadata"], pod["spec"]
        if not spec.get("nodeName"):
            return
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        images = [one["image"] for one in spec["containers"]]
        if "deletionTimestamp" in metadata:
            if not any("stubborn" in image for image in images):
                api.ask("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
                                         "preconditions": {"uid": metadata["uid"]}})
            return
        if any(one["type"] == "Ready" for one in pod.get("status", {}).get("conditions", [])):
            return
        broken = any("broken" in image for image in images)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        conditions = [{"type": kind, "status": "False" if broken and kind in ("Ready", "ContainersReady") else "True",
                       "lastTransitionTime": now} for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]
        state = {"waiting": {"reason": "ImagePullBackOff"}} if broken else {"running": {"startedAt": now}}
        statuses = [{"name": one["name"], "image": one["image"], "imageID": "", "ready": not broken, "restartCount": 0,
                     "state": state} for one in spec["containers"]]
        api.ask("PATCH", path + "/status", {"metadata": {"uid": metadata["uid"]}, "status": {
            "phase": "Pending" if broken else "Running", "conditions": conditions, "startTime": now,
            "containerStatuses": statuses}}, "application/strategic-merge-patch+json")

    def stop(self):
        self.ending.set()
        for child in reversed(self.children):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def main():
    with tempfile.TemporaryDirectory(prefix="nexus-kubernetes-") as directory:
        cluster = Cluster(sys.argv[1], directory)
        try:
            began = time.monotonic()
            cluster.start()
            print(f"kubernetes.py: {cluster.client().ask('GET', '/version')[1]['gitVersion']} is ready after "
                  f"{time.monotonic() - began:.0f} s", flush=True)
            ran = subprocess.run(sys.argv[2:], env={**os.environ, "NEXUS_KUBERNETES_BED": directory}, check=False)
            return ran.returncode
        finally:
            cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
