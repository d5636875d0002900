#!/usr/bin/python3
"""Whether forecast intervals cover what they say: the tables of bench/README.md, "Forecasts", in one command.

usage: bench/versus/coverage.py [DIR/SET[:N]...] [--synthetic] [--build build/release] [--only hour,two-days] [--draws 2000]

DIR/SET: a folder of series SERIES.csv (a time and a value in every row, five minutes apart, none missing); columns of one server are
named SERVER_mNUMBER. N: how many origins a series has at the scorer (3). Of every set:

  scorer      an hour ahead from the scorer's own N origins a series
  hour        an hour ahead, every 13 rows of the second half
  two-days    hourly means, two days ahead, every 7 rows of the second half
  day         hourly means, a day ahead, every 5 rows of the second half
  half-hours  half-hourly means, a day ahead, every 7 rows of the second half

Means are of whole series of two weeks at least. --synthetic adds series that are made here, the same every time: of two weeks and of
six weeks of hours, two days ahead, and of ten days of five minutes, an hour ahead.

Per row: MASE (by the mean absolute change of the first half, mean over series), the share of values inside the 80 and the 95 %
interval, the 90 % range of each (bootstrap: servers are drawn, then blocks of origins whose leads overlap), the shares at the last
lead, and the interval scores of 80 and of 95 % on MASE's scale. nexus-agent reads each series once, row by row.
"""
import argparse
import csv
import io
import math
import pathlib
import random
import re
import subprocess
import sys
import tempfile

# name: rows in a mean, leads, rows between origins, the least rows
PLANS = {"scorer": (1, 12, 0, 1), "hour": (1, 12, 13, 1), "two-days": (12, 48, 7, 336), "day": (12, 24, 5, 336), "half-hours": (6, 48, 7, 672)}
BASE = 1577836800  # a midnight


def series_of(folder):
    out = {}
    for path in sorted(folder.glob("*.csv")):
        with open(path, newline="") as text:
            out[path.stem] = [float(row[-1]) for row in list(csv.reader(text))[1:]]
    return out


