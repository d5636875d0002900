#!/usr/bin/python3
"""Differential test: seeded random expressions, answered by a Prometheus 2.42 server through its API and by us.

usage: promql_vs_prometheus.py KNOWLEDGE_TEST [SEED [COUNT]]
(or NEXUS_PROMQL_SEED and NEXUS_PROMQL_COUNT in the environment)

The same samples go into both: into blocks that promtool makes for the server, and into memory here. Each expression is
asked as an instant query (in the order that sort and topk gave it) and as a range query, and formatted by format_query.
Of damaged expressions we must take what the server takes, and format it alike; we take more, because 3 does.
What is compared how: promql_corpus.py. Disagreements that are meant: README.md beside.
"""
import http.client
import json
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time as clock
import urllib.parse

from promql_corpus import INTERVAL, NEAR, OVERFLOWS, Generator, run_ours, same_value

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "testbed"))
from ports import free_port  # noqa: E402

BASE = 1_600_000_000  # s
START = 7.3  # s after BASE: the first samples; no sample at whole seconds
ORDERED = re.compile(r"^(sort|sort_desc|topk|bottomk)\b")
# Durations are at most a hundred years here.
TOO_LONG = re.compile(r"\d{2,}y|\d{4,}w|\d{5,}d|\d{6,}h|\d{8,}m|\d{10,}s")
# 2.42 prints numbers as %g does, 3 without exponent; durations as numbers are new in 3.
ODD_NUMBER = re.compile(r"\de[-+]?\d|0x|\b0\d|\d{7}")


def write_openmetrics(series, path):
    with open(path, "w", encoding="utf-8") as out:
        for name, samples in series:
            for i, value in enumerate(samples):
                if value not in (None, "stale"):
                    out.write("%s %s %.3f\n" % (name, value, BASE + START + i * INTERVAL))
        out.write("# EOF\n")


