#!/usr/bin/python3
"""Twenty dashboard queries over a day at one second, answered by a running agent and by Prometheus over the same samples.

usage: bench/versus/promql.py RECORDING.gz [--build build/release] [--work DIRECTORY] [--step 60] [--hours 24] [--seconds 1]

RECORDING: text of scrapes, each begun by a line "@MILLISECONDS" (bench/README.md says where ours comes from). It is repeated
until the day is full, three times over as three instances that are out of step, and goes as OpenMetrics text into
`promtool tsdb create-blocks-from openmetrics` and into an agent's history on disk (build/release/bench/fill_history_bench). Then both
run over what they have, one at a time, and are asked over HTTP. The answers must be equal: to 1 part in 10^12 where Prometheus 2.42
adds up plainly and 3 (and we) with compensation, else to the last digit.

Per query: the CPU time of the whole process (all its threads, from /proc/PID/task/*/schedstat) over as many repetitions as fill
--seconds, and the least wall time. A ratio above 1 says that the agent is faster. With --work the data is kept there and used again.
"""
import argparse
import contextlib
import gzip
import http.client
import json
import math
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

COPIES = ("a", "b", "c")
FAMILIES = re.compile(
    r"node_(cpu_seconds_total|disk_(read_bytes|written_bytes|io_time_seconds|reads_completed|read_time_seconds)_total"
    r"|network_((receive|transmit)_(bytes|packets|errs)_total|info|up|mtu_bytes)|memory_(MemTotal|MemFree|MemAvailable|Cached|Buffers"
    r"|Dirty|Slab|Active)_bytes|load(1|5|15)|filesystem_(avail|size|free)_bytes|context_switches_total|intr_total|forks_total"
    r"|procs_(running|blocked)|pressure_\w+|vmstat_pg\w+|sockstat_(TCP_\w+|sockets_used)|scrape_collector_duration_seconds"
    r"|netstat_(Tcp|Ip)_\w+|uname_info|boot_time_seconds)[ {]")
# (what, expression, equal only nearly)
QUERIES = (
    ("CPU by mode", "sum by (mode) (rate(node_cpu_seconds_total[5m]))", True),
    ("CPU busy percent", '100 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[2m])) * 100', True),
    ("disk reads by device", "sum by (device) (rate(node_disk_read_bytes_total[5m]))", True),
    ("network bits, irate", 'irate(node_network_receive_bytes_total{device!="lo"}[2m]) * 8', False),
    ("read latency", "rate(node_disk_read_time_seconds_total[5m]) / rate(node_disk_reads_completed_total[5m])", False),
    ("memory percent", "100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)", False),
    ("load", "node_load1", False),
    ("file systems", "100 - node_filesystem_avail_bytes * 100 / node_filesystem_size_bytes", False),
    ("top interfaces", "topk(5, rate(node_network_receive_packets_total[5m]))", False),
    ("quantile over series", "quantile by (instance) (0.9, node_scrape_collector_duration_seconds)", False),
    ("quantile over time", "quantile_over_time(0.95, node_load1[10m])", False),
    ("max over time", "max_over_time(node_procs_running[5m])", False),
    ("mean over time, 138 series", "avg_over_time(node_scrape_collector_duration_seconds[5m])", True),
    ("subquery", 'max_over_time(sum by (instance) (rate(node_cpu_seconds_total{mode!="idle"}[1m]))[10m:1m])', True),
    ("join with info", "rate(node_network_transmit_bytes_total[5m]) * on (instance, device) group_left (operstate) node_network_info",
     False),
    ("CPU per core", 'sum by (instance) (rate(node_cpu_seconds_total{mode!="idle"}[5m])) / on (instance) '
     'count by (instance) (node_cpu_seconds_total{mode="idle"})', True),
    ("disk full in 4 h", "predict_linear(node_filesystem_avail_bytes[1h], 4 * 3600) < 0", False),
    ("page faults", "increase(node_vmstat_pgfault[5m])", False),
    ("spread of load", "stddev_over_time(node_load1[1h])", True),
    ("pressure", "rate(node_pressure_cpu_waiting_seconds_total[5m]) * 100", False),
)


