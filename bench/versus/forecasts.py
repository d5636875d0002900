#!/usr/bin/python3
"""Forecasts of the same series from the same origins by nexus-agent and by R's forecast package, side by side.

usage: bench/versus/forecasts.py FILE.csv... [--build build/release] [--horizon 60m] [--origins 3] [--season ROWS]
                                 [--methods thetaf,ets,stlf] [--history 4032]

FILE.csv: a column of times and one of values, evenly spaced (Debian's r-cran-forecast must be installed). nexus-agent reads each
file once, row by row, and says what it foresaw at each origin (`forecast --rolling`); R is given the rows before the origin, the last
--history of them, and --season as the frequency (0: none; 288 rows are a day of five minutes).

Per method: MASE (mean absolute error by the mean absolute change of those rows; the mean over files), the share of rows inside the 80
and 95 % intervals, the mean interval score of 95 % on the same scale, and CPU seconds of all forecasts: of R without its start, of
nexus-agent with everything, the learning of all rows included. Below stand the last value and the value a season before.
"""
import argparse
import csv
import io
import pathlib
import resource
import subprocess
import sys
import tempfile

R = r"""
suppressMessages(library(forecast))
args <- commandArgs(TRUE); method <- args[2]
begin <- proc.time()
for (line in readLines(args[1])) {
  p <- strsplit(line, ",", fixed = TRUE)[[1]]
  m <- as.integer(p[3]); h <- as.integer(p[4]); y <- as.numeric(p[-(1:4)])
  seasonal <- m > 1 && length(y) > 2 * m
  y <- ts(y, frequency = if (seasonal) m else 1)
  level <- c(80, 95)
  f <- tryCatch(switch(method,
    thetaf = thetaf(y, h = h, level = level),
    ets = forecast(ets(y), h = h, level = level),
    stlf = if (seasonal) stlf(y, h = h, level = level) else forecast(ets(y), h = h, level = level)),
    error = function(e) NULL)
  if (is.null(f)) next
  n <- function(x) format(as.numeric(x), digits = 12, trim = TRUE)
  writeLines(paste(p[1], p[2], seq_len(h), n(f$mean), n(f$lower[, 1]), n(f$upper[, 1]), n(f$lower[, 2]), n(f$upper[, 2]), sep = ","))
}
spent <- proc.time() - begin
cat("cpu,", spent[["user.self"]] + spent[["sys.self"]], "\n", sep = "")
"""


def values_of(path):
    with open(path, newline="") as text:
        rows = list(csv.reader(text))[1:]
    return [float(r[-1]) if r[-1] else float("nan") for r in rows]


def spent():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def agent(binary, files, horizon, origins):
    """{(file, origin): [[mean, lo80, hi80, lo95, hi95], ...]} and CPU seconds."""
    begin = spent()
    answers = {}
    for path in files:
        text = subprocess.run([binary, "forecast", path, "--horizon", horizon, "--rolling", str(origins)], check=True,
                              capture_output=True, text=True).stdout
        for row in csv.DictReader(io.StringIO(text)):
            key = (path, int(row["origin"]))
            answers.setdefault(key, []).append([float(row[c]) for c in ("mean", "lo80", "hi80", "lo95", "hi95")])
    return answers, spent() - begin


def by_r(method, tasks, script):
    done = subprocess.run(["Rscript", script, tasks, method], check=True, capture_output=True, text=True).stdout
    answers, cpu = {}, 0.0
    for line in done.splitlines():
        cells = line.split(",")
        if cells[0] == "cpu":
            cpu = float(cells[1])
        else:
            answers.setdefault((cells[0], int(cells[1])), []).append([float(c) for c in cells[3:8]])
    return answers, cpu


def score(answers, series, keys, history):
    """Means over files of MASE and MSIS, over rows of coverage; over the keys that all methods have answered."""
    files, inside80, inside95, rows = {}, 0, 0, 0
    for path, origin in keys:
        y = series[path]
        past = y[max(0, origin - history):origin]
        scale = sum(abs(b - a) for a, b in zip(past, past[1:])) / (len(past) - 1)
        if not scale > 0:
            continue
        error = wide = 0.0
        points = answers[(path, origin)]
        for point, truth in zip(points, y[origin:]):
            mean, lo80, hi80, lo95, hi95 = point
            error += abs(mean - truth) / scale
            wide += (hi95 - lo95 + 40 * max(0, lo95 - truth) + 40 * max(0, truth - hi95)) / scale
            inside80 += lo80 <= truth <= hi80
            inside95 += lo95 <= truth <= hi95
            rows += 1
        files.setdefault(path, []).append((error / len(points), wide / len(points)))
    mean = lambda i: sum(sum(v[i] for v in f) / len(f) for f in files.values()) / len(files)
    return mean(0), inside80 / rows, inside95 / rows, mean(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--horizon", default="60m")
    parser.add_argument("--origins", type=int, default=3)
    parser.add_argument("--season", type=int, default=288)
    parser.add_argument("--methods", default="thetaf,ets,stlf")
    parser.add_argument("--history", type=int, default=4032)
    options = parser.parse_args()
    series = {path: values_of(path) for path in options.files}
    results = {"nexus-agent": agent(pathlib.Path(options.build, "nexus-agent"), options.files, options.horizon, options.origins)}
    asked = results["nexus-agent"][0]
    if not asked:
        sys.exit("forecasts.py: nexus-agent gave no forecast")
    with tempfile.TemporaryDirectory() as place:
        tasks, script = pathlib.Path(place, "tasks"), pathlib.Path(place, "forecasts.R")
        script.write_text(R)
        with open(tasks, "w") as out:
            for (path, origin), points in asked.items():
                past = series[path][max(0, origin - options.history):origin]
                out.write(",".join([path, str(origin), str(options.season), str(len(points))] + [repr(v) for v in past]) + "\n")
        for method in options.methods.split(","):
            results["R " + method] = by_r(method, tasks, script)
    flat = lambda v, n: [[v] * 5] * n
    results["last value"] = ({k: flat(series[k[0]][k[1] - 1], len(p)) for k, p in asked.items()}, 0.0)
    if options.season > 1:
        def before(path, origin, k):
            at = origin + k - options.season * (k // options.season + 1)
            return series[path][at] if at >= 0 else series[path][origin - 1]
        results["a season before"] = (
            {k: [[before(*k, i)] * 5 for i in range(len(p))] for k, p in asked.items()}, 0.0)
    keys = set.intersection(*(set(answers) for answers, _ in results.values()))
    print(f"{len(keys)} forecasts of {len(options.files)} series, {options.horizon} ahead")
    print(f"{'':18}{'MASE':>9}{'ours/it':>9}{'in 80 %':>9}{'in 95 %':>9}{'MSIS95':>10}{'CPU s':>9}")
    ours = None
    for name, (answers, cpu) in results.items():
        mase, in80, in95, msis = score(answers, series, keys, options.history)
        ours = ours if ours is not None else mase
        print(f"{name:18}{mase:9.3f}{ours / mase:9.2f}{in80:9.3f}{in95:9.3f}{msis:10.2f}{cpu:9.2f}")


if __name__ == "__main__":
    main()
