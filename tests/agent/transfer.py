"""`nexus-agent export` and `import`: out of one agent, judged by promtool, into another, running and stopped.

    transfer.py NEXUS_AGENT
"""
import contextlib
import csv
import gzip
import io
import json
import os
import pty
import random
import re
import subprocess
import sys
import time

from harness import Agent, directory, equal, expect, run_tests, wait_for
from prometheus import program

BINARY = sys.argv[1]
LIMIT = 20_000  # of the taker's series


def values(agent, name, at):
    answer = agent.command_json("query", f"{name}[1h]", "--time", at)
    return {tuple(sorted(series["metric"].items())): series["values"] for series in answer["data"]["result"]}


def there_and_back(giver, taker, where):
    end = int(time.time()) - 1
    text, _ = giver.command("export", "--match", "node_load1", "--match", '{__name__=~"node_cpu_seconds_total",cpu="0"}',
                            "--start", end - 60, "--end", end)
    expect(text.startswith("# TYPE node_cpu_seconds_total unknown\n") and text.endswith("# EOF\n"), text[:200])
    file = where / "there.om"
    file.write_text(text.replace("node_", "other_"))
    blocks = subprocess.run([program("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(file), str(where / "blocks")],
                            capture_output=True, text=True, timeout=60)
    equal(blocks.returncode, 0, f"promtool reads it: {blocks.stderr}")
    packed = where / "there.om.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    out, _ = taker.command("import", packed)
    count = sum(1 for line in text.splitlines() if not line.startswith("#"))
    expect(count > 8, f"only {count} samples")
    equal(out, f"{packed}: {count} samples imported, 0 held already, 0 lines refused\n", "import")
    expect(values(taker, "other_load1", end), "what was imported is there when the command ends")
    out, _ = taker.command("import", packed)
    equal(out, f"{packed}: 0 samples imported, {count} held already, 0 lines refused\n", "import again")
    for name in ("load1", "cpu_seconds_total{cpu='0'}"):
        given = {tuple(pair for pair in labels if pair[0] != "__name__"): points[:]
                 for labels, points in values(giver, "node_" + name, end).items()}
        wait_for("the last sample", lambda: values(taker, "other_" + name, end))
        taken = {tuple(pair for pair in labels if pair[0] != "__name__"): points
                 for labels, points in values(taker, "other_" + name, end).items()}
        equal(set(taken), set(given), name)
        for labels, points in taken.items():
            equal([point for point in given[labels] if point[0] >= end - 60], points, f"{name} {labels}")


def refused(giver, taker, where):
    now = int(time.time())
    file = where / "bad.om"
    file.write_text(f"good_one 1 {now - 10}\nnot a sample\ngood_one 2 {now - 9}\ngood_one 3 {now - 9}\nold 1 {now - 90000}\n"
                    f"node_load1 777 {now - 3600}\n# EOF\n")
    out, said = taker.command("import", file, code=1)
    equal(out, f"{file}: 3 samples imported, 1 held already, 2 lines refused\n", "what is good is taken")
    equal(said.splitlines(), ['line 2: expected a number as the value, got "a"', "line 5: older than the history keeps (1d)"],
          "what is bad is told")
    # The series that the agent records has its past and its present.
    equal(taker.query(f"node_load1 @ {now - 3600}")[0]["value"][1], "777", "the past")
    expect(taker.query("node_load1")[0]["value"][1] != "777", "the present")
    expect(taker.command("import", where / "nothing", code=1)[1].startswith("open "), "a file that is not there")
    damaged = gzip.compress(f"good_two 1 {now - 10}\n".encode() * 1000)[:40]
    (where / "damaged.gz").write_bytes(damaged)
    taker.command("import", where / "damaged.gz", code=1)
    found = where / "found.om"
    found.write_text(f"found 1 {now - 10}\n")
    ran = subprocess.run([BINARY, "--config", str(taker.file), "import", str(found)], capture_output=True, text=True, timeout=60)
    equal((ran.returncode, ran.stdout), (0, f"{found}: 1 samples imported, 0 held already, 0 lines refused\n"), f"without --socket: {ran.stderr}")
    equal(taker.tcp("POST", "/api/v1/admin/import", "x 1 2\n", {"Content-Type": "text/plain"}).status, 401,
          "administrators only")
    records = [record["what"] for record in taker.command_json("audit")["records"]]
    expect("history.import" in records, f"audited: {records}")


def many(giver, taker, where):
    """More than one request."""
    now = int(time.time())
    file = where / "many.om"
    with file.open("w") as out:
        for series in range(200):
            for i in range(500):
                out.write(f'many{{series="{series}"}} {i} {now - 600 + i}\n')
        out.write("# EOF\n")
    out, _ = taker.command("import", file)
    equal(out, f"{file}: 100000 samples imported, 0 held already, 0 lines refused\n", "import")
    wait_for("all of them", lambda: [one["value"][1] for one in taker.query(f"sum(count_over_time(many[1h] @ {now + 60}))")] == ["100000"])


def over_limit(giver, taker, where):
    """More series than the agent keeps: those that there is no room for are refused and counted, on a terminal with how far it has got."""
    now = int(time.time())
    file = where / "series.om"
    file.write_text("".join(f'crowd{{series="{i}"}} 1 {now - 60 + i % 7}\n' for i in range(30_000)) + "# EOF\n")
    ours, theirs = pty.openpty()
    ran = subprocess.Popen([BINARY, "--socket", str(taker.socket), "import", str(file)], stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # EIO: nobody writes any more
        while piece := os.read(ours, 65536):
            said += piece
    os.close(ours)
    out = ran.communicate(timeout=300)[0]
    said = said.decode()
    match = re.fullmatch(rf"{file}: (\d+) samples imported, 0 held already, (\d+) lines refused\n", out)
    expect(match and ran.returncode == 1, f"{ran.returncode} {out} {said[-2000:]}")
    imported, refused = map(int, match.groups())
    equal(imported + refused, 30_000, "each line is imported or refused")
    expect(0 < imported < LIMIT, f"{imported} of a limit of {LIMIT}")
    expect(re.search(r"\r\x1b\[K\d+ lines, \d+ of them refused", said), f"progress: {said[:300]}")
    expect(f"the limit of {LIMIT} series is reached" in said, said[:2000])
    expect(f"{refused} of the refused lines are of series beyond the limit of series" in said, said[-300:])
    equal(taker.query(f"count(count_over_time(crowd[1h] @ {now + 60}))")[0]["value"][1], str(imported), "what was imported is there")
    equal(taker.get("/-/healthy").status, 200, "the agent afterwards")


def as_csv(giver, taker, where):
    end = int(time.time()) - 1
    out, _ = giver.command("export", "--match", 'node_cpu_seconds_total{cpu="0",mode="idle"}', "--start", end - 5, "--end", end,
                           "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    expect(len(rows) >= 4, out)
    equal(rows[0]["series"], 'node_cpu_seconds_total{cpu="0",mode="idle"}', "the series")
    expect(end - 5 <= float(rows[0]["time"]) <= end and float(rows[0]["value"]) > 0, out)
    _, said = giver.command("export", "--match", "up{", code=1)
    expect("parse error" in said, said)
    giver.command("export", "--match", "up", "--end", "soon", code=2)
    giver.command("export", code=2)


def directories(giver, where):
    """The data directory of a stopped agent: query, export, import, and the agent again."""
    def run(*words, code=0):
        done = subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True, timeout=120)
        equal(done.returncode, code, f"{words}: {done.stderr}")
        return done.stdout, done.stderr

    _, said = run("query", "node_load1", "--data-dir", giver.data, code=1)
    expect("an agent runs on this directory" in said, said)
    # Not what is still on its way into the history.
    end = int(time.time()) - 1
    wait_for("samples after the end", lambda: giver.query(f"timestamp(node_load1) > {end}"))
    running = json.loads(giver.command("query", f"node_load1[30s] @ {end}", "--output", "json")[0])
    giver.stop()
    out, _ = run("query", f"node_load1[30s] @ {end}", "--data-dir", giver.data, "--format", "json")
    equal(json.loads(out)["data"], running["data"], "the same samples")
    expect(re.search(r'\[1\d{9}(\.\d{1,3})?,"', out) and not re.search(r"\dE\d", out), f"times as the API writes them: {out}")
    expect(run("query", "node_load1", "--data-dir", giver.data)[0].startswith("node_load1 => "), "the newest sample")
    _, said = run("query", "node_load1[", "--data-dir", giver.data, code=1)
    expect("parse error" in said, said)
    _, said = run("query", "node_load1", "--data-dir", where / "nowhere", code=1)
    expect("there is no history" in said, said)
    # Out of it, into a new directory, and out of that.
    matches = ("--match", '{__name__=~"node_(load1|cpu_seconds_total|memory_.*)"}')
    text, _ = run("export", "--data-dir", giver.data, *matches)
    expect(text.count("\n") > 100, text)
    (where / "all.om.gz").write_bytes(gzip.compress(text.encode()))
    out, _ = run("import", where / "all.om.gz", "--data-dir", where / "fresh")
    expect(out.endswith(" 0 held already, 0 lines refused\n"), out)
    equal(run("export", "--data-dir", where / "fresh", *matches)[0], text, "there and back")
    # Names that are quoted in a selector are quoted when they are shown.
    odd = '{"odd name","a.b"="c\\"d"}'
    (where / "odd.om").write_text(f"{odd} 5 {end}\n# EOF\n")
    run("import", where / "odd.om", "--data-dir", where / "fresh")
    out, _ = run("query", odd, "--data-dir", where / "fresh", "--time", end)
    equal(out, f"{odd} => 5 @[{end}]\n", "a name that can be asked for")
    # Into the agent's own directory, an hour before it began; then it runs again.
    past = "".join(f"node_load1 {i} {end - 3600 + i}\n" for i in range(1, 601))
    (where / "past.om").write_text(past)
    out, _ = run("import", where / "past.om", "--data-dir", giver.data)
    equal(out, f"{where / 'past.om'}: 600 samples imported, 0 held already, 0 lines refused\n", "import")
    out, _ = run("import", where / "past.om", "--data-dir", giver.data)
    equal(out, f"{where / 'past.om'}: 0 samples imported, 600 held already, 0 lines refused\n", "import again")
    (where / "future.om").write_text(f"node_load1 1 {int(time.time()) + 86400}\nahead 1 {int(time.time()) + 5}\n")
    out, said = run("import", where / "future.om", "--data-dir", giver.data, code=1)
    equal(out, f"{where / 'future.om'}: 1 samples imported, 0 held already, 1 lines refused\n", "of the future")
    equal(said, "line 1: in the future\n", "of the future")
    # What is older than the day that rows are kept becomes minutes, and answers say so.
    begin = (end - 30 * 3600) // 3600 * 3600
    (where / "old.om").write_text("".join(f"ancient_total {i} {begin + i * 10}\n" for i in range(1, 1081)))
    run("import", where / "old.om", "--data-dir", giver.data)
    giver.start()
    hour = f"count_over_time(ancient_total[1h] @ {begin + 7200})"
    wait_for("minutes of the old samples", lambda: [one["value"][1] for one in giver.query(hour)] == ["360"])  # of samples
    answer = giver.get(f"/api/v1/query?query=ancient_total&time={begin + 5000}").json
    equal(answer["data"]["result"][0]["value"][1], str((begin + 5000) // 60 * 6 - begin // 60 * 6), "the last of its minute")
    expect(answer["infos"][0].startswith("served from the tier of 1m"), f"{answer}")
    _, said = giver.command("query", "ancient_total", "--time", begin + 5000)
    expect("served from the tier of 1m" in said, said)
    expect("infos" not in giver.get("/api/v1/query?query=node_load1").json, "fresh samples")
    equal(giver.query(f"count_over_time(node_load1[10m] @ {end - 3000})")[0]["value"][1], "600", "imported")
    equal(giver.query(f"count_over_time(node_load1[30s] @ {end})")[0]["value"][1],
          str(len(running["data"]["result"][0]["values"])), "its own")


def full_disk(where):
    """A data directory on a file system that is too small: what is said to be imported is there, the rest is told."""
    folder = where / "small"
    folder.mkdir()
    now = int(time.time())
    numbers = random.Random(1)
    lines = 60_000
    (where / "large.om").write_text("".join(f"large {numbers.getrandbits(53)} {now - lines + i}\n" for i in range(lines)))

    def script(*words):
        steps = (f"mount -t tmpfs -o size=200k none {folder}", " ".join(map(str, words)),
                 f"{BINARY} query 'count_over_time(large[1d])' --data-dir {folder}/data")
        return subprocess.run(["unshare", "-m", "--propagation", "private", "sh", "-c", "\n".join(steps)], capture_output=True, text=True,
                              timeout=120)
    ran = script(BINARY, "import", where / "large.om", "--data-dir", folder / "data")
    match = re.search(r"large.om: (\d+) samples imported, 0 held already, (\d+) lines refused\n.*\} => (\d+) ", ran.stdout, re.DOTALL)
    expect(match, f"{ran.stdout} {ran.stderr}")
    imported, refused, there = map(int, match.groups())
    equal(imported + refused, lines, "each line is imported or refused")
    expect(0 < imported <= there < lines, ran.stdout)
    expect("No space left on device" in ran.stderr, ran.stderr)


def main():
    with directory() as where:
        giver = Agent(BINARY, where, name="giver")
        taker = Agent(BINARY, where, f"[collect]\nmax_series = {LIMIT}\n", name="taker")
        try:
            giver.start()
            taker.start()
            wait_for("some samples", lambda: giver.query("count_over_time(node_load1[1m]) > 8"))
            run_tests([(test.__name__, lambda test=test: test(giver, taker, where))
                       for test in (there_and_back, refused, many, as_csv, over_limit)] +
                      [("directories", lambda: directories(giver, where)), ("full_disk", lambda: full_disk(where))])
        finally:
            giver.close()
            taker.close()


if __name__ == "__main__":
    main()
