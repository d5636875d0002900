"""Runs a real nexus-agent on temporary directories and talks to it; for the scripts of this directory.

Everything a script starts is ended by its process id when the `with` block ends. Waiting is on a condition, with a limit
that is generous because test machines are busy.
"""
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

_TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_TESTS / "testbed"), str(_TESTS / "doubles" / "receivers")]  # the second for the scripts that import this one
from ports import closed_port, free_port  # noqa: E402, F401  (for the scripts that import this one)

# `nohup ./test` has every process below it ignore SIGHUP, and a shell cannot trap what it ignores from its start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Seconds until something that has to happen is said not to have happened; a sanitizer's build needs more.
PATIENCE = float(os.environ.get("NEXUS_TEST_PATIENCE", "60"))

# What set_values() writes below `directory` is seen at once, and nothing but rules and vitals finds anything.
BASE = """
[collect]
interval = "200ms"
[collect.textfile]
interval = "200ms"
directory = "WHERE"
[operations]
check_interval = "200ms"
[forecast]
enabled = false
[anomaly]
enabled = false
"""


def set_values(directory, values):
    """From now on these are `test_value{name="..."}`, and no others."""
    temporary = directory / "test.tmp"
    temporary.write_text("".join(f'test_value{{name="{name}"}} {value}\n' for name, value in values.items()))
    os.rename(temporary, directory / "test.prom")


class Failure(AssertionError):
    pass


def expect(condition, message):
    if not condition:
        raise Failure(message)


def equal(got, expected, what):
    expect(got == expected, f"{what}: expected {expected!r}, got {got!r}")


def wait_for(what, probe, patience=PATIENCE):
    """The first true result of probe()."""
    deadline = time.monotonic() + patience
    while True:
        result = probe()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(f"{what} did not happen within {patience:g} s")
        time.sleep(0.05)


def alive(pid):
    """A process of this id that is no zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read().decode()

    @property
    def json(self):
        return json.loads(self.body)


def request(connection, method, path, body=None, headers=None):
    headers = dict(headers or {})
    if body is not None and not isinstance(body, (str, bytes)):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        return Answer(connection.getresponse())


class Agent:
    """One agent process; its configuration, data and socket lie in `directory` and outlive it."""

    def __init__(self, binary, directory, config="", name="agent"):
        self.binary = str(binary)
        self.directory = pathlib.Path(directory)
        self.file = self.directory / f"{name}.toml"
        self.data = self.directory / f"{name}-data"
        self.socket = self.directory / f"{name}.sock"
        self.listen = ["127.0.0.1:0", f"unix:{self.socket}"]
        self.process = None
        self.lines = []
        self.environment = {key: value for key, value in os.environ.items()
                            if key in ("PATH", "LANG", "HOME", "TMPDIR") or key.endswith("SAN_OPTIONS")}
        self.configure(config)

    def configure(self, extra):
        self.file.write_text(f'[agent]\ndata_dir = "{self.data}"\n[http]\nlisten = {json.dumps(self.listen)}\n{extra}\n')

    def start(self, wait=True):
        self.lines = []
        self.process = subprocess.Popen([self.binary, "run", "--config", str(self.file)], stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, text=True, env=self.environment)
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        if wait:
            self.wait_ready()
        return self

    def _read(self, stream):
        for line in stream:
            self.lines.append(line.rstrip("\n"))

    @property
    def log(self):
        return "\n".join(self.lines)

    def wait_ready(self):
        def ready():
            expect(self.process.poll() is None, f"the agent ended with {self.process.poll()}:\n{self.log}")
            match = re.search(r"listening on .*?127\.0\.0\.1:(\d+)", self.log)
            if not match:
                return False
            self.port = int(match[1])
            return self.get("/-/ready").status == 200
        wait_for("the agent being ready", ready)

    def refused(self):
        """For a start that must fail: (exit code, what it said)."""
        self.start(wait=False)
        code = self.process.wait(PATIENCE)
        self._reader.join()
        return code, self.log

    def tcp(self, method, path, body=None, headers=None):
        return request(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE), method, path, body, headers)

    def unix(self, method, path, body=None, headers=None):
        return request(_UnixConnection(self.socket), method, path, body, headers)

    def get(self, path):
        return self.unix("GET", path)

    def metric(self, name):
        """The sum of a metric's series in /metrics, or None when there is none."""
        values = [float(line.rsplit(" ", 1)[1]) for line in self.get("/metrics").body.splitlines()
                  if re.match(re.escape(name) + r"[{ ]", line)]
        return sum(values) if values else None

    def query(self, expression, **parameters):
        answer = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": expression, **parameters}))
        equal(answer.status, 200, f"status of the query {expression}: {answer.body}")
        return answer.json["data"]["result"]

    def command(self, *words, code=0):
        """Runs the command line against this agent; (standard output, standard error). `code` None: any exit code."""
        ran = subprocess.run([self.binary, "--socket", str(self.socket), *map(str, words)], capture_output=True, text=True,
                             timeout=PATIENCE, env=self.environment)
        if code is not None:
            equal(ran.returncode, code, f"exit code of `nexus-agent {' '.join(map(str, words))}` ({ran.stderr.strip()})")
        return ran.stdout, ran.stderr

    def command_json(self, *words, code=0):
        return json.loads(self.command("--output", "json", *words, code=code)[0])

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """SIGTERM; the seconds it took. Exit status 0 is expected."""
        begun = time.monotonic()
        self.signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self._reader.join()
        equal(code, 0, f"exit code after SIGTERM\n{self.log[-2000:]}")
        return time.monotonic() - begun

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        self._reader.join()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()


@contextlib.contextmanager
def directory():
    with tempfile.TemporaryDirectory(prefix="nexus-test-") as path:
        yield pathlib.Path(path)


def run_tests(*lists):
    """Runs lists of (name, function) pairs, several lists beside each other; prints one line a pair; exit code 1 when one failed."""
    with concurrent.futures.ThreadPoolExecutor(len(lists)) as pool:
        raise SystemExit(1 if sum(pool.map(_run_list, lists)) else 0)


def _run_list(tests):
    failed = 0
    for name, test in tests:
        begun = time.monotonic()
        try:
            test()
            verdict = "ok"
        except (Failure, OSError, subprocess.SubprocessError, KeyError, ValueError, http.client.HTTPException) as failure:
            failed += 1
            verdict = f"FAILED: {type(failure).__name__}: {failure}"
        print(f"{name}: {verdict} ({time.monotonic() - begun:.1f} s)", flush=True)
    return failed
