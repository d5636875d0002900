#!/usr/bin/python3
"""What it costs to collect node_exporter's default set once a second, in the agent and in node_exporter, in the same seconds.

    collecting.py NEXUS_AGENT [SECONDS]         needs: prometheus-node-exporter

The collectors that both have on by default run every second in both, and no others. Counted by schedstat, to the nanosecond: theirs is the
whole process, scraped once a second; ours the threads that collect, with waking, waiting, helpers and handing on the batches, and
besides the runs alone, each collector's mean added up. (Collectors that find nothing here are asked ever more rarely by the agent: they
are in the second figure only. node_exporter_daemon.sh has the intervals as they are shipped.)
"""
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests" / "agent"))
from counterparts import agent_with, answers, program, running  # noqa: E402  (it reads the first argument)
from harness import free_port, wait_for  # noqa: E402

BINARY, SECONDS = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 60
WARM = 15  # seconds: what a start costs is not a collection
BOTH = """arp bcache bonding btrfs conntrack cpu cpufreq diskstats dmi edac entropy fibrechannel filefd filesystem hwmon infiniband
  ipvs loadavg mdadm meminfo netclass netdev netstat nfs nfsd nvme os powersupplyclass pressure rapl schedstat selinux sockstat softnet
  stat tapestats textfile thermal_zone time timex udp_queues uname vmstat xfs zfs""".split()


def threads(pid):
    """{thread: (name, nanoseconds so far)}"""
    out = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            out[task.name] = (task / "comm").read_text().strip(), int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass  # it has ended
    return out


def used(before, after, is_meant):
    """Microseconds a second."""
    return sum(now - before.get(thread, ("", 0))[1] for thread, (name, now) in after.items() if is_meant(name)) / SECONDS / 1000


def main():
    listed = subprocess.run([BINARY, "list", "collectors"], capture_output=True, text=True, check=True).stdout
    known = [name for name in re.findall(r"^([a-z]\w*) ", listed, re.M)]
    config = "".join(f"[collect.{name}]\n" + ('enabled = true\ninterval = "1s"\n' if name in BOTH else "enabled = false\n")
                     for name in known)
    port = free_port()
    page = f"http://127.0.0.1:{port}/metrics"
    with running(program("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{port}", "--web.disable-exporter-metrics",
                 "--log.level=error", "--collector.disable-defaults", *(f"--collector.{name}" for name in BOTH)) as exporter, \
            agent_with(config) as agent:
        wait_for("node_exporter", answers(page))

        def runs():
            return {row["name"]: (row["runs"], row["cpu_seconds_total"]) for row in agent.get("/health/components").json["collectors"]}
        time.sleep(WARM)
        runs_before, ours_before, theirs_before = runs(), threads(agent.process.pid), threads(exporter.pid)
        begun = time.monotonic()
        for second in range(SECONDS):
            with urllib.request.urlopen(page, timeout=20) as answer:
                answer.read()
            time.sleep(max(0.0, begun + second + 1 - time.monotonic()))
        ours_after, theirs_after, runs_after = threads(agent.process.pid), threads(exporter.pid), runs()
    means = {name: (cpu - runs_before[name][1]) / (count - runs_before[name][0]) * 1e6
             for name, (count, cpu) in runs_after.items() if name in BOTH and count > runs_before[name][0]}
    theirs = used(theirs_before, theirs_after, lambda name: True)
    ours = used(ours_before, ours_after, lambda name: name.startswith("collect-"))
    alone = sum(means.values())
    print(f"node_exporter {theirs:.0f} us a scrape; the agent's collecting threads {ours:.0f} us a second ({theirs / ours:.1f}x); "
          f"the runs of {len(means)} collectors added up {alone:.0f} us ({theirs / alone:.1f}x)")
    print(" ".join(f"{name}={mean:.0f}" for name, mean in sorted(means.items(), key=lambda one: -one[1])))


if __name__ == "__main__":
    main()
