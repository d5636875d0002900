"""`nexus-agent forecast`, `replay`, `capacity` and `backtest`, and the pictures, as a person uses them.

    foresee.py NEXUS_AGENT
"""
import csv
import http.client
import io
import math
import pathlib
import random
import socket
import struct
import subprocess
import sys
import time
import zlib

from harness import PATIENCE, Agent, directory, equal, expect, run_tests, wait_for

BINARY = sys.argv[1]
ARCHIVE = """
[forecast]
interval = "1s"
[[vital]]
name = "archive_used_percent"
expr = 'last_over_time(archive_raw[1h])'
unit = "percent"
minimum = 0
maximum = 100
warning = 85
critical = 95
"""


def run(*words, code=0):
    done = subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE)
    equal(done.returncode, code, f"{words}: {done.stderr}")
    return done.stdout, done.stderr


def size_of(png):
    """Width and height of a PNG that is whole: signature, every chunk's checksum, one row of pixels after the other."""
    equal(png[:8], b"\x89PNG\r\n\x1a\n", "signature")
    at, packed, size = 8, b"", None
    while at < len(png):
        length, = struct.unpack(">I", png[at:at + 4])
        kind, data = png[at + 4:at + 8], png[at + 8:at + 8 + length]
        equal(struct.unpack(">I", png[at + 8 + length:at + 12 + length])[0], zlib.crc32(kind + data), f"checksum of {kind}")
        if kind == b"IHDR":
            size = struct.unpack(">II", data[:8])
        if kind == b"IDAT":
            packed += data
        at += 12 + length
    equal(kind, b"IEND", "the last chunk")
    equal(len(zlib.decompress(packed)), (size[0] + 1) * size[1], "pixels")
    return size


def write_series(path, value, days=3):
    with open(path, "w") as out:
        out.write("timestamp,value\n")
        for i in range(days * 288):
            out.write(f"{1_577_836_800 + 300 * i},{value(i)}\n")
    return path


def forecasts(where):
    noise = random.Random(1)
    path = write_series(where / "day.csv", lambda i: 50 + 20 * math.sin(i * 2 * math.pi / 288) + noise.gauss(0, 0.5))
    rows = list(csv.DictReader(io.StringIO(run("forecast", path, "--horizon", "60m")[0])))
    equal([row["lead"] for row in rows], [str(k) for k in range(1, 13)], "leads")
    for k, row in enumerate(rows):
        truth = 50 + 20 * math.sin((3 * 288 + k) * 2 * math.pi / 288)
        expect(abs(float(row["mean"]) - truth) < 3, f"{row} is far from {truth}")
        expect(float(row["lo95"]) <= float(row["lo80"]) <= float(row["hi80"]) <= float(row["hi95"]), f"ends of {row}")
    expect("\u28ff" > max(run("forecast", path, "--output", "graph")[0]) > "\u2800", "braille dots")
    picture = where / "day.png"
    equal(run("forecast", path, "--png", picture)[0], "", "nothing beside the picture")
    equal(size_of(picture.read_bytes()), (900, 360), "size")
    _, complaint = run("forecast", path, "--png", where / "no" / "day.png", code=1)
    expect("day.png" in complaint and "No such file or directory" in complaint, complaint)
    _, complaint = run("forecast", path, path, "--png", picture, code=1)
    expect("--png: a picture has one series" in complaint, complaint)


def limits(where):
    path = write_series(where / "disk.csv", lambda i: 20 + 8 * i / 288)
    rows = list(csv.DictReader(io.StringIO(run("forecast", path, "--limit", "100")[0])))
    equal(len(rows), 3 * 288, "a row a row")
    equal(rows[0]["eta"], "", "nothing is known at the first")
    last = float(rows[-1]["eta"])
    truth = (100 - float(rows[-1]["value"])) / 8 * 86400
    expect(abs(last / truth - 1) < 0.05, f"{last} s, truly {truth}")
    expect(float(rows[-1]["earliest"]) <= last <= float(rows[-1]["latest"]), f"ends of {rows[-1]}")
    equal({row["eta"] for row in csv.DictReader(io.StringIO(run("forecast", path, "--limit", "5", "--below")[0]))}, {""},
          "it never falls")
    _, complaint = run("forecast", path, "--limit", "nan", code=1)
    expect("--limit nan: expected a number" in complaint, complaint)
    _, complaint = run("forecast", path, "--rolling", "-1", code=1)
    expect("--rolling -1: expected 0 to" in complaint, complaint)
    _, complaint = run("forecast", path, "--limit", "100", "--rolling", "3", code=1)
    expect("--limit:" in complaint, complaint)


