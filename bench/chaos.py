#!/usr/bin/python3
"""Injects faults into a booted machine and measures whether, and how soon, the agent mends them.

    bench/chaos.py ROOT NEXUS_AGENT [FAULTS]      # ROOT as tests/testbed/root.sh makes it; as root; not a part of ./test

Faults: services that are killed (SIGKILL), that hang (their watchdog of systemd ends them), whose health endpoint hangs while
they run on, that eat memory until they run into a limit (of their addresses: LimitAS=; of the memory itself, which the kernel's
killer enforces), that take so much that what they read from files does not stay (memory pressure, as the kernel tells it; nothing
ends them), and a file system that fills up. The two limits of real memory are a memory control group made here, from outside, for
systemd in a container has none on a host with the old hierarchy; without it these faults are left out, which is said.
What an expression says, and takes back, more than twice an hour is flapping, and rightly left alone by remedies: each fault of an
endpoint or a file system has one of its own, and the pressure of the one machine comes twice in a run.
Afterwards the journal of actions is looked through for violations (an action on what no remedy names, two at once on one target,
more at once than max_targets_at_once), and held against the faults: how many of each target there were, and how many actions.
Standard library of /usr/bin/python3 only.
"""

import contextlib
import os
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "testbed"))
from nspawn import Machine  # noqa: E402

KILLED = [f"killed{i}" for i in range(6)]
ENDPOINTS = range(8100, 8120)  # ports; unit web@PORT
FULL = [f"/run/chaos{i}" for i in range(10)]
PRESSURE_TURNS = (6, 66)
CONFIG = """
[services]
watch = [%s]

[guardrails]
cooldown = "0s"
max_attempts = 100000
max_actions_per_hour = 100000
max_actions_per_hour_per_target = 100000
max_targets_at_once = 3

[[remedy]]
name = "restart"
on = "service_failed"
action = "restart_service"

[[command]]
name = "clean"
argv = ["/bin/rm", "-f", %s]

[[alert]]
name = "ChaosFull"
expr = '(1 - node_filesystem_avail_bytes{mountpoint=~"/run/chaos.*"} / node_filesystem_size_bytes) > 0.9'

[[remedy]]
name = "clean"
on = "ChaosFull"
action = "run_command"
target = "clean"

[collect.filesystem]
interval = "1s"

[collect.pressure]
interval = "1s"

[[alert]]
name = "ChaosPressure"
expr = 'rate(node_pressure_memory_waiting_seconds_total[5s]) > 0.02'

[[remedy]]
name = "pressure"
on = "ChaosPressure"
action = "restart_service"
target = "thrash.service"
verify = { expr = 'rate(node_pressure_memory_waiting_seconds_total[5s]) < 0.02', within = "20s" }
""" % (", ".join(f'"{name}.service"' for name in [*KILLED, "hung", "hog", "eater", "thrash"]),
       ", ".join(f'"{path}/fill"' for path in FULL))
for port in ENDPOINTS:
    CONFIG += f"""
[[probe]]
name = "web{port}"
kind = "http"
targets = ["http://127.0.0.1:{port}/"]
interval = "1s"
timeout = "500ms"

[[alert]]
name = "ChaosWeb{port}Hangs"
expr = 'probe_success{{instance="http://127.0.0.1:{port}/"}} == 0'

[[remedy]]
name = "web{port}"
on = "ChaosWeb{port}Hangs"
action = "restart_service"
target = "web@{port}.service"
verify = {{ expr = 'probe_success{{instance="http://127.0.0.1:{port}/"}}', within = "10s" }}
"""