def means(values, rows):
    return [sum(values[i:i + rows]) / rows for i in range(0, len(values) // rows * rows, rows)] if rows > 1 else values


def forecasts(binary, values, step, leads, every, origins):
    """{origin: [[mean, lo80, hi80, lo95, hi95], ...]}"""
    first, last = len(values) // 2, len(values) - leads
    if last < first:
        return {}
    count = last - first + 1 if every else origins
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        file.write("timestamp,value\n" + "".join(f"{BASE + i * step},{v!r}\n" for i, v in enumerate(values)))
        file.flush()
        text = subprocess.run([binary, "forecast", file.name, "--horizon", f"{leads * step // 60}m", "--rolling", str(count)], check=True,
                              capture_output=True, text=True).stdout
    out = {}
    for row in csv.DictReader(io.StringIO(text)):
        origin = int(row["origin"])
        if not every or (origin - first) % every == 0:
            out.setdefault(origin, []).append([float(row[c]) for c in ("mean", "lo80", "hi80", "lo95", "hi95")])
    return out


def score(values, answers):
    """Of every origin: values, inside 80, inside 95, the last inside 80, 95, then means of error and both interval scores."""
    half = values[:len(values) // 2]
    scale = sum(abs(b - a) for a, b in zip(half, half[1:])) / (len(half) - 1)
    if not scale > 1e-9:
        return []
    out = []
    for origin, points in sorted(answers.items()):
        sums = [0.0] * 8
        for (mean, lo80, hi80, lo95, hi95), y in zip(points, values[origin:]):
            last = [lo80 <= y <= hi80, lo95 <= y <= hi95]
            outside = lambda lo, hi: max(0, lo - y) + max(0, y - hi)
            sums[:5] = [sums[0] + 1, sums[1] + last[0], sums[2] + last[1], last[0], last[1]]
            sums[5] += abs(mean - y) / scale
            sums[6] += (hi80 - lo80 + 10 * outside(lo80, hi80)) / scale
            sums[7] += (hi95 - lo95 + 40 * outside(lo95, hi95)) / scale
        out.append(sums[:5] + [s / len(points) for s in sums[5:]])
    return out


def ranges(scores, block, draws):
    """The 90 % ranges of both shares, for people."""
    servers = {}
    for name, rows in scores.items():
        blocks = [rows[i:i + block] for i in range(0, len(rows), block)]
        servers.setdefault(re.sub(r"_m\d+$", "", name), []).append([[sum(r[i] for r in b) for i in range(3)] for b in blocks])
    servers = list(servers.values())
    dice = random.Random(1)
    shares = ([], [])
    for _ in range(draws):
        total = [0, 0, 0]
        for columns in dice.choices(servers, k=len(servers)):
            most = max(len(c) for c in columns)
            for at in dice.choices(range(most), k=most):  # columns of a server are wrong together
                for column in columns:
                    if at < len(column):
                        total = [a + b for a, b in zip(total, column[at])]
        for i in range(2):
            shares[i].append(total[i + 1] / max(total[0], 1))
    quantile = lambda v, p: sorted(v)[min(int(p * len(v)), len(v) - 1)]
    return [f"({quantile(s, 0.05):.3f}-{quantile(s, 0.95):.3f})" if draws else "" for s in shares]


def row(label, scores, block, draws):
    scores = {name: rows for name, rows in scores.items() if rows}
    if not scores:
        return
    every = [r for rows in scores.values() for r in rows]
    values = sum(r[0] for r in every)
    share = [sum(r[i] for r in every) / (values if i < 3 else len(every)) for i in range(1, 5)]
    mean = [sum(sum(r[i] for r in rows) / len(rows) for rows in scores.values()) / len(scores) for i in range(5, 8)]
    range80, range95 = ranges(scores, block, draws)
    mark = lambda v, low, high: " " if low <= v <= high else "*"
    print(f"{label:32}{len(scores):7}{len(every):8}{mean[0]:8.3f}{share[0]:7.3f}{mark(share[0], 0.77, 0.83)}{range80:13}"
          f"{share[1]:7.3f}{mark(share[1], 0.93, 0.97)}{range95:13}{share[2]:8.3f}{share[3]:7.3f}{mean[1]:9.2f}{mean[2]:9.2f}",
          flush=True)


def autoregression(dice, rows, factor):
    value = dice.gauss(0, 1) / math.sqrt(1 - factor * factor)
    for _ in range(rows):
        value = factor * value + dice.gauss(0, 1)
        yield value


def walk(dice, rows):
    value = 1000.0
    for _ in range(rows):
        value += dice.gauss(0, 1)
        yield value


def shifting(dice, rows, day):
    level = 0.0
    for i in range(rows):
        if i % (4 * day) == 0:
            level = dice.gauss(0, 4)
        yield 20 + level + dice.gauss(0, 1)


def student(dice, freedom):
    return dice.gauss(0, 1) / math.sqrt(dice.gammavariate(freedom / 2, 2) / freedom)


def synthetic(dice, rows, day):
    """{kind: values} of one drawing."""
    cycle = [3 * math.sin(2 * math.pi * i / day) for i in range(rows)]
    return {
        "white noise": [10 + dice.gauss(0, 1) for _ in range(rows)],
        "a day and noise": [10 + c + dice.gauss(0, 1) for c in cycle],
        "heavy tails": [30 + c + student(dice, 3) for c in cycle],
        "autoregression of 0.9": [20 + v for v in autoregression(dice, rows, 0.9)],
        "a day and AR of 0.8": [20 + c + v for c, v in zip(cycle, autoregression(dice, rows, 0.8))],
        "random walk": list(walk(dice, rows)),
        "growing noise": [50 + c + dice.gauss(0, 1 + 2 * i / rows) for i, c in enumerate(cycle)],
        "new level every 4 days": list(shifting(dice, rows, day)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--only", default=",".join(PLANS))
    parser.add_argument("--draws", type=int, default=2000)
    options = parser.parse_args()
    if not options.sets and not options.synthetic:
        parser.error("neither a folder of series nor --synthetic")
    binary = pathlib.Path(options.build, "nexus-agent")
    print(f"{'':32}{'series':>7}{'origins':>8}{'MASE':>8}{'in 80 %':>8}{'':13}{'in 95 %':>8}{'':13}{'last 80':>8}{'95':>7}"
          f"{'score 80':>9}{'95':>9}")
    for plan in options.only.split(","):
        mean, leads, every, least = PLANS[plan]
        for argument in options.sets:
            folder, _, count = argument.partition(":")
            scores = {}
            for name, values in series_of(pathlib.Path(folder)).items():
                values = means(values, mean)
                if len(values) >= least:
                    scores[name] = score(values, forecasts(binary, values, 300 * mean, leads, every, int(count or 3)))
            row(f"{plan} {pathlib.Path(folder).name}", scores, math.ceil(leads / every) if every else 1, options.draws)
    if not options.synthetic:
        return
    for label, rows, day, step, leads, every, drawings in (("2 weeks", 336, 24, 3600, 48, 7, 20), ("6 weeks", 1000, 24, 3600, 48, 7, 12),
                                                           ("hour", 2880, 288, 300, 12, 13, 8)):
        dice = random.Random(rows)
        drawn = [synthetic(dice, rows, day) for _ in range(drawings)]
        for kind in drawn[0]:
            scores = {str(i): score(d[kind], forecasts(binary, d[kind], step, leads, every, 0)) for i, d in enumerate(drawn)}
            row(f"{kind}, {label}", scores, math.ceil(leads / every), options.draws)


if __name__ == "__main__":
    sys.exit(main())
