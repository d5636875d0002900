"""The scenarios of routes beside Alertmanager: the same configuration and the same alerts lead to the same notifications.

    alertmanager.py SCENARIOS

publish_test runs them on the test clock; here Debian's Alertmanager runs those that have an `alertmanager` part, in real time,
all of them side by side, each with one of its own. What is compared is what each step leads to: receivers, groups, and the
alerts in them. No time is compared: a step ends when everything expected has come and every group was looked at once more.
"""
import collections
import concurrent.futures
import contextlib
import datetime
import http.server
import json
import pathlib
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "agent"))
from harness import Failure, directory, equal, expect, free_port, run_tests, wait_for  # noqa: E402
import http.client  # noqa: E402

SCENARIOS = pathlib.Path(sys.argv[1])
LOOK = 2.0  # group_interval of the scenarios, and a moment more
ONLY_OURS = {"advance", "clock_back", "restart", "forget"}


class Scenario:
    def __init__(self, path):
        self.name = path.stem
        self.receivers, self.silent, self.yaml, self.steps = [], set(), "", []
        part = ""
        for line in path.read_text().splitlines():
            words = line.split()
            if line in ("config", "alertmanager"):
                part = line
            elif line == "end":
                part = ""
            elif part == "alertmanager":
                self.yaml += line + "\n"
            elif part or not words or words[0].startswith("#"):
                continue
            elif words[0] == "receivers":
                self.receivers = words[1:]
            elif words[0] == "resolved":
                self.silent.add(words[1])
            elif words[0] == ">":
                self.steps[-1][1].append(line[2:])
            else:
                self.steps.append((words, []))


def shown(labels):
    return "{%s}" % ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(labels.items()))


class Hook(http.server.ThreadingHTTPServer):
    """Takes what Alertmanager sends, after a look at its shape."""
    daemon_threads = True

    def __init__(self):
        self.told = []
        self.lock = threading.Lock()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                alerts = sorted(("-" if a["status"] == "resolved" else "+") + a["labels"]["id"] for a in body["alerts"])
                line = " ".join([self.path[1:], shown(body["groupLabels"]), *alerts])
                with hook.lock:
                    hook.told.append(line)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self):
        with self.lock:
            out, self.told = self.told, []
        return out


class Alertmanager:
    def __init__(self, scenario, where, hook):
        self.port = free_port()
        receivers = ""
        names = sorted({*scenario.receivers} | {word for line in scenario.yaml.splitlines() for word in line.split() if "+" in word})
        for name in names:
            receivers += f"- name: {name}\n  webhook_configs:\n"
            for one in name.split("+"):
                receivers += (f"  - url: http://127.0.0.1:{hook.server_port}/{one}\n"
                              f"    send_resolved: {'false' if one in scenario.silent else 'true'}\n")
        (where / "alertmanager.yml").write_text(f"global: {{resolve_timeout: 1h}}\n{scenario.yaml}receivers:\n{receivers}")
        self.log = open(where / "log", "wb")
        self.process = subprocess.Popen(
            [shutil.which("prometheus-alertmanager"), f"--config.file={where}/alertmanager.yml", f"--storage.path={where}/data",
             "--cluster.listen-address=", f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        self.where = where

    def __enter__(self):
        def ready():
            expect(self.process.poll() is None, f"Alertmanager ended: {(self.where / 'log').read_text()}")
            with contextlib.suppress(OSError):
                return self.call("GET", "/-/ready")[0] == 200
        wait_for("Alertmanager being ready", ready)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def call(self, method, path, body=None):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def post(self, path, body):
        status, text = self.call("POST", path, body)
        equal(status, 200, f"POST {path} {body}: {text}")
        return text


def moment(seconds=0):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).isoformat()


def matchers_of(text):
    """{a="b",c=~"d"}, as the scenarios write them."""
    out = []
    for part in text.strip("{}").split(","):
        name, op, value = next((part.split(op, 1)[0], op, part.split(op, 1)[1]) for op in ("=~", "!~", "!=", "=") if op in part)
        out.append({"name": name, "value": value.strip('"'), "isRegex": "~" in op, "isEqual": not op.startswith("!")})
    return out


def run(scenario):
    hook = Hook()
    labels, silences, pending = {}, {}, []
    with directory() as where, Alertmanager(scenario, pathlib.Path(where), hook) as manager:
        for number, (words, expected) in enumerate(scenario.steps):
            what = f"{scenario.name}, step {number + 1}, {' '.join(words)}"
            if words[0] == "fire":
                labels[words[1]] = {"id": words[1], **dict(word.split("=", 1) for word in words[2:])}
                pending.append({"labels": labels[words[1]]})
            elif words[0] == "resolve":
                pending.append({"labels": labels[words[1]], "endsAt": moment(-0.001)})
            elif words[0] == "silence":
                answer = manager.post("/api/v2/silences", {
                    "matchers": matchers_of(words[2]), "startsAt": moment(), "endsAt": moment(3600), "createdBy": "test",
                    "comment": "test"})
                silences[words[1]] = json.loads(answer)["silenceID"]
            elif words[0] == "expire":
                status, text = manager.call("DELETE", "/api/v2/silence/" + silences[words[1]])
                equal(status, 200, text)
            else:
                equal(words, ["settle"], what)
                if pending:
                    manager.post("/api/v2/alerts", pending)
                pending = []
                told = []

                def all_came():
                    told.extend(hook.take())
                    return not collections.Counter(expected) - collections.Counter(told)
                try:
                    wait_for("everything", all_came)
                except Failure:
                    raise Failure(f"{what}: expected {sorted(expected)}, got {sorted(told)}") from None
                time.sleep(LOOK * 1.5 if expected else LOOK * 2.5)
                told.extend(hook.take())
                equal(sorted(told), sorted(expected), what)
    hook.shutdown()


def all_scenarios():
    scenarios = [Scenario(path) for path in sorted(SCENARIOS.glob("*.txt"))]
    scenarios = [one for one in scenarios if one.yaml]
    expect(len(scenarios) >= 7, f"only {len(scenarios)} scenarios have a part for Alertmanager")
    for one in scenarios:
        expect(not ONLY_OURS & {words[0] for words, _ in one.steps}, f"{one.name}: a step that Alertmanager has no clock for")
    with concurrent.futures.ThreadPoolExecutor(len(scenarios)) as pool:
        for done in [pool.submit(run, one) for one in scenarios]:
            done.result()


run_tests((("Alertmanager tells the same", all_scenarios),))