PLAIN = "[Service]\nExecStart=/bin/sleep infinity\n"
HUNG = """[Service]
Type=notify
NotifyAccess=all
WatchdogSec=1
ExecStart=/bin/sh -c 'systemd-notify --ready; while ! test -e /run/hang; do systemd-notify WATCHDOG=1; sleep 0.2; done; rm /run/hang; exec sleep infinity'
"""
HOG = """[Service]
LimitAS=64M
ExecStart=/bin/sh -c 'while ! test -e /run/hog; do sleep 0.05; done; rm /run/hog; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done'
"""
EATER = """[Service]
ExecStart=/bin/sh -c 'while ! test -e /run/eat; do sleep 0.05; done; rm /run/eat; exec perl -e "push @a, q(x) x 1048576 while 1"'
"""
THRASH = """[Service]
ExecStart=/bin/sh -c 'while ! test -e /run/thrash; do sleep 0.05; done; rm /run/thrash; exec perl /opt/thrash.pl'
"""
# Holds most of its limit, and reads what the rest has no room for, again and again.
THRASH_PROGRAM = """my @kept;
push @kept, "x" x 65536 for 1 .. 720;
open(my $file, "+>", "/var/tmp/thrash") or die;
syswrite $file, "x" x 1048576 for 1 .. 60;
fork for 1 .. 2;
while (1) { sysseek $file, 0, 0; 1 while sysread $file, my $part, 1 << 16; }
"""
WEB = """[Service]
ExecStart=/usr/bin/perl /opt/web.pl %i
"""
# Answers, until it is told to hang: then it takes connections and says nothing, and runs on.
WEB_PROGRAM = """use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $ARGV[0], Listen => 50, ReuseAddr => 1) or die;
my @kept;
while (my $client = $server->accept) {
  if (unlink("/run/hang$ARGV[0]") || @kept) { push @kept, $client; next; }
  <$client>; print $client "HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"; close $client;
}
"""
LIMIT = 60  # seconds; what is not mended by then was not


@contextlib.contextmanager
def memory_group():
    """A control group with 64 MiB of real memory; None where the host has no controller of the old hierarchy."""
    group = Path("/sys/fs/cgroup/memory") / f"nexus-chaos-{os.getpid()}"
    if not group.parent.is_dir():
        yield None
        return
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(64 << 20))
        yield group
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


