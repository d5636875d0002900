"""Prometheus scrapes a real agent; promtool and node_exporter judge its metrics; both PromQL engines agree.

    prometheus.py NEXUS_AGENT
"""
import contextlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse

from harness import Agent, Failure, directory, equal, expect, free_port, request, run_tests, wait_for

BINARY = sys.argv[1]
COLLECTORS = ("arp", "bcache", "bonding", "btrfs", "conntrack", "cpu", "cpufreq", "diskstats", "dmi", "edac", "entropy",
              "fibrechannel", "filefd", "filesystem", "hwmon", "infiniband", "ipvs", "loadavg", "mdadm", "meminfo", "netclass",
              "netdev", "netstat", "nfs", "nfsd", "nvme", "os", "powersupplyclass", "pressure", "processes", "rapl",
              "schedstat", "selinux", "sockstat", "softnet", "stat", "tapestats", "textfile", "thermal_zone", "time", "timex",
              "udp_queues", "uname", "vmstat", "xfs", "zfs")
# Of node_exporter 1.6 to 1.12; the one that Debian has is 1.5.
NEWER = re.compile("node_(arp_states|cpu_online|filesystem_mount_info|kernel_hung_|network_(altnames_|carrier_(up|down)_)|"
                   "os_support_end|netstat_TcpExt_TCP(OFOQueue|RcvQDrop)|pressure_irq_|softnet_(backlog_len|cpu_collision|flow_limit|"
                   "received_rps)|watchdog_)")
# Entropy is in bits, there and here; then the names that node_exporter has since 1.11, cAdvisor and process-exporter.
NAMED_SO = ("entropy_available_bits", "container_memory_failcnt", "namedprocess_scrape_partial_errors",
            "namedprocess_scrape_errors", "namedprocess_scrape_procread_errors")
CONSTANT = ("node_memory_MemTotal_bytes", "node_boot_time_seconds", "count(node_cpu_seconds_total)", "node_filefd_maximum",
            "sum by (mode) (node_cpu_seconds_total * 0 + 2)", "node_uname_info", "node_processes_max_processes / 2",
            "count by (fstype) (node_filesystem_size_bytes)", "node_memory_MemTotal_bytes > 1e30",
            "max(node_network_mtu_bytes) or vector(7)", "-node_memory_SwapTotal_bytes ^ 2")


def program(name):
    path = shutil.which(name)
    expect(path, f"{name} is not installed")
    return path


@contextlib.contextmanager
def running(*words):
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def get(port, path):
    return request(http.client.HTTPConnection("127.0.0.1", port, timeout=60), "GET", path)


def answers(port, path):
    def probe():
        with contextlib.suppress(OSError, http.client.HTTPException):
            return get(port, path).status == 200
    return probe


def ask(port, expression):
    answer = get(port, "/api/v1/query?query=" + urllib.parse.quote(expression))
    equal(answer.status, 200, f"status of {expression}: {answer.body}")
    return answer.json["data"]["result"]


def vector(result):
    """Labels without those of the scrape -> value."""
    rows = {}
    for series in result:
        labels = {key: value for key, value in series["metric"].items() if key not in ("job", "instance")}
        rows[json.dumps(labels, sort_keys=True)] = float(series["value"][1])
    return rows


def complaints(text):
    """Metric -> what promtool says of it; a parse error is a failure."""
    ran = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    said = ran.stdout + ran.stderr
    expect(ran.returncode in (0, 3), f"promtool cannot parse the metrics: {said}")
    found = set()
    for line in said.splitlines():
        name, _, what = line.partition(" ")
        found.add((name, what))
    return found


def types(text):
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def scraped(port):
    """Prometheus took the agent's page whole."""
    wait_for("up{job=\"agent\"} == 1", lambda: [s for s in ask(port, 'up{job="agent"}') if s["value"][1] == "1"])

    def well():  # a busy machine may be late once
        target = get(port, "/api/v1/targets").json["data"]["activeTargets"][0]
        return (target["health"], target["lastError"]) == ("up", "")
    wait_for("the target being well", well)
    # Both of one scrape: the next may find more.
    kept = "scrape_samples_scraped > 300 and on (job) scrape_samples_post_metric_relabeling == on (job) scrape_samples_scraped"
    wait_for("more than 300 samples, all of them kept", lambda: ask(port, kept))


def linted(agent, exporter):
    ours = complaints(agent.get("/metrics").body)
    theirs = {what for _, what in complaints(get(exporter, "/metrics").body)}
    bad = sorted(f"{name} {what}" for name, what in ours
                 if not (name.startswith(("node_", "process_")) and what in theirs) and name not in NAMED_SO)
    expect(not bad, "promtool complains: " + "; ".join(bad))


def names_and_types(agent, exporter):
    """Each node_* family of ours is one that node_exporter has on this host, of the same type."""
    ours = types(agent.get("/metrics").body)
    theirs = types(get(exporter, "/metrics").body)
    families = {name: kind for name, kind in ours.items()
                if name.startswith("node_") and not name.startswith(("node_scrape_", "node_systemd_"))
                and not NEWER.match(name)}
    expect(len(families) > 150, f"only {len(families)} node_* families")
    wrong = sorted(f"{name} {kind} (node_exporter: {theirs.get(name, 'not there')})" for name, kind in families.items()
                   if theirs.get(name) != kind)
    expect(not wrong, "; ".join(wrong))
    missing = sorted(name for name in theirs if name.startswith("node_") and name not in ours
                     and not name.startswith(("node_exporter_", "node_scrape_")))
    expect(not missing, "node_exporter has and the agent has not: " + ", ".join(missing))


def same_answers(agent, port):
    for expression in CONSTANT:
        answers = []

        def same(expression=expression, answers=answers):  # its last scrape may be of a moment before a change, or have been late
            answers[:] = vector(agent.query(expression)), vector(ask(port, expression))
            return answers[0] == answers[1]
        try:
            wait_for("the same answers", same)
        except Failure as failure:
            raise Failure(f"{expression}: {failure}: {answers}") from failure
    expect(vector(agent.query(CONSTANT[0])), "an empty answer proves nothing")


def main():
    with directory() as where, contextlib.ExitStack() as stack:
        agent = Agent(BINARY, where)
        stack.callback(agent.close)
        agent.start()
        exporter = free_port()
        flags = [f"--collector.{name}" for name in COLLECTORS]
        stack.enter_context(running(program("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{exporter}",
                                    "--web.disable-exporter-metrics", "--collector.disable-defaults", *flags))
        port = free_port()
        file = where / "prometheus.yml"
        file.write_text("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
                        f"  - job_name: agent\n    static_configs: [{{targets: ['127.0.0.1:{agent.port}']}}]\n")
        stack.enter_context(running(program("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={where}/prometheus",
                                    f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"))
        wait_for("node_exporter's answer", answers(exporter, "/metrics"))
        wait_for("Prometheus's answer", answers(port, "/-/ready"))
        run_tests([("scraped", lambda: scraped(port)), ("promtool", lambda: linted(agent, exporter)),
                   ("names and types", lambda: names_and_types(agent, exporter)),
                   ("same answers", lambda: same_answers(agent, port))])


if __name__ == "__main__":
    main()
