"""A machine to test on: boots a throw-away copy of the cached Debian root (root.sh) with systemd-nspawn.

    with Machine(root, binds={"/host/program": "/opt/program"}) as machine:
        machine.run(["systemctl", "start", "web.service"])

Everything that a test changes is gone with the machine. The root is seen through an overlay that is mounted in a mount
namespace of the machine's own, or is copied where overlays do not work. systemd-nspawn is the first process of a pid
namespace, so killing it ends all of the machine; the kernel does that (PR_SET_PDEATHSIG) when this process dies, however
it dies. The mounts go with it; what it leaves is one folder, which the next machine sweeps.

Needs root rights, systemd-container and util-linux. /usr/bin/python3, standard library only.
"""

import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

BOOT_LIMIT = 120  # seconds; takes about 5
POWEROFF_LIMIT = 60
RUN_LIMIT = 120
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "",
    "NEXUS_TESTBED": "1",  # tests that change the system they run on ask for it
}
SIGRTMIN_POWEROFF = signal.SIGRTMIN + 4  # systemd(1): starts poweroff.target


class MachineError(Exception):
    """The machine could not do what a test asked; the message says what and shows its output."""


@dataclass
class Response:
    """An answer over HTTP."""

    status: int
    body: str

    def json(self):
        return json.loads(self.body)


