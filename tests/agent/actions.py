"""Every action as its users meet it: described, asked for dry, done, verified and taken back, by the command line and over HTTP,
on processes, files, a network namespace, containers of a real dockerd, Redis and PostgreSQL; and remedies that findings about
containers trigger. What needs systemd is in the story and in `execute_systemd`, what needs a cluster in `./test --kubernetes`.

    actions.py NEXUS_AGENT

Needs root.
"""
import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tarfile
import time

from counterparts import running, served, send
from fleet import postgres, redis
from harness import PATIENCE, Agent, _UnixConnection, directory, equal, expect, request, run_tests, wait_for

BINARY = sys.argv[1]

MISSION = """restart_service start_service stop_service reload_service scale_service rolling_update rollback_deployment adjust_memory
performance_tuning network_optimization cleanup_disk rotate_logs clear_cache optimize_database kill_process run_command renice_process
drop_caches http_request notify composite""".split()

# In namespaces of its own, whose kernel parameters are nobody else's.
ALONE = """#!/bin/sh
exec /usr/bin/unshare --net --ipc /bin/sh -c '/sbin/ip link set lo up && exec "$0" "$@"' {binary} "$@"
"""

# Writes a line after the other to its log, and opens it again at SIGHUP.
WRITER = """
import itertools, signal, sys, time
def open_log(*_):
    global log
    log = open(sys.argv[1], "a", buffering=1)
open_log()
signal.signal(signal.SIGHUP, open_log)
for number in itertools.count():
    log.write(f"{number}\\n")
    time.sleep(0.001)
"""


