"""A FUSE mount that hangs, for real: /metrics goes on answering, nothing piles up, and it is healed with the mount. And how
often collectors run when something is wrong: with the host, or with themselves.

    hung_mount.py NEXUS_AGENT

Runs itself again in mount and pid name spaces of its own, so that no one else meets the mount. The file system is served
by this script over /dev/fuse: it answers the kernel's greeting, and then nothing.
"""
import contextlib
import ctypes
import os
import pathlib
import signal
import struct
import sys
import threading
import time

from harness import Agent, directory, equal, expect, run_tests, wait_for

BINARY = sys.argv[1]
FUSE_INIT = 26
MS_NOSUID, MS_NODEV, MNT_DETACH = 2, 4, 2
libc = ctypes.CDLL(None, use_errno=True)


class HungMount:
    """Hangs from the mount to break_off(), which is what the death of its server is."""

    def __init__(self, where):
        self.where = pathlib.Path(where)
        self.where.mkdir()
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0".encode()
        if libc.mount(b"nexus-hung", os.fsencode(self.where), b"fuse", MS_NOSUID | MS_NODEV, options) != 0:
            raise OSError(ctypes.get_errno(), "mount fuse")
        self.asked = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                request = os.read(self.device, 1 << 17)
            except OSError:
                return
            _, opcode, unique = struct.unpack_from("<IIQ", request)
            self.asked.append(opcode)
            if opcode == FUSE_INIT:
                major, minor = struct.unpack_from("<II", request, 40)
                body = struct.pack("<IIIIHHIIHHI28x", major, min(minor, 31), 1 << 16, 0, 12, 9, 1 << 16, 1, 32, 0, 0)
                os.write(self.device, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)

    def break_off(self):
        # Unmounting by force ends the connection: who waits for an answer gets an error.
        libc.umount2(os.fsencode(self.where), 1)
        libc.umount2(os.fsencode(self.where), MNT_DETACH)


def value(page, metric, label):
    """Of the series of `metric` that has this label."""
    for line in page.splitlines():
        if line.startswith(metric + "{") and label in line:
            return float(line.rpartition(" ")[2])
    return None


def counts(agent):
    base = pathlib.Path(f"/proc/{agent.process.pid}")
    return len(list((base / "task").iterdir())), len(list((base / "fd").iterdir()))


def log(name, pattern):
    return (f'[[log]]\nname = "{name}"\nfiles = ["{pattern}"]\nfrom = "begin"\n'
            f'[[log.pattern]]\nmetric = "{name}_errors_total"\nregex = "error"\n')


def sources(agent):
    return {row["name"]: row for row in agent.command_json("list", "sources")["sources"]}


def a_mount_hangs(where):
    config = ('[collect]\ninterval = "100ms"\n[collect.filesystem]\nmount_timeout = "200ms"\n'
              + log("dead", f"{where}/hung/*.log") + log("alive", f"{where}/alive*.log"))
    with contextlib.closing(Agent(BINARY, where, config)) as agent:
        agent.start()
        wait_for("a first page", lambda: "node_filesystem_size_bytes" in agent.tcp("GET", "/metrics").body)
        hung = HungMount(where / "hung")
        series = "node_filesystem_device_error", f'mountpoint="{hung.where}"'
        try:
            wait_for("the mount being reported", lambda: value(agent.tcp("GET", "/metrics").body, *series) == 1)
            threads, files = counts(agent)
            began = time.monotonic()
            pages = 0
            while time.monotonic() - began < 6:  # about sixty collections
                page = agent.tcp("GET", "/metrics").body
                pages += 1
                equal(value(page, *series), 1, "the mount's error")
                expect('node_filesystem_size_bytes{' in page, "the other mounts are not measured any more")
                expect("node_load1 " in page, "another collector stands still")
            expect(pages >= 1, "no page in 6 s")
            equal(value(page, "node_scrape_collector_success", 'collector="filesystem"'), 1, "success of the collector")
            later = counts(agent)
            expect(later[0] <= threads + 2 and later[1] <= files + 8,
                   f"threads and files grew from {(threads, files)} to {later}")
            # A log below it stands still and says so, and no other does.
            (where / "alive.log").write_text("an error\n" * 3)
            wait_for("the other log's lines", lambda: agent.metric("alive_errors_total") == 3)
            wait_for("the hung log being told", lambda: "hangs since" in sources(agent)["dead"]["error"])
            equal((sources(agent)["dead"]["health"], sources(agent)["alive"]["health"]), ("down", "up"), "the logs' health")
            equal(hung.asked.count(17), 1, "times that the hung mount was asked (FUSE_STATFS)")
        finally:
            hung.break_off()
        wait_for("the mount being gone", lambda: value(agent.tcp("GET", "/metrics").body, *series) is None)
        wait_for("the hung log going on", lambda: "hangs since" not in sources(agent)["dead"]["error"])