class Machine:
    """One booted machine; a context manager. Not for several threads, except run(), popen() and http()."""

    _count = 0

    def __init__(self, root, *, binds=None, binds_rw=None, environment=None):
        """`binds`, `binds_rw`: {path here: path there}, read-only and writable. `environment`: added for run()."""
        Machine._count += 1
        self.root = Path(root).resolve()
        self.name = f"nexus-{os.getpid()}-{Machine._count}"
        self.folder = self.root.parent / "machines" / self.name
        self.binds = binds or {}
        self.binds_rw = binds_rw or {}
        self.environment = {**ENVIRONMENT, **(environment or {})}
        self.process = None
        self.init = None

    # Life

    def __enter__(self):
        try:
            return self.boot()
        except BaseException:
            self.destroy()
            raise

    def __exit__(self, kind, _value, _trace):
        if kind is not None and self.init is not None:
            self._show_journal()
        self.destroy()

    def boot(self):
        """Starts it and waits until systemd says that it is running; what was written before a poweroff() is there."""
        if os.geteuid() != 0:
            raise MachineError("a machine needs root rights")
        _sweep(self.folder.parent)
        self._prepare()
        console = open(self.folder / "console.log", "ab")
        with console:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--fork",
                 "--kill-child", "--mount-proc", "sh", "-ec", self._script()],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)
        self.init = self._await("the init process", BOOT_LIMIT, self._find_init)
        state = self._await("systemd", BOOT_LIMIT, self._system_state)
        if state != "running":
            failed = self.run(["systemctl", "--failed", "--no-legend"], check=False).stdout
            raise MachineError(f"the machine booted into state {state}:\n{failed}")
        return self

    def poweroff(self):
        """Shuts it down in order; boot() starts it again with the same disk."""
        os.kill(self.init, SIGRTMIN_POWEROFF)
        try:
            self.process.wait(POWEROFF_LIMIT)
        except subprocess.TimeoutExpired:
            self._kill()
            raise MachineError(f"no poweroff within {POWEROFF_LIMIT} s:\n{self._console()}") from None
        self._forget()

    def crash(self):
        """As if the power had failed; boot() starts it again with the same disk."""
        self._kill()

    def destroy(self):
        """Kills it and removes what it wrote. Never raises for a machine that is gone already."""
        self._kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Work

    def command(self, argv):
        """The argument list that runs `argv` in it, for those who start the process themselves."""
        return ["nsenter", "--target", str(self.init), "--all", "--root", "--wdns=/", "--", *map(str, argv)]

    def run(self, argv, *, check=True, timeout=RUN_LIMIT, stdin="", text=True):
        """Runs a program to its end. With `check` an exit code other than 0 raises, and shows all output."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            done = subprocess.run(self.command(argv), input=data, capture_output=True, timeout=timeout, check=False,
                                  env=self.environment)
        except subprocess.TimeoutExpired as expired:
            output = (expired.stdout or b"") + (expired.stderr or b"")
            raise MachineError(f"{shlex.join(map(str, argv))}: not done within {timeout} s; output:\n"
                               f"{output.decode(errors='replace')}") from None
        if text:
            done.stdout = done.stdout.decode(errors="replace")
            done.stderr = done.stderr.decode(errors="replace")
        if check and done.returncode != 0:
            raise MachineError(f"{shlex.join(map(str, argv))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def popen(self, argv, **options):
        """Starts a program. It ends with the machine, or by its own pid in there."""
        return subprocess.Popen(self.command(argv), env=self.environment, **options)

    def sh(self, script, **options):
        """Runs a shell script and returns its standard output."""
        return self.run(["sh", "-ec", script], **options).stdout

    def write_file(self, path, content, mode=0o644):
        """Writes text or bytes; folders on the way are made."""
        quoted = shlex.quote(str(path))
        self.run(["sh", "-ec", f'mkdir -p "$(dirname {quoted})"; cat > {quoted}; chmod {mode:o} {quoted}'], stdin=content)

    def read_file(self, path, text=True):
        return self.run(["cat", "--", path], text=text).stdout

    def exists(self, path):
        return self.run(["test", "-e", path], check=False).returncode == 0

    def copy_in(self, source, path, mode=0o644):
        """Copies a file of this host into it."""
        self.write_file(path, Path(source).read_bytes(), mode)

    def install_deb(self, package):
        """Installs a package file. Its dependencies must be in the root: the machine has no network."""
        path = f"/var/tmp/{Path(package).name}"
        self.copy_in(package, path)
        self.run(["apt-get", "install", "-y", "--no-install-recommends", path], timeout=300)

    def http(self, method, path, *, unix="/run/nexus-agent/agent.sock", url="http://localhost", body=None, headers=None,
             timeout=30):
        """One request from inside by curl: over the socket `unix`, or over TCP to `url` when `unix` is None."""
        argv = ["curl", "--silent", "--show-error", "--request", method, "--max-time", str(timeout),
                "--write-out", "\n%{http_code}"]
        if unix is not None:
            argv += ["--unix-socket", unix]
        for name, value in (headers or {}).items():
            argv += ["--header", f"{name}: {value}"]
        data = ""
        if body is not None:
            data = body if isinstance(body, (str, bytes)) else json.dumps(body)
            argv += ["--data-binary", "@-"]
            if "content-type" not in {name.lower() for name in headers or {}}:
                argv += ["--header", "Content-Type: application/json"]
        answer = self.run([*argv, url + path], stdin=data, timeout=timeout + 10).stdout
        text, _, status = answer.rpartition("\n")
        return Response(int(status), text)

    def wait_for(self, what, condition, timeout=60):
        """Calls `condition` until it returns something true, which is returned; raises and names `what` after that."""
        return self._await(what, timeout, condition)

    def journal(self, unit=None, lines=200):
        """The end of the journal, of one unit or of all."""
        only = ["--unit", unit] if unit else []
        return self.run(["journalctl", "--no-pager", "--lines", str(lines), *only], check=False).stdout

    # Inside

    def _prepare(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        for part in ("upper", "work", "tree"):
            (self.folder / part).mkdir(exist_ok=True)

    def _script(self):
        quote = shlex.quote
        tree = quote(str(self.folder / "tree"))
        overlay = quote(f"lowerdir={self.root},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}")
        # An overlay cannot be made on every file system (another overlay, for one): copy the root then.
        mount = (f"test -e {tree}/etc || mount -t overlay overlay -o {overlay} {tree} || "
                 f"cp -a --reflink=auto {quote(str(self.root))}/. {tree}/")
        nspawn = ["systemd-nspawn", "--directory", str(self.folder / "tree"), "--machine", self.name, "--boot",
                  "--register=no", "--keep-unit", "--private-network", "--resolv-conf=off", "--timezone=off",
                  "--link-journal=no"]
        nspawn += [f"--bind-ro={here}:{there}" for here, there in self.binds.items()]
        nspawn += [f"--bind={here}:{there}" for here, there in self.binds_rw.items()]
        return f"{mount}\nexec {shlex.join(nspawn)}"

    def _find_init(self):
        """The process that is pid 1 in there and has become systemd."""
        if self.process.poll() is not None:
            raise MachineError(f"systemd-nspawn ended with {self.process.returncode}:\n{self._console()}")
        for nspawn in _children(self.process.pid):
            for child in _children(nspawn):
                try:
                    status = Path(f"/proc/{child}/status").read_text(encoding="utf-8").splitlines()
                except OSError:
                    continue
                values = dict(line.split(":\t", 1) for line in status if ":\t" in line)
                if values["Name"] == "systemd" and values["NSpid"].split()[2:] == ["1"]:
                    return child
        return None

    def _system_state(self):
        state = self.run(["systemctl", "is-system-running", "--wait"], check=False).stdout.strip()
        return state if state in ("running", "degraded", "maintenance") else None

    def _await(self, what, limit, condition):
        end = time.monotonic() + limit
        while True:
            result = condition()
            if result:
                return result
            if self.process.poll() is not None:
                raise MachineError(f"the machine ended while waiting for {what}:\n{self._console()}")
            if time.monotonic() > end:
                raise MachineError(f"waited {limit} s for {what} in vain")
            time.sleep(0.02)

    def _kill(self):
        if self.process is None:
            return
        nspawn = _children(self.process.pid)
        for pid in nspawn:  # pid 1 of its namespace: all in it are killed, and unshare reaps it and ends
            os.kill(pid, signal.SIGKILL)
        if not nspawn:
            self.process.kill()  # not come so far
        self.process.wait()
        if self.init is not None:
            _wait_until_gone(self.init)
        self._forget()

    def _forget(self):
        self.process = None
        self.init = None

    def _console(self, lines=40):
        try:
            text = (self.folder / "console.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "(no console)"
        return "\n".join(text.splitlines()[-lines:])

    def _show_journal(self):
        try:
            print(f"--- journal of {self.name}\n{self.journal(lines=100)}---", file=sys.stderr)
        except (MachineError, OSError) as error:
            print(f"--- no journal of {self.name}: {error}", file=sys.stderr)


def _children(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []


def _wait_until_gone(pid):
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([handle], [], [], 30)
    finally:
        os.close(handle)


def _sweep(folder):
    """Removes what machines of processes that are gone have left."""
    for left in folder.glob("nexus-*-*"):
        owner = left.name.split("-")[1]
        if not Path(f"/proc/{owner}").exists():
            shutil.rmtree(left, ignore_errors=True)