class Chaos:
    def __init__(self, machine, group):
        self.machine, self.group = machine, group
        self.took = {"killed": [], "hung": [], "endpoint": [], "hog": [], "eater": [], "thrash": [], "full": []}
        self.faults = Counter()  # by the target of the action that each is to lead to
        self.pressure = []  # seconds that somebody waited for memory, a fault
        self.lost = []

    def state(self, units):
        """{unit: (state, monotonic microseconds of the end, of the last start)}"""
        names = [f"{unit}.service" for unit in units]
        text = self.machine.run(["systemctl", "show", "-p", "Id,ActiveState,InactiveEnterTimestampMonotonic,"
                                 "ActiveEnterTimestampMonotonic", *names]).stdout
        out = {}
        for block in text.strip().split("\n\n"):
            values = dict(line.split("=", 1) for line in block.splitlines())
            out[values["Id"].removesuffix(".service")] = (
                values["ActiveState"], int(values["InactiveEnterTimestampMonotonic"]),
                int(values["ActiveEnterTimestampMonotonic"]))
        return out

    def calm(self):
        status = self.machine.http("GET", "/operations/status").json()
        return status["in_progress_actions"] + status["queue_size"] == 0

    def services(self, units, inject, kind_of):
        before = self.state(units)
        self.machine.sh(inject)
        self.faults.update(f"{unit}.service" for unit in units)
        left = set(units)
        end = time.monotonic() + LIMIT
        while left and time.monotonic() < end:
            for unit, (state, ended, started) in self.state(sorted(left)).items():
                if state == "active" and started > before[unit][2] and started >= ended:
                    # From the end of the old run to the new one: what its users see.
                    self.took[kind_of(unit)].append((started - ended) / 1e6)
                    left.discard(unit)
        self.lost += sorted(left)

    def limit(self, unit):
        """The unit's main process gets a limit of 64 MiB of real memory."""
        pid = self.machine.run(["systemctl", "show", "--value", "-p", "MainPID", unit]).stdout.strip()
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                ids = next((line.split()[1:] for line in status.read_text().splitlines() if line.startswith("NSpid:")), [])
                same = len(ids) > 1 and ids[-1] == pid and os.readlink(f"/proc/{ids[0]}/ns/pid") == os.readlink(
                    f"/proc/{self.machine.init}/ns/pid")
                if same:
                    (self.group / "cgroup.procs").write_text(ids[0])
                    return
        raise RuntimeError(f"the main process of {unit}, {pid}, is not to be found")

    def eat(self):
        """The kernel kills the eater."""
        self.limit("eater")
        killed = self.kills()
        self.services(["eater"], "touch /run/eat", lambda unit: unit)
        if self.kills() == killed:
            raise RuntimeError("the kernel has killed nobody: the eater ended for another reason")

    def kills(self):
        control = (self.group / "memory.oom_control").read_text().split()
        return int(control[control.index("oom_kill") + 1])

    def waited(self):
        """Seconds since the start in which somebody waited for memory."""
        return int(Path("/proc/pressure/memory").read_text().split("total=")[1].split()[0]) / 1e6

    def thrash(self):
        """Nothing ends it (but the kernel may in the end): what is seen is that the machine waits for memory."""
        self.limit("thrash")
        before, begun = self.waited(), time.monotonic()
        start = self.state(["thrash"])["thrash"][2]
        self.faults["thrash.service"] += 1
        self.machine.sh("touch /run/thrash")
        while self.state(["thrash"])["thrash"][2] == start:
            if time.monotonic() > begun + LIMIT:
                self.lost.append("thrash")
                return
            time.sleep(0.05)
        self.took["thrash"].append(time.monotonic() - begun)
        self.pressure.append(self.waited() - before)

    def endpoint(self):
        begun = time.monotonic()
        port = ENDPOINTS[len(self.took["endpoint"]) + self.lost.count("endpoint")]
        unit = f"web@{port}"
        self.faults[f"{unit}.service"] += 1
        start = self.state([unit])[unit][2]
        self.machine.sh(f"touch /run/hang{port}")
        while self.state([unit])[unit][2] == start or self.machine.run(
                ["curl", "-fsm", "1", f"http://127.0.0.1:{port}/"], check=False).returncode != 0:
            if time.monotonic() > begun + LIMIT:
                self.lost.append("endpoint")
                return
            time.sleep(0.05)
        self.took["endpoint"].append(time.monotonic() - begun)

    def full(self):
        begun = time.monotonic()
        self.faults["clean"] += 1
        file = FULL[len(self.took["full"]) + self.lost.count("full")] + "/fill"
        self.machine.sh(f"dd if=/dev/zero of={file} bs=1M count=30 2>/dev/null; true")
        while self.machine.exists(file):
            if time.monotonic() > begun + LIMIT:
                self.lost.append("full")
                return
            time.sleep(0.1)
        self.took["full"].append(time.monotonic() - begun)

    def violations(self):
        known = {f"{name}.service" for name in [*KILLED, "hung", "hog", "eater", "thrash"]} | {"clean"}
        known |= {f"web@{port}.service" for port in ENDPOINTS}
        actions, before = [], ""
        while True:
            page = self.machine.http("GET", "/operations/actions?limit=1000" + before).json()
            actions += page["history"]
            if page["next"] is None:
                break
            before = "&before=" + page["next"]
        found = [f"unknown target {a['target_component']}" for a in actions if a["target_component"] not in known]
        spans = sorted((a["started"], a["finished"], a["target_component"]) for a in actions if a["started"])
        running = []
        for started, finished, target in spans:
            running = [r for r in running if r[0] > started]
            if any(r[1] == target for r in running):
                found.append(f"two at once on {target} at {started}")
            running.append((finished, target))
            if len({r[1] for r in running}) > 3:
                found.append(f"more than three targets at {started}")
        return actions, found

    def unmatched(self, actions):
        """Targets that have another number of actions than of faults."""
        done = Counter(a["target_component"] for a in actions)
        return [f"{target}: {count} faults, {done[target]} actions" for target, count in sorted(self.faults.items())
                if done[target] != count]