def scrapes(recording):
    """[[(head, value), ...], ...]: the lines of each scrape that are wanted, cut before their value."""
    out = []
    with gzip.open(recording, "rt", encoding="utf-8") as text:
        for line in text:
            if line.startswith("@"):
                out.append([])
            elif FAMILIES.match(line):
                head, _, value = line.rstrip("\n").rpartition(" ")
                out[-1].append((head, value))
    return out


def with_instance(head, copy):
    if head.endswith("}"):
        return '%s,instance="%s"}' % (head[:-1], copy)
    return '%s{instance="%s"}' % (head, copy)


def write_parts(recorded, start, hours, folder):
    """A file for every two hours (promtool reads a file once for each of its blocks); no sample at a whole second."""
    heads = {}
    pieces = [[["%s %s " % (heads.setdefault((head, copy), with_instance(head, copy)), value) for head, value in scrape]
               for scrape in recorded] for copy in COPIES]
    part = None
    for second in range(1, hours * 3600 + 1):
        if (second - 1) % 7200 == 0:
            if part:
                part.write("# EOF\n")
                part.close()
                yield name
            name = folder / ("part%02d" % (second // 7200))
            part = open(name, "w", encoding="utf-8", buffering=1 << 20)
        stamp = "%d.3\n" % (start + second)
        for number, copy in enumerate(pieces):
            part.write(stamp.join(copy[(second + number * 701) % len(copy)]))
            part.write(stamp)
    part.write("# EOF\n")
    part.close()
    yield name


def prepare(arguments, folder):
    """Fills folder/tsdb and folder/agent/history; both get the text part by part."""
    (folder / "agent").mkdir(exist_ok=True)
    start = int(time.time()) // 3600 * 3600 - arguments.hours * 3600
    recorded = scrapes(arguments.recording)
    fill = subprocess.Popen(str(arguments.build / "bench/fill_history_bench"), stdin=subprocess.PIPE,
                            env={**os.environ, "NEXUS_DISK": str(folder / "agent/history")})
    for part in write_parts(recorded, start, arguments.hours, folder):
        with open(part, "rb") as text:
            body = text.read().removesuffix(b"# EOF\n")
        fill.stdin.write(body)
        subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", str(part), str(folder / "tsdb")], check=True)
        part.unlink()
    fill.stdin.close()
    if fill.wait() != 0:
        sys.exit("fill_history failed")
    (folder / "start").write_text(str(start))


class Server:
    def __init__(self, words, port, ready):
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.port = port
        self.connection = None
        for _ in range(1200):
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", ready)
                if connection.getresponse().status == 200:
                    return
            if self.process.poll() is not None:
                sys.exit("%s ended" % words[0])
            time.sleep(0.1)
        sys.exit("%s is not ready" % words[0])

    def ask(self, path, **parameters):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        self.connection.request("POST", "/api/v1/" + path, urllib.parse.urlencode(parameters),
                                {"Content-Type": "application/x-www-form-urlencoded"})
        return self.connection.getresponse().read()

    def cpu(self):
        """To the nanosecond: ticks of a hundredth are as long as three of these queries."""
        return sum(int(task.read_text().split()[0])
                   for task in pathlib.Path("/proc/%d/task" % self.process.pid).glob("*/schedstat")) / 1e9

    def memory(self):
        status = pathlib.Path("/proc/%d/status" % self.process.pid).read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def prometheus(folder):
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text("scrape_configs: []\n")
    return Server(["prometheus", "--config.file=%s" % config, "--storage.tsdb.path=%s" % (folder / "tsdb"),
                   "--storage.tsdb.retention.time=100y", "--web.listen-address=127.0.0.1:%d" % port], port, "/-/ready")


def agent(arguments, folder):
    port = free_port()
    config = folder / "agent.toml"
    config.write_text('[agent]\ndata_dir = "%s"\ncpu_budget_percent = 100\n[http]\nlisten = ["127.0.0.1:%d"]\n'
                      'max_requests_per_connection = 1000000000\n[collect]\ninterval = "1h"\n[history]\nretention = "48h"\n'
                      '[operations]\ncheck_interval = "1h"\n[forecast]\nenabled = false\n[anomaly]\nenabled = false\n'
                      % (folder / "agent", port))
    return Server([str(arguments.build / "nexus-agent"), "run", "--config", str(config)], port, "/-/healthy")


def measure(server, seconds, **parameters):
    """(answer, CPU seconds a query, least wall seconds)"""
    body = server.ask("query_range", **parameters)
    cpu, least, count, began = server.cpu(), math.inf, 0, time.monotonic()
    while time.monotonic() - began < seconds or count < 3:
        start = time.monotonic()
        server.ask("query_range", **parameters)
        least = min(least, time.monotonic() - start)
        count += 1
    return json.loads(body), (server.cpu() - cpu) / count, least


def rows(answer):
    if answer["status"] != "success":
        return answer["error"]
    return {json.dumps(row["metric"], sort_keys=True): row["values"] for row in answer["data"]["result"]}


def same(ours, theirs, near):
    """None, or what differs."""
    a, b = rows(ours), rows(theirs)
    if isinstance(a, str) or isinstance(b, str):
        return "an error: %.200s / %.200s" % (a if isinstance(a, str) else "", b if isinstance(b, str) else "")
    if a.keys() != b.keys():
        return "%d and %d series" % (len(a), len(b))
    for key, values in a.items():
        for (t, v), (u, w) in zip(values, b[key], strict=True) if len(values) == len(b[key]) else [((0, ""), (1, ""))]:
            if t != u:
                return "other times in %s" % key
            if v != w and not (near and math.isclose(float(v), float(w), rel_tol=1e-12, abs_tol=1e-12)):
                return "%s at %s: %s and %s" % (key, t, v, w)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--step", type=int, default=60)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--only", help="a part of the name of the queries to run")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.work or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "start").exists():
            prepare(arguments, folder)
        start = int((folder / "start").read_text())
        # Seven seconds past the minute: no point of a subquery lies on the edge of a window, where 2.42 and 3 differ.
        span = {"start": start + 3607, "end": start + arguments.hours * 3600, "step": arguments.step}
        chosen = [query for query in QUERIES if not arguments.only or arguments.only in query[0]]
        results = []
        for make in (lambda: agent(arguments, folder), lambda: prometheus(folder)):
            server = make()
            stack.callback(server.stop)
            results.append([measure(server, arguments.seconds, query=text, **span) for _, text, _ in chosen])
            results[-1].append(server.memory())
        print("%-28s %10s %10s %7s   %10s %10s %7s" % ("query", "ours CPU", "theirs", "ratio", "ours wall", "theirs", "ratio"))
        cpu_ratios, wall_ratios, bad = [], [], 0
        for (name, _, near), ours, theirs in zip(chosen, results[0], results[1]):
            cpu_ratios.append(theirs[1] / max(ours[1], 1e-9))
            wall_ratios.append(theirs[2] / ours[2])
            print("%-28s %7.1f ms %7.1f ms %6.1fx   %7.1f ms %7.1f ms %6.1fx" % (
                name, ours[1] * 1e3, theirs[1] * 1e3, cpu_ratios[-1], ours[2] * 1e3, theirs[2] * 1e3, wall_ratios[-1]))
            difference = same(ours[0], theirs[0], near)
            if difference:
                bad += 1
                print("    NOT EQUAL: " + difference)
        for what, ratios in (("CPU", cpu_ratios), ("wall", wall_ratios)):
            print("%s: geometric mean %.1fx, worst %.1fx" % (
                what, math.exp(sum(map(math.log, ratios)) / len(ratios)), min(ratios)))
        print("peak resident: %.0f MiB, %.0f MiB" % (results[0][-1], results[1][-1]))
        sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