class Docker:
    """A dockerd with data and a socket of its own, and images made of busybox: shop:1 and shop:2."""

    def __init__(self, where):
        self.where = where
        self.socket = where / "docker.sock"
        self.server = running("/usr/sbin/dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false",
                              f"--data-root={where}/docker", f"--exec-root={where}/docker-exec", f"--pidfile={where}/docker.pid",
                              f"--host=unix://{self.socket}", "--storage-driver=vfs", "--group=root", "--log-level=fatal")

    def __enter__(self):
        self.server.__enter__()
        try:
            wait_for("dockerd", lambda: self.socket.exists() and self.up())
            archive = self.where / "image.tar"
            with tarfile.open(archive, "w") as tar:
                tar.add("/bin/busybox", "bin/busybox")
                for name in ("sh", "sleep"):
                    link = tarfile.TarInfo(f"bin/{name}")
                    link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                    tar.addfile(link)
            for tag in ("1", "2"):
                changes = f"&changes=ENV%20VERSION={tag}"
                self.ask("POST", f"/images/create?fromSrc=-&repo=shop&tag={tag}{changes}", archive.read_bytes(), raw=True)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            for one in self.ask("GET", "/containers/json?all=true"):
                self.ask("DELETE", f"/containers/{one['Id']}?force=true")
        self.server.__exit__(None, None, None)
        subprocess.run(["/bin/umount", "-l", self.where / "docker-exec/netns/default"], stderr=subprocess.DEVNULL)

    def up(self):
        with contextlib.suppress(OSError):
            return request(_UnixConnection(self.socket), "GET", "/_ping").status == 200

    def ask(self, method, path, body=None, raw=False):
        answer = request(_UnixConnection(self.socket), method, path, body, {"Content-Type": "application/x-tar"} if raw else None)
        expect(answer.status < 400, f"{method} {path}: {answer.status} {answer.body}")
        return json.loads(answer.body) if answer.body.startswith(("{", "[")) and not raw else None

    def make(self, name, image="shop:1", command="exec sleep 1000", compose=None, **more):
        labels = {} if compose is None else {"com.docker.compose.project": compose[0], "com.docker.compose.service": compose[1],
                                             "com.docker.compose.container-number": str(compose[2]),
                                             "com.docker.compose.oneoff": "False"}
        self.ask("POST", f"/containers/create?name={name}", {"Image": image, "Cmd": ["sh", "-c", command], "Labels": labels,
                                                             "StopSignal": "SIGKILL", "HostConfig": {"NetworkMode": "host"}, **more})
        self.ask("POST", f"/containers/{name}/start")

    def inspect(self, name):
        return self.ask("GET", f"/containers/{name}/json")

    def load_old(self):
        """An image without a name that was made years ago; its id."""
        def packed(files):
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w") as tar:
                for name, content in files.items():
                    entry = tarfile.TarInfo(name)
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
            return out.getvalue()
        layer = packed({"old": b"x"})
        made = json.dumps({"architecture": "amd64", "os": "linux", "created": "2020-01-01T00:00:00Z", "config": {},
                           "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
        manifest = json.dumps([{"Config": "made.json", "RepoTags": None, "Layers": ["layer.tar"]}]).encode()
        self.ask("POST", "/images/load", packed({"manifest.json": manifest, "made.json": made, "layer.tar": layer}), raw=True)
        return "sha256:" + hashlib.sha256(made).hexdigest()

    def names(self):
        return {one["Names"][0].lstrip("/") for one in self.ask("GET", "/containers/json?all=true")}


class Host:
    """An agent, asked for actions as people ask."""

    def __init__(self, agent):
        self.agent = agent

    def ended(self, action):
        def over():
            now = self.agent.command_json("actions", "show", action["id"])
            return now if now["finished"] else None
        return wait_for(f"the end of {action['action_type']} {action['target_component']}", over)

    def ask(self, kind, target, parameters, dry):
        """By the command line where there are no parameters, otherwise over HTTP."""
        if not parameters:
            return self.agent.command_json("actions", "run", kind, target, *(["--dry-run"] if dry else []), code=None)
        answer = self.agent.unix("POST", "/operations/actions", {"action_type": kind, "target_component": target,
                                                                 "parameters": parameters, "dry_run": dry})
        equal(answer.status, 202, f"{kind} {target}: {answer.body}")
        return self.ended(answer.json)

    def would(self, kind, target, **parameters):
        dry = self.ask(kind, target, parameters, True)
        equal((dry["state"], dry["dry_run"]), ("succeeded", True), f"a dry run of {kind}: {dry['outcome']}")
        return dry["outcome"]["would_do"]

    def done(self, kind, target, **parameters):
        action = self.ask(kind, target, parameters, False)
        equal(action["state"], "succeeded", f"{kind} {target}: {action['outcome']}")
        return action

    def refused(self, kind, target, **parameters):
        """What is said of what is not even queued."""
        answer = self.agent.unix("POST", "/operations/actions",
                                 {"action_type": kind, "target_component": target, "parameters": parameters})
        expect(answer.status in (400, 403, 404, 409), f"{kind} {target} is not refused: {answer.status} {answer.body}")
        return answer.json["error"]["message"]

    def failed(self, kind, target, **parameters):
        action = self.ask(kind, target, parameters, False)
        equal(action["state"], "failed", f"{kind} {target}: {action['outcome']}")
        return action["outcome"]["result"]

    def taken_back(self, action):
        """Over HTTP; what it says, and that it says so of the action itself."""
        answer = self.agent.unix("POST", f"/operations/actions/{action['id']}/rollback", {"reason": "a test"})
        equal(answer.status, 202, f"rollback of {action['action_type']}: {answer.body}")
        undone = self.ended(answer.json)
        equal(undone["state"], "succeeded", f"rollback of {action['action_type']}: {undone['outcome']}")
        said = self.agent.command_json("actions", "show", action["id"])["outcome"]["undone"]
        equal(said, undone["outcome"]["result"], "outcome.undone")
        equal(self.agent.unix("POST", f"/operations/actions/{action['id']}/rollback", {}).status, 409, "a second rollback of it")
        return said


@contextlib.contextmanager
def host(config, binary=BINARY, where=None):
    with directory() as own:
        agent = Agent(binary, where or own, config)
        try:
            yield Host(agent.start())
        finally:
            agent.close()


def described():
    """Each of the mission's actions is listed, and says what it takes, and how it is undone where it can be."""
    listed = subprocess.run([BINARY, "list", "actions"], capture_output=True, text=True, check=True).stdout
    for name in MISSION:
        expect(re.search(rf"^{name}\b", listed, re.M), f"{name} is not listed: {listed}")
        said = subprocess.run([BINARY, "describe", name], capture_output=True, text=True, check=True).stdout
        expect("target" in said, f"describe {name} says nothing of its target: {said}")
    for name in ("adjust_memory", "performance_tuning", "network_optimization", "renice_process", "scale_service", "stop_service",
                 "rolling_update"):
        said = subprocess.run([BINARY, "describe", name], capture_output=True, text=True, check=True).stdout
        expect("undo" in said, f"describe {name} does not say how it is undone: {said}")


def process_of(pid):
    return f"{pid}:{pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]}"


def processes_and_commands():
    heard = []
    def respond(handler):
        heard.append((handler.path, dict(handler.headers)))
        send(handler, "ok")
    with served(respond) as port, host(f"""
[[command]]
name = "greet"
argv = ["/bin/echo", "hello"]
[[request]]
name = "drain"
method = "GET"
url = "http://127.0.0.1:{port}/drain"
""") as it, running("/bin/sleep", "300", start_new_session=True) as nice, \
            running("/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.1; done", start_new_session=True) as stubborn:
        expect("/bin/echo" in it.would("run_command", "greet"), "the dry run of a command")
        equal(it.done("run_command", "greet")["outcome"]["output"].strip(), "hello", "the output of a command")
        expect("listed" in it.refused("run_command", "rm"), "a command that is not listed")

        target, before = process_of(nice.pid), os.getpriority(os.PRIO_PROCESS, nice.pid)
        value = before + (5 if before < 10 else -5)
        it.would("renice_process", target, nice=value)
        equal(os.getpriority(os.PRIO_PROCESS, nice.pid), before, "the nice value after a dry run")
        changed = it.done("renice_process", target, nice=value)
        equal((os.getpriority(os.PRIO_PROCESS, nice.pid), changed["outcome"]["verified"]), (value, True), "the nice value")
        it.taken_back(changed)
        equal(os.getpriority(os.PRIO_PROCESS, nice.pid), before, "the nice value that was taken back")
        expect("protected" in it.refused("kill_process", process_of(1)), "pid 1")
        expect("PID:START" in it.refused("kill_process", "sleep"), "a process by its name")
        expect("SIGTERM" in it.would("kill_process", process_of(stubborn.pid)), "the dry run of kill_process")
        killed = it.done("kill_process", process_of(stubborn.pid), kill_after="300ms")
        expect("was killed" in killed["outcome"]["result"], f"kill_process: {killed['outcome']}")
        equal(killed["outcome"]["verified"], True, "kill_process")
        equal(stubborn.wait(60), -signal.SIGKILL, "its end")

        expect("drain" in it.would("http_request", "drain") and not heard, "a dry request was sent")
        it.done("http_request", "drain")
        equal([path for path, _ in heard], ["/drain"], "what was requested")
        expect("listed" in it.refused("http_request", "other"), "a request that is not listed")
        expect("would" in it.would("drop_caches", "host"), "the dry run of drop_caches")
        it.would("notify", "people", message="hello")
        it.done("notify", "people", message="somebody asked")
        wait_for("what was told in the log", lambda: "somebody asked" in it.agent.log)


def kernel_parameters():
    with directory() as where:
        alone = where / "alone.sh"
        alone.write_text(ALONE.format(binary=BINARY))
        alone.chmod(0o755)
        with host("""
[[sysctl]]
name = "kernel.shmmni"
min = 1024
max = 32768
""", alone, where) as it:
            pid = it.agent.process.pid
            read = lambda name="net/core/somaxconn": subprocess.run(  # noqa: E731
                ["/usr/bin/nsenter", "--net", "--ipc", "--target", str(pid), "/bin/cat", f"/proc/sys/{name}"],
                capture_output=True, text=True, check=True).stdout.strip()
            before = read()
            expect("somaxconn" in it.would("network_optimization", "net.core.somaxconn", value="5000"), "a dry run")
            equal(read(), before, "somaxconn after a dry run")
            done = it.done("network_optimization", "net.core.somaxconn", value="5000")
            equal((read(), done["outcome"]["verified"]), ("5000", True), "somaxconn")
            it.taken_back(done)
            equal(read(), before, "somaxconn that was taken back")
            expect("expected" in it.refused("network_optimization", "net.core.somaxconn", value="999999999"), "out of its range")
            expect("[[sysctl]]" in it.refused("performance_tuning", "kernel.core_pattern", value="x"), "one that is not listed")
            it.would("performance_tuning", "vm.swappiness", value="40")
            was = read("kernel/shmmni")
            it.would("performance_tuning", "kernel.shmmni", value="8192")
            equal(read("kernel/shmmni"), was, "shmmni after a dry run")
            done = it.done("performance_tuning", "kernel.shmmni", value="8192")
            equal((read("kernel/shmmni"), done["outcome"]["verified"]), ("8192", True), "shmmni")
            it.taken_back(done)
            equal(read("kernel/shmmni"), was, "shmmni that was taken back")
            # Two that are left: what is set last is taken back first, by the command that removing the package runs.
            it.done("network_optimization", "net.core.somaxconn", value="5000")
            it.done("network_optimization", "net.core.somaxconn", value="6000")
            said, _ = it.agent.command("actions", "rollback", "--all", "--reason", "the package goes")
            equal((said.count("network_optimization"), read()), (2, before), f"rollback --all: {said}")


def files():
    with directory() as where:
        full, logs = where / "full", where / "logs"
        full.mkdir()
        logs.mkdir()
        subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", full], check=True)
        log = logs / "app.log"
        try:
            for name, size in (("a.tmp", 4), ("b.tmp", 4), ("keep.txt", 1)):
                (full / name).write_bytes(b"x" * (size << 20))
            with host(f"""
[allow]
paths = ["{full}", "{logs}"]
[[cleanup]]
name = "scratch"
path = "{full}"
match = ["*.tmp"]
older_than = "0s"
""") as it, running("/usr/bin/python3", "-c", WRITER, log, start_new_session=True) as writer:
                wait_for("the first lines", lambda: log.exists() and log.stat().st_size > 1000)
                would = it.would("cleanup_disk", str(full), free="2MiB", kinds=["scratch"])
                expect(would.count(".tmp") == 1 and "keep" not in would, f"a dry run of cleanup_disk: {would}")
                done = it.done("cleanup_disk", str(full), free="2MiB", kinds=["scratch"])
                equal(done["outcome"].get("verified"), None, "what cleanup_disk has counted is not looked at again")
                gone = {"a.tmp", "b.tmp"} - {one.name for one in full.iterdir()}
                equal(len(gone), 1, f"it stops when there is room enough: {done['outcome']}")
                expect(next(iter(gone)) in would, "what the dry run listed is what went")
                expect((full / "keep.txt").exists(), "what was not to go")

                it.would("rotate_logs", str(log), process=process_of(writer.pid))
                equal(len(list(logs.iterdir())), 1, "files after a dry run")
                for _ in range(2):
                    it.done("rotate_logs", str(log), process=process_of(writer.pid), keep=5, wait="2s", min_size="1")
                writer.terminate()
                writer.wait(60)
                lines = []
                for file in sorted(logs.iterdir(), key=lambda file: (file == log, file.name)):
                    packed = file.suffix == ".zst"
                    lines += subprocess.run(["/usr/bin/zstdcat" if packed else "/bin/cat", file], capture_output=True, text=True,
                                            check=True).stdout.split()
                equal(lines, [str(number) for number in range(len(lines))], "every line once, in its order")
                equal(len(list(logs.iterdir())), 3, "the log and two rotated ones")
        finally:
            subprocess.run(["/bin/umount", "-l", full], check=True)


def databases():
    with directory() as where:
        where.chmod(0o777)
        servers = [redis(where), postgres(where)]
        for server in servers:
            server.start()
        ask = lambda *words: subprocess.run(["/usr/bin/redis-cli", "-s", where / "redis.sock", *words], check=True,  # noqa: E731
                                            capture_output=True, text=True).stdout.strip()
        sql = lambda text: subprocess.run(["/usr/bin/psql", "-h", where / "postgres", "-U", "postgres", "-Atc", text], check=True,  # noqa: E731
                                          capture_output=True, text=True).stdout.strip()
        try:
            ask("SET", "cache:1", "x")
            ask("SET", "session:1", "x")
            sql("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")
            sql("DELETE FROM orders WHERE id > 500")
            with host(f"""
[redis]
host = "{where}/redis.sock"
[postgres]
host = "{where}/postgres"
user = "postgres"
database = "postgres"
[allow]
redis_keys = ["cache:*"]
""") as it:
                it.would("clear_cache", "redis")
                it.done("clear_cache", "redis")
                would = it.would("clear_cache", "redis", what="expire", keys="cache:*", ttl="10m")
                expect("cache:1" in would and ask("TTL", "cache:1") == "-1", f"a dry run of clear_cache: {would}")
                it.done("clear_cache", "redis", what="expire", keys="cache:*", ttl="10m")
                expect(0 < int(ask("TTL", "cache:1")) <= 600, "the time to live of a key")
                equal(ask("TTL", "session:1"), "-1", "the time to live of a key that is none of the cache")
                expect("redis_keys" in it.refused("clear_cache", "redis", what="expire", keys="session:*"), "other keys")

                it.would("optimize_database", "public.orders")
                equal(sql("SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'orders'"), "0", "vacuums after a dry run")
                equal(it.done("optimize_database", "public.orders")["outcome"]["verified"], True, "optimize_database")
                wait_for("the vacuum in the server's statistics", lambda: sql(
                    "SELECT vacuum_count, analyze_count FROM pg_stat_user_tables WHERE relname = 'orders'") == "1|1")
                it.failed("optimize_database", "public.nowhere")
        finally:
            for server in servers:
                server.stop()


def containers():
    with directory() as where, Docker(where) as docker, host(f"""
[docker]
socket = "{docker.socket}"
[guardrails]
max_actions_per_hour_per_target = 1000
max_actions_per_hour = 1000
""") as it:
        for number in (1, 2):
            docker.make(f"shop-web-{number}", compose=("shop", "web", number))
        docker.make("plain")
        started = lambda name: docker.inspect(name)["State"]["StartedAt"]  # noqa: E731
        state = lambda name: docker.inspect(name)["State"]["Status"]  # noqa: E731
        before = started("plain")
        expect("would restart" in it.would("restart_service", "docker:plain"), "the dry run of a restart")
        equal(started("plain"), before, "a container after a dry run")
        equal(it.done("restart_service", "docker:plain")["outcome"]["verified"], True, "a restart")
        expect(started("plain") != before, "it was not restarted")
        it.done("reload_service", "docker:plain")
        stopped = it.done("stop_service", "docker:plain")
        equal(state("plain"), "exited", "a stopped container")
        it.taken_back(stopped)
        equal(state("plain"), "running", "a stop that was taken back")
        it.done("stop_service", "docker:plain", kill=True)
        it.done("start_service", "docker:plain")

        limit = lambda: docker.inspect("plain")["HostConfig"]["Memory"]  # noqa: E731
        it.would("adjust_memory", "docker:plain", memory_max="64MiB")
        equal(limit(), 0, "the limit after a dry run")
        done = it.done("adjust_memory", "docker:plain", memory_max="64MiB")
        equal((limit(), done["outcome"]["verified"]), (64 << 20, True), "the limit")
        second = it.done("adjust_memory", "docker:plain", memory_max="128MiB")
        it.taken_back(second)
        equal(limit(), 64 << 20, "a limit that was taken back")
        tuned = it.done("performance_tuning", "docker:plain", cpu_weight=50)
        equal(docker.inspect("plain")["HostConfig"]["CpuShares"], 512, "CPU shares")
        it.taken_back(tuned)
        equal(docker.inspect("plain")["HostConfig"]["CpuShares"], 1024, "CPU shares that were taken back")

        names = lambda: {name for name in docker.names() if name.startswith("shop-")}  # noqa: E731
        two = {"shop-web-1", "shop-web-2"}
        answer = it.agent.unix("POST", "/operations/services/docker:shop/web/scale", {"replicas": 3, "dry_run": True})
        expect("shop-web-3" in it.ended(answer.json)["outcome"]["would_do"] and names() == two, "the dry run of a scaling")
        scaled = it.ended(it.agent.unix("POST", "/operations/services/docker:shop/web/scale", {"replicas": 3}).json)
        equal((scaled["state"], names()), ("succeeded", two | {"shop-web-3"}), f"a scaling: {scaled['outcome']}")
        it.taken_back(scaled)
        equal(names(), two, "a scaling that was taken back")

        image = lambda: {docker.inspect(name)["Config"]["Image"] for name in two}  # noqa: E731
        it.would("rolling_update", "docker:shop/web", image="shop:2")
        equal(image(), {"shop:1"}, "images after a dry run")
        rolled = it.done("rolling_update", "docker:shop/web", image="shop:2")
        equal((image(), rolled["outcome"]["verified"]), ({"shop:2"}, True), "images")
        events = it.agent.get("/health/events?kind=deploy").json["events"]
        equal([(one["subject"], one["text"], one["time"]) for one in events],
              [("docker:shop/web", f"rolling_update by this agent (action {rolled['id']})", rolled["started"])], "the rollout as a change")
        it.taken_back(rolled)
        newest = it.agent.get("/health/events?kind=deploy").json["events"][0]
        expect(newest["text"].startswith("undo_action by this agent (action "), f"what took it back, as a change: {newest}")
        equal((image(), names()), ({"shop:1"}, two), "a rollout that was taken back")
        it.done("rolling_update", "docker:shop/web", image="shop:2")
        it.done("rollback_deployment", "docker:shop/web")
        equal(image(), {"shop:1"}, "images after rollback_deployment")
        listed = it.agent.command_json("services", "--kind", "docker")["services"]
        expect({"docker:plain", "docker:shop/web"} <= {one["name"] for one in listed}, f"services: {listed}")
        equal(it.agent.command_json("services", "status", "docker:shop/web")["replicas"], 2, "services status")
        old = docker.load_old()
        kept = docker.ask("GET", "/images/json")
        expect(old[7:19] in it.would("prune_docker", "docker", older_than="1h"), "the dry run of prune_docker")
        equal(len(docker.ask("GET", "/images/json")), len(kept), "images after a dry run")
        it.done("prune_docker", "docker", older_than="1h")
        equal({one["Id"] for one in kept} - {one["Id"] for one in docker.ask("GET", "/images/json")}, {old}, "what was pruned")


def killed():
    """kill -9 in the middle of a rollout, and of its undo: the next start leaves whole containers, and ends the action."""
    with directory() as where, Docker(where) as docker, host(f"""
[docker]
socket = "{docker.socket}"
""") as it:
        names = {"shop-web-1", "shop-web-2"}
        for number in (1, 2):
            docker.make(f"shop-web-{number}", compose=("shop", "web", number))
        seen = lambda: sorted((one["Id"], one["Names"][0], one["State"]) for one in docker.ask("GET", "/containers/json?all=true"))  # noqa: E731

        def killed_after(changes, asked):
            equal(asked.status, 202, f"asked for: {asked.body}")
            before = seen()
            end = time.monotonic() + PATIENCE
            look = time.monotonic() + 1
            while changes:
                now = seen()
                changes -= now != before
                before = now
                if time.monotonic() < look:
                    continue
                # A busy machine may not see each change; what has ended by itself has ended well.
                look = time.monotonic() + 1
                one = it.agent.get(f"/operations/actions/{asked.json['id']}").json
                if one["finished"]:
                    equal(one["state"], "succeeded", f"what ended before it was killed: {one['outcome']}")
                    print(f"{one['action_type']} ended with {changes} changes not seen: killed after its end", flush=True)
                    break
                expect(look < end, f"{changes} more changes of the containers were not seen within {PATIENCE:g} s: {one}")
            it.agent.kill()
            it.agent.start()
            ended = it.ended(asked.json)
            there = {one["Names"][0].lstrip("/"): (one["Image"], one["State"]) for one in docker.ask("GET", "/containers/json?all=true")}
            equal(set(there), names, f"containers after {ended['state']}: {ended['outcome']['result']}")
            expect(len(set(there.values())) == 1 and all(state == "running" for _, state in there.values()),
                   f"containers after {ended['state']}, {ended['outcome']['result']}: {there}")
            return ended

        wish = {"action_type": "rolling_update", "target_component": "docker:shop/web", "parameters": {"image": "shop:2"}}
        for changes in (1, 4):
            killed_after(changes, it.agent.unix("POST", "/operations/actions", wish))
            if docker.inspect("shop-web-1")["Config"]["Image"] == "shop:2":
                it.done("rolling_update", "docker:shop/web", image="shop:1")
        for changes in (1, 3):
            rolled = it.done("rolling_update", "docker:shop/web", image="shop:2")
            undone = killed_after(changes, it.agent.unix("POST", f"/operations/actions/{rolled['id']}/rollback", {}))
            equal((undone["state"], docker.inspect("shop-web-2")["Config"]["Image"]), ("succeeded", "shop:1"),
                  f"an undo that was cut off: {undone['outcome']}")


def remedies_on_containers():
    """A container that ends by itself is started again, what it depends on first; one that somebody stops is not; ladders end."""
    with directory() as where, Docker(where) as docker, host(f"""
[docker]
socket = "{docker.socket}"
[guardrails]
cooldown = "1s"
[services]
watch = [{{ name = "docker:app", depends_on = ["docker:db"] }}, "docker:shop/web"]
[[remedy]]
name = "watched"
on = 'service_failed{{kind="docker"}}'
action = "restart_service"
[[alert]]
name = "ContainerDown"
expr = 'docker_container_state{{state="exited", name="web"}} == 1'
severity = "critical"
[[alert]]
name = "ContainerSick"
# Started in vain it may be seen to run for a moment.
expr = 'max_over_time(docker_container_state{{state="exited", name="sick"}}[1m]) == 1'
severity = "critical"
[[remedy]]
name = "start-web"
on = 'ContainerDown{{name="web"}}'
action = "restart_service"
target = "docker:${{name}}"
verify = {{ expr = 'docker_container_state{{name="web", state="running"}} == 1', within = "30s" }}
[[remedy]]
name = "ladder"
on = "ContainerSick"
action = "composite"
target = "docker:sick"
max_attempts = 1
steps = [{{ action = "start_service" }}, {{ action = "restart_service" }},
         {{ action = "notify", parameters = {{ message = "${{name}} does not come up" }} }}]
""") as it:
        def ended(remedy):
            return [one for one in it.agent.command_json("actions")["history"] if one["remedy"] == remedy and one["finished"]]
        state = lambda name: docker.inspect(name)["State"]["Status"]  # noqa: E731
        listed = lambda name: {one["name"]: one for one in it.agent.command_json("services", "--kind", "docker")["services"]}.get(name, {})  # noqa: E731
        seen = lambda name: listed(name).get("state")  # noqa: E731
        for name, compose in (("app", None), ("db", None), ("shop-web-1", ("shop", "web", 1)), ("shop-web-2", ("shop", "web", 2))):
            docker.make(name, compose=compose)
        wait_for("both to be seen", lambda: {seen("docker:app"), seen("docker:shop/web")} == {"active"})
        known = lambda name: [listed(name).get(key) for key in ("watched", "condition", "replicas")]  # noqa: E731
        wait_for("what is listed of watched services", lambda: (known("docker:app"), known("docker:shop/web")) == ([True, "up", None], [True, "up", 2]))

        # Behind the engine's back: that is a failure. What it depends on was stopped by somebody, so that it has to wait for that.
        docker.ask("POST", "/containers/db/kill")
        os.kill(docker.inspect("app")["State"]["Pid"], signal.SIGKILL)
        def held():
            return [one for one in it.agent.get("/operations/actions?decisions=1").json["decisions"] if one["target"] == "docker:app" and one["reason_code"] == "dependency"
                    and "docker:db, which is exited" in one["reason"]]
        wait_for("the remedy to wait for the other container, which is exited", held)
        equal((state("app"), ended("watched")), ("exited", []), "what waits for another")
        docker.ask("POST", "/containers/db/start")
        mended = wait_for("the remedy of a watched container", lambda: ended("watched"))[0]
        equal((mended["target_component"], mended["state"], state("app")), ("docker:app", "succeeded", "running"), f"{mended['outcome']}")

        # A service of Compose is up while one of its containers is; stopped by somebody it is no failure.
        os.kill(docker.inspect("shop-web-1")["State"]["Pid"], signal.SIGKILL)
        wait_for("the engine to know it", lambda: state("shop-web-1") == "exited")  # the last to end says who wanted it
        docker.ask("POST", "/containers/shop-web-2/kill")
        wait_for("the service of Compose to be seen down", lambda: seen("docker:shop/web") != "active")
        docker.ask("POST", "/containers/shop-web-2/start")
        wait_for("the service of Compose to be seen up", lambda: seen("docker:shop/web") == "active")
        equal(len(ended("watched")), 1, "actions about what somebody stopped")
        # One that somebody stopped before does not hide that the other one crashes.
        docker.ask("POST", "/containers/shop-web-1/start")
        docker.ask("POST", "/containers/shop-web-1/kill")
        os.kill(docker.inspect("shop-web-2")["State"]["Pid"], signal.SIGKILL)
        mended = wait_for("the remedy of a service of Compose", lambda: [one for one in ended("watched") if "shop" in one["target_component"]])[0]
        equal((mended["state"], state("shop-web-2")), ("succeeded", "running"), f"{mended['outcome']}")

        docker.make("web")
        docker.make("sick", command="exit 3")
        docker.ask("POST", "/containers/web/kill")
        mended = wait_for("the remedy of a container that ended", lambda: ended("start-web"))[0]
        equal((mended["state"], mended["outcome"]["verified"], state("web")), ("succeeded", True, "running"), f"the remedy: {mended['outcome']}")
        expect(mended["cause"]["finding"].startswith("ContainerDown"), f"its cause: {mended['cause']}")
        climbed = wait_for("the end of the ladder", lambda: [one for one in ended("ladder") if one["action_type"] == "composite"])[0]
        steps = [one["action_type"] for one in reversed(ended("ladder")) if one["action_type"] != "composite"]
        equal(steps, ["start_service", "restart_service", "notify"], f"its steps: {climbed}")
        wait_for("what it told people", lambda: "sick does not come up" in it.agent.log)


if __name__ == "__main__":
    run_tests([("containers", containers)],  # they take their time, and need little of the machine's: half of it is waiting
              [("described", described), ("processes and commands", processes_and_commands), ("kernel parameters", kernel_parameters),
               ("files", files), ("databases", databases), ("killed", killed), ("remedies on containers", remedies_on_containers)])