def replayed(where):
    noise = random.Random(2)
    path = write_series(where / "spike.csv", lambda i: (900 if i in (700, 701) else 50) + noise.gauss(0, 1))
    picture = where / "spike.png"
    out, _ = run("replay", path, "--png", picture)
    flagged = [i for i, row in enumerate(csv.DictReader(io.StringIO(out))) if row["flag"] == "1"]
    expect(700 in flagged, f"flagged: {flagged}")
    equal(size_of(picture.read_bytes()), (900, 360), "size")
    drawn, _ = run("replay", path, "--output", "graph")
    expect("\u28ff" > max(drawn) > "\u2800" and f"flagged  {len(flagged)} marked" in drawn, drawn)
    for option in (["--alarms-per-day"], ["--isolation-forest", "--contamination"]):
        _, said = run("replay", path, *option, "nan", code=2)
        expect(option[-1] in said and "nan" in said, said)
    wrong = where / "wrong.csv"
    wrong.write_text("time;value\r\n1;1,5\r\n2;x\r\n3;2;3\r\n4;1e300\r\n4;5\r\n")
    out, said = run("replay", wrong, code=1)
    rows = list(csv.DictReader(io.StringIO(out)))
    equal([row["state"] for row in rows], ["warming up", "left out", "warming up", "left out"], "states")
    expect(f'{wrong}:3: "x" is not a number' in said and f"{wrong}:4: 3 cells, expected 2" in said, said)
    expect(f"{wrong}:6: the first row that is not later" in said, said)


def live(agent):
    plan = agent.get("/operations/capacity").json
    equal(sorted(plan), ["capacity", "leaks", "performance", "timestamp"], "members of the plan")
    agent.command("capacity")
    connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(PATIENCE)
    connection.sock.connect(str(agent.socket))
    connection.request("GET", "/health/predictions/memory_usage_percent/chart.png?hours=1&width=640&height=200")
    answer = connection.getresponse()
    equal((answer.status, answer.headers["Content-Type"]), (200, "image/png"), "the picture")
    equal(size_of(answer.read()), (640, 200), "size")
    connection.close()
    equal(agent.get("/health/predictions/nothing/chart.png").status, 404, "no such vital")
    wait_for("a forecast", lambda: "forecast  " in agent.command("chart", "memory_usage_percent", "--hours", "1")[0])
    drawn, _ = agent.command("chart", "memory_usage_percent", "--hours", "1")
    expect("\u28ff" > max(drawn) > "\u2800" and "high 95 %" in drawn, drawn)
    picture = pathlib.Path(agent.socket).parent / "memory.png"
    agent.command("chart", "memory_usage_percent", "--png", picture)
    equal(size_of(picture.read_bytes()), (900, 360), "size")
    for flags in ([], ["--png", picture]):
        _, complaint = agent.command("chart", "nothing", *flags, code=1)
        expect("nothing" in complaint, complaint)
    _, complaint = agent.command("anomalies", "verdict", "5", "noise", code=1)
    expect("no anomaly 5" in complaint, complaint)
    agent.command("anomalies", "verdict", "5", "perhaps", code=2)
    agent.command("anomalies")
    _, missing = agent.command("backtest", "--vital", "memory_usage_percent")  # hardly any history: no row, and why
    expect("1 series are too short for a backtest yet: it needs 13 means of 5m at least (1h5m)" in missing, missing)
    _, complaint = agent.command("backtest", "--vital", "nothing", code=1)
    expect("--vital nothing: no vital of this name has a value" in complaint, complaint)


def planned(agent):
    """What fills, with labels as long as device mapper and mounts make them: each line is within a hundred columns."""
    labels = {"device": "/dev/mapper/volumegroup-of-the-archive-logical-volume", "host": "storage-17.example.net",
              "mountpoint": "/srv/some/very/long/path/of/a/mount/point"}
    text = ",".join(f'{key}="{value}"' for key, value in labels.items())
    now = int(time.time())
    lines = [f"{name}{{{text}}} {60 - (now - at) / 7200:.4f} {at}" for name in ("archive_used_percent", "archive_raw")
             for at in range(now - 6 * 3600, now, 60)]
    path = agent.directory / "archive.om"
    path.write_text("\n".join(lines) + "\n# EOF\n")
    agent.command("import", path)
    wait_for("the plan of the archive", lambda: any(row["metric_name"] == "archive_used_percent" for row in
                                                    agent.get("/operations/capacity").json["capacity"]))
    shown, _ = agent.command("capacity")
    equal([line for line in shown.splitlines() if len(line) > 100], [], "lines wider than a hundred columns")
    expect(all(f'{key}="{value}"' in shown for key, value in labels.items()), shown)
    expect("archive_used_percent" in shown and "pattern: line" in shown, shown)


def changes(agent):
    """What changed: the agent's start and a reload that a person asked for; and the same as a table."""
    kinds = [event["kind"] for event in agent.get("/health/events").json["events"]]
    expect("agent" in kinds, f"{kinds}")
    agent.command("reload")
    newest = agent.get("/health/events?kind=configuration&hours=1").json["events"]
    expect(newest and "configuration was applied" in newest[0]["text"], f"{newest}")
    shown, _ = agent.command("events")
    expect("configuration was applied" in shown and "was started" in shown, shown)
    equal(agent.get("/health/events?hours=never").status, 400, "hours that are none")


def main():
    with directory() as where:
        agent = Agent(BINARY, where, ARCHIVE)
        try:
            agent.start()
            wait_for("a vital", lambda: agent.query("memory_usage_percent"))
            run_tests([(test.__name__, lambda test=test: test(where)) for test in (forecasts, limits, replayed)] +
                      [("live", lambda: live(agent)), ("planned", lambda: planned(agent)), ("changes", lambda: changes(agent))])
        finally:
            agent.close()


if __name__ == "__main__":
    main()