def main():
    root, agent = sys.argv[1:3]
    faults = int(sys.argv[3]) if len(sys.argv) > 3 else 500
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(memory_group())  # goes when nobody in the machine is in it any more
        machine = stack.enter_context(Machine(root, binds={agent: "/opt/nexus-agent"}))
        for name in KILLED:
            machine.write_file(f"/etc/systemd/system/{name}.service", PLAIN)
        machine.write_file("/etc/systemd/system/hung.service", HUNG)
        machine.write_file("/etc/systemd/system/hog.service", HOG)
        machine.write_file("/etc/systemd/system/eater.service", EATER)
        machine.write_file("/etc/systemd/system/thrash.service", THRASH)
        machine.write_file("/opt/thrash.pl", THRASH_PROGRAM)
        machine.write_file("/etc/systemd/system/web@.service", WEB)
        machine.write_file("/opt/web.pl", WEB_PROGRAM)
        machine.write_file("/etc/nexus/agent.toml", CONFIG)
        machine.write_file("/etc/systemd/system/nexus-agent.service",
                           "[Service]\nType=notify\nRuntimeDirectory=nexus-agent\nStateDirectory=nexus-agent\n"
                           "ExecStart=/opt/nexus-agent run --config /etc/nexus/agent.toml\n")
        for path in FULL:
            machine.sh(f"mkdir -p {path} && mount -t tmpfs -o size=32M chaos {path}")
        units = [*KILLED, "hung", "hog", "eater", "thrash", *(f"web@{port}" for port in ENDPOINTS), "nexus-agent"]
        machine.sh("systemctl daemon-reload && systemctl start " + " ".join(units))
        ready = ["curl", "-fs", "--unix-socket", "/run/nexus-agent/agent.sock", "http://localhost/-/ready"]
        machine.wait_for("the agent", lambda: machine.run(ready, check=False).returncode == 0)
        chaos = Chaos(machine, group)
        begun = time.monotonic()
        done, turn = 0, 0
        while done < faults:
            turn += 1
            # What is verified still holds its place: the next faults come when nothing is under way.
            machine.wait_for("nothing under way", chaos.calm)
            three = [KILLED[(turn * 3 + i) % len(KILLED)] for i in range(3)]
            chaos.services(three, "systemctl kill -s KILL " + " ".join(three), lambda _: "killed")
            done += 3
            if turn % 5 == 1:
                chaos.services(["hung", "hog"], "touch /run/hang /run/hog", lambda unit: unit)
                done += 2
            if turn % 10 == 3:
                chaos.endpoint()
                done += 1
            if turn % 10 == 8 and chaos.group is not None:
                chaos.eat()
                done += 1
            if turn in PRESSURE_TURNS and chaos.group is not None:
                chaos.thrash()
                done += 1
            if turn % 20 == 2:
                chaos.full()
                done += 1
        every = [seconds for kind in chaos.took.values() for seconds in kind]
        print(f"{done} faults in {time.monotonic() - begun:.0f} s: {len(every)} mended "
              f"({100 * len(every) / done:.1f} %), not: {chaos.lost}")
        for kind, took in chaos.took.items():
            if took:
                took.sort()
                print(f"{kind}: {len(took)}, median {statistics.median(took):.3f} s, "
                      f"p99 {took[min(len(took) - 1, len(took) * 99 // 100)]:.3f} s, longest {took[-1]:.3f} s")
        # The last ones are verified still, and not in the history before.
        machine.wait_for("nothing under way", chaos.calm)
        actions, found = chaos.violations()
        states = Counter(action["state"] for action in actions)
        print(f"{len(actions)} actions ({', '.join(f'{count} {state}' for state, count in states.most_common())}); "
              f"violations: {found or 'none'}; other numbers of actions than of faults: {chaos.unmatched(actions) or 'none'}")
        for action in actions:
            if action["state"] != "succeeded":
                print(f"  {action['action_type']} {action['target_component']} {action['state']}: {action['outcome']['result']}")
        if chaos.pressure:
            print(f"waiting for memory: {min(chaos.pressure):.2f} to {max(chaos.pressure):.2f} s a fault")
        if chaos.group is None:
            print("no faults of real memory: this host has no memory controller of the old hierarchy")
        raise SystemExit(1 if found or len(every) < 0.99 * done else 0)


if __name__ == "__main__":
    main()