def an_incident(where):
    """A finding has the collector behind it look closer, one that fails is asked ever more rarely; both fall back to what is usual."""
    bad = where / "text" / "bad.prom"
    bad.parent.mkdir()
    bad.write_text("m{ 1\n")
    bad.chmod(0o644)
    calm = f'[collect.textfile]\ndirectory = "{bad.parent}"\ninterval = "200ms"\n'
    finding = '[[alert]]\nname = "Loaded"\nexpr = "node_load1 >= 0"\n'
    with contextlib.closing(Agent(BINARY, where, name="incident")) as agent:
        def configure(config):
            agent.configure(config)
            # A sanitized agent on a busy machine is over its budget, and nobody looks closer then.
            agent.file.write_text(agent.file.read_text().replace("[agent]\n", "[agent]\ncpu_budget_percent = 100\nmemory_budget = \"8GiB\"\n"))
        configure(calm + finding)
        agent.start()

        def collector(name):
            rows = {row["name"]: row for row in agent.get("/health/components").json["collectors"]}
            return rows[name]

        def interval(name):
            return collector(name)["present_interval_seconds"]
        wait_for("loadavg looking closer", lambda: interval("loadavg") == 0.1)
        runs = collector("loadavg")["runs"]
        wait_for("its runs", lambda: collector("loadavg")["runs"] >= runs + 10)
        equal(collector("loadavg")["note"], "in an incident: runs every 100ms", "its note")
        equal(interval("uname"), collector("uname")["interval_seconds"], "the interval of one that the finding does not concern")
        wait_for("textfile slowing down", lambda: interval("textfile") > 0.2)
        equal(collector("textfile")["outcome"], "failed", "its outcome")
        expect("bad.prom: line 1" in collector("textfile")["error"], f"its error: {collector('textfile')}")
        rows = {row["name"]: row for row in agent.command_json("list", "collectors", "--status")["collectors"]}
        expect(rows["textfile"]["note"].startswith("backed off: runs every "), f"textfile: {rows['textfile']}")
        expect(rows["loadavg"]["note"].startswith("in an incident"), f"loadavg: {rows['loadavg']}")
        equal(agent.metric('nexus_collector_interval_seconds{collector="loadavg"}'), 0.1, "its interval in /metrics")
        bad.unlink()
        configure(calm)
        agent.signal(signal.SIGHUP)
        wait_for("both falling back", lambda: (interval("loadavg"), interval("textfile")) == (1, 0.2))
        wait_for("the file that is well being read", lambda: collector("textfile")["outcome"] == "ok")
        equal(collector("loadavg")["note"], "", "what is said then")


def main():
    if os.environ.get("NEXUS_OWN_NAMESPACES") != "1":
        os.environ["NEXUS_OWN_NAMESPACES"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
                              "--mount-proc", sys.executable, *sys.argv])
    with directory() as where:
        run_tests([("a mount hangs", lambda: a_mount_hangs(where)), ("an incident", lambda: an_incident(where))])


if __name__ == "__main__":
    main()
