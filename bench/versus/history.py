#!/usr/bin/env python3
"""The same recording into our history, Prometheus's TSDB and VictoriaMetrics: bytes a sample, samples a CPU second.

usage: bench/versus/history.py RECORDING.txt[.gz] [BUILD_DIR]

Needs a release build and the Debian packages prometheus (promtool) and victoria-metrics; what is missing is left out
and said. RECORDING is as bench/record_host.py writes it, or what an agent has recorded itself: `nexus-agent export`. All three read
the same text, series after series; everything that a program leaves on disk counts. CPU time is user and system time of the whole
program.
"""
import collections
import gzip
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request


def read_recording(path):
    """Samples by series, in the order of the file: {head: [(milliseconds, value)]}."""
    series = collections.OrderedDict()
    opened = gzip.open if path.endswith(".gz") else open
    now = 0
    with opened(path, "rt") as lines:
        for line in lines:
            if line.startswith("@"):
                now = int(line[1:])
            elif now:
                head, value = line.rstrip("\n").rsplit(" ", 1)
                series.setdefault(head, []).append((now, value))
            elif not line.startswith("#"):
                head, value, seconds = line.rstrip("\n").rsplit(" ", 2)
                series.setdefault(head, []).append((round(float(seconds) * 1000), value))
    return series


def name_of(head):
    return head.split("{", 1)[0]


def write_texts(series, open_metrics, milliseconds):
    """OpenMetrics (seconds), and Prometheus's text format (milliseconds)."""
    samples = 0
    last = None
    for head in sorted(series, key=lambda one: (name_of(one), one)):
        if name_of(head) != last:
            last = name_of(head)
            open_metrics.write("# TYPE %s unknown\n" % last)
        for time_ms, value in series[head]:
            open_metrics.write("%s %s %d.%03d\n" % (head, value, time_ms // 1000, time_ms % 1000))
            milliseconds.write("%s %s %d\n" % (head, value, time_ms))
            samples += 1
    open_metrics.write("# EOF\n")
    return samples


def bytes_below(directory):
    return sum(os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(directory) for name in names)


def run(command):
    """CPU seconds of a command."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit("%s failed: %s" % (command[0], errors[-2000:]))
    return usage.ru_utime + usage.ru_stime


def ours(agent, text, directory):
    cpu = run([agent, "import", text, "--data-dir", directory])
    return cpu, bytes_below(os.path.join(directory, "history"))


def prometheus(promtool, text, directory):
    cpu = run([promtool, "tsdb", "create-blocks-from", "openmetrics", text, directory])
    return cpu, bytes_below(directory)


def victoria_metrics(program, text, directory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % probe.getsockname()[1]
    process = subprocess.Popen([program, "-storageDataPath=" + directory, "-httpListenAddr=" + address,
                                "-retentionPeriod=100y", "-loggerLevel=ERROR"], stderr=subprocess.DEVNULL)
    url = "http://" + address

    def cpu():
        with open("/proc/%d/stat" % process.pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask(path, body=None):
        with urllib.request.urlopen(url + path, data=body, timeout=600) as answer:
            answer.read()

    try:
        for _ in range(300):
            try:
                ask("/health")
                break
            except OSError:
                time.sleep(0.1)
        else:
            sys.exit("victoria-metrics does not answer")
        before = cpu()
        with open(text, "rb") as content:
            ask("/api/v1/import/prometheus", content.read())
        ask("/internal/force_flush")
        used = cpu() - before
        ask("/internal/force_merge")
        time.sleep(2)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        # Caches are written at the stop and can be made anew; the index cannot.
        return used, bytes_below(directory) - bytes_below(os.path.join(directory, "cache")), bytes_below(
            os.path.join(directory, "data"))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build = sys.argv[2] if len(sys.argv) > 2 else "build/release"
    agent = os.path.join(build, "nexus-agent")
    if not os.path.exists(agent):
        sys.exit("%s is not built: cmake --build %s --target nexus-agent" % (agent, build))
    series = read_recording(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="nexus-versus-") as work:
        text, millis = os.path.join(work, "samples.om"), os.path.join(work, "samples.prom")
        with open(text, "w") as one, open(millis, "w") as other:
            samples = write_texts(series, one, other)
        print("%s: %d series, %d samples" % (sys.argv[1], len(series), samples))
        rows = [("nexus-agent", *ours(agent, text, os.path.join(work, "ours")))]
        promtool = shutil.which("promtool")
        if promtool is None:
            print("promtool is not installed (Debian package prometheus)")
        else:
            rows.append(("Prometheus", *prometheus(promtool, text, os.path.join(work, "prometheus"))))
        victoria = shutil.which("victoria-metrics") or shutil.which("victoria-metrics-prod")
        if victoria is None:
            print("victoria-metrics is not installed (Debian package victoria-metrics)")
        else:
            cpu, size, data = victoria_metrics(victoria, millis, os.path.join(work, "victoria"))
            rows.append(("VictoriaMetrics", cpu, size))
            rows.append(("  without index", cpu, data))
    print("%-16s %10s %10s %8s %8s %14s %8s" % ("", "bytes", "B/sample", "ratio", "CPU s", "samples/CPU s", "ratio"))
    _, own_cpu, own_bytes = rows[0]
    for name, cpu, size in rows:
        print("%-16s %10d %10.3f %8.2f %8.2f %14.0f %8.2f" %
              (name, size, size / samples, own_bytes / size, cpu, samples / max(cpu, 0.001),
               cpu / max(own_cpu, 0.001)))


if __name__ == "__main__":
    main()