class Server:
    """A Prometheus over the blocks of a folder, on a free port of the loopback."""

    def __init__(self, folder):
        self.port = free_port()
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as out:
            out.write("scrape_configs: []\n")
        with open(os.path.join(folder, "log"), "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["prometheus", "--config.file=" + config, "--storage.tsdb.path=" + os.path.join(folder, "data"),
                 "--storage.tsdb.retention.time=100y", "--web.listen-address=127.0.0.1:%d" % self.port],
                stdout=log, stderr=log)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def wait(self):
        for _ in range(600):
            if self.process.poll() is not None:
                sys.exit("prometheus ended")
            try:
                self.connection.request("GET", "/-/ready")
                response = self.connection.getresponse()
                response.read()
                if response.status == 200:
                    return
            except OSError:
                self.connection.close()
            clock.sleep(0.1)
        sys.exit("prometheus is not ready after a minute")

    def ask(self, path, **parameters):
        self.connection.request("POST", "/api/v1/" + path, urllib.parse.urlencode(parameters),
                                {"Content-Type": "application/x-www-form-urlencoded"})
        answer = json.loads(self.connection.getresponse().read())
        return answer["data"] if answer["status"] == "success" else "error: " + answer["error"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def key(labels):
    return ",".join("%s=%s" % pair for pair in sorted(labels.items()))


def theirs_of(data):
    """[(labels, [(ms, value), ...]), ...] or an error."""
    if isinstance(data, str):
        return data
    if data["resultType"] == "scalar":
        return [("", [(round(data["result"][0] * 1000), float(data["result"][1]))])]
    out = []
    for row in data["result"]:
        points = row["values"] if "values" in row else [row["value"]]
        out.append((key(row["metric"]), [(round(t * 1000), float(v)) for t, v in points]))
    return out


OUR_LABEL = re.compile(r'(?:(\w+)=)?"((?:[^"\\]|\\.)*)"')


def our_key(name):
    metric = name.partition("{")[0]
    labels = {"__name__": metric} if metric else {}
    for label, value in OUR_LABEL.findall(name):
        labels[label or "__name__"] = value.replace('\\"', '"').replace("\\\\", "\\")
    return key(labels)


def ours_of(lines, millis):
    if isinstance(lines, str):
        return lines
    out = []
    for line in lines:
        name, _, values = line.partition("\t")
        points = [word.split(":") if ":" in word else (millis, word) for word in values.split(" ")]
        out.append((our_key(name), [(int(t), float(v)) for t, v in points]))
    return out


def same(theirs, ours, text, ordered=False):
    near = NEAR.search(text) is not None
    overflows = OVERFLOWS.search(text) is not None
    if isinstance(theirs, str) or isinstance(ours, str):
        return isinstance(theirs, str) and isinstance(ours, str)
    if ordered and not near:
        values = [points[0][1] for _, points in theirs]
        if len(set(values)) == len(values) and [k for k, _ in theirs] != [k for k, _ in ours]:
            return any(math.isnan(value) for value in values)
    a, b = dict(theirs), dict(ours)
    return a.keys() == b.keys() and all(
        [t for t, _ in a[k]] == [t for t, _ in b[k]]
        and all(same_value(x, y, near, overflows) for (_, x), (_, y) in zip(a[k], b[k])) for k in a)


def spans(generator):
    start = generator.time() - 400
    step = generator.pick(7, 15, 30, 61, 180)
    return start, start + step * generator.pick(1, 5, 20), step


def compare_formatted(kind, server, text, lines, counts):
    theirs = server.ask("format_query", query=text)
    ours = lines if isinstance(lines, str) else "\n".join(lines)
    if theirs.startswith("error"):
        agrees = kind == "damaged" or ours.startswith("error")
    else:
        agrees = theirs == ours or TOO_LONG.search(text) is not None
        agrees = agrees or (ODD_NUMBER.search(text) is not None and not ours.startswith("error"))
    compare(kind, text, theirs, ours, agrees, counts)


def compare(kind, text, theirs, ours, agrees, counts):
    counts[kind] = counts.get(kind, 0) + 1
    if isinstance(theirs, str) and theirs.startswith("error"):
        counts[kind + " refused"] = counts.get(kind + " refused", 0) + 1
    if agrees:
        return
    counts["wrong"] = counts.get("wrong", 0) + 1
    if counts["wrong"] <= 20:
        print("%s  %s\n  prometheus: %s\n  ours:       %s" % (kind, text, str(theirs)[:600], str(ours)[:600]))


def main():
    binary = sys.argv[1]
    seed = int(sys.argv[2] if len(sys.argv) > 2 else os.environ.get("NEXUS_PROMQL_SEED", "1"))
    count = int(sys.argv[3] if len(sys.argv) > 3 else os.environ.get("NEXUS_PROMQL_COUNT", "4000"))
    generator = Generator(seed, BASE)
    series = generator.series()
    cases = [(generator.expression(), generator.time(), spans(generator)) for _ in range(count)]
    commands = ["start %d" % round((BASE + START) * 1000)]
    for name, samples in series:
        values = " ".join("_" if value in (None, "stale") else value for value in samples)
        commands.append("load %d\t%s %s" % (round(INTERVAL * 1000), name, values))
    for text, time, (start, end, step) in cases:
        commands.append("eval %d\t%s" % (round(time * 1000), text))
        commands.append("range %d %d %d\t%s" % (round(start * 1000), round(end * 1000), step * 1000, text))
        commands.append("format 0\t%s" % text)
    damaged = [generator.mutated() for _ in range(count)]
    commands += ["format 0\t%s" % text for text in damaged]
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        samples = os.path.join(folder, "samples")
        write_openmetrics(series, samples)
        subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", samples,
                        os.path.join(folder, "data")], check=True, stdout=subprocess.DEVNULL)
        server = Server(folder)
        try:
            server.wait()
            ours = run_ours(binary, commands, folder)
            for i, (text, time, (start, end, step)) in enumerate(cases):
                instant = theirs_of(server.ask("query", query=text, time="%.3f" % time))
                mine = ours_of(ours[3 * i], round(time * 1000))
                compare("instant", "at %.3f  %s" % (time, text), instant, mine,
                        same(instant, mine, text, ORDERED.search(text) is not None), counts)
                ranged = theirs_of(server.ask("query_range", query=text, start="%.3f" % start, end="%.3f" % end, step=step))
                mine = ours_of(ours[3 * i + 1], 0)
                compare("range", "from %.3f to %.3f step %d  %s" % (start, end, step, text), ranged, mine,
                        same(ranged, mine, text), counts)
                compare_formatted("format", server, text, ours[3 * i + 2], counts)
            for text, lines in zip(damaged, ours[3 * count:]):
                compare_formatted("damaged", server, text, lines, counts)
        finally:
            server.stop()
    print(", ".join("%s: %d" % pair for pair in counts.items()))
    sys.exit(1 if counts.get("wrong") else 0)


if __name__ == "__main__":
    main()
