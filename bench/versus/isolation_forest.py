#!/usr/bin/python3
"""The isolation forest of nexus-agent beside scikit-learn's (Debian: python3-sklearn) on the same rows, over several seeds each.

usage: bench/versus/isolation_forest.py FILE.csv... [--build build/release] [--train 0.5] [--seeds 10] [--label COLUMN]

FILE.csv: a column "timestamp" (or none) and columns of numbers without holes. Both grow 100 trees of 256 rows from the first --train of
the rows and score them all. --label names a column of 0 and 1 that is not shown to the forests; then AUPRC is compared as well.

Two forests with other random numbers never agree exactly, and neither do two of scikit-learn's. So the question is whether ours look
like one more seed: per file the range over the seeds of mean, standard deviation and quantiles of score_samples, the mean
Kolmogorov-Smirnov distance and rank correlation of pairs within scikit-learn's seeds and of pairs of one of ours and one of theirs.
That the same trees give the same scores (to 1e-9) is a test: tests/analyze/isolation_forest_test.cpp.

CPU: of growing one forest, and of one score in a batch of all rows.
"""
import argparse
import csv
import io
import itertools
import pathlib
import subprocess
import tempfile
import time

import numpy as np
from scipy.stats import ks_2samp, spearmanr
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score


def read(path, label):
    with open(path, newline="") as text:
        rows = list(csv.reader(text))
    names = rows[0]
    data = {n: [r[i] for r in rows[1:]] for i, n in enumerate(names)}
    wanted = [n for n in names if n not in ("timestamp", label)]
    x = np.array([[float(v) for v in data[n]] for n in wanted]).T.astype(np.float32)
    y = np.array([int(float(v)) for v in data[label]]) if label else None
    return x, y


def ours(binary, x, train, seeds):
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as out:
        out.write(",".join(f"c{i}" for i in range(x.shape[1])) + "\n")
        np.savetxt(out, x, delimiter=",", fmt="%.9g")
        out.flush()
        done = subprocess.run([binary, out.name, str(train)] + [str(s + 1) for s in range(seeds)], check=True,
                              capture_output=True, text=True)
    spent = dict(line.split() for line in done.stderr.splitlines())
    return np.loadtxt(io.StringIO(done.stdout), delimiter=",", ndmin=2).T, float(spent["fit"]), float(spent["score"])


def theirs(x, train, seeds):
    scores, fit, score = [], 0.0, 0.0
    for seed in range(seeds):
        begin = time.process_time()
        forest = IsolationForest(n_estimators=100, max_samples=min(256, train), random_state=seed).fit(x[:train])
        grown = time.process_time()
        scores.append(forest.score_samples(x))
        fit, score = fit + grown - begin, score + time.process_time() - grown
    return np.array(scores), 1e3 * fit / seeds, 1e6 * score / seeds / len(x)


def span(values):
    return f"{min(values):.4f} to {max(values):.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--train", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--label")
    options = parser.parse_args()
    for path in options.files:
        x, y = read(path, options.label)
        train = max(2, int(len(x) * options.train))
        a, fit_a, score_a = ours(str(pathlib.Path(options.build, "bench/forest_bench")), x, train, options.seeds)
        b, fit_b, score_b = theirs(x, train, options.seeds)
        print(f"{path}: {len(x)} rows, {x.shape[1]} columns, {train} to learn from, {options.seeds} seeds each")
        print(f"  {'score_samples':16}{'nexus-agent':>22}{'scikit-learn':>22}")
        print(f"  {'mean':16}{span(a.mean(1)):>22}{span(b.mean(1)):>22}")
        print(f"  {'deviation':16}{span(a.std(1)):>22}{span(b.std(1)):>22}")
        for q in (0.01, 0.1, 0.5, 0.9, 0.99):
            print(f"  {f'quantile {q}':16}{span(np.quantile(a, q, axis=1)):>22}{span(np.quantile(b, q, axis=1)):>22}")
        if y is not None:
            rank = lambda s: [average_precision_score(y, -v) for v in s]
            print(f"  {'AUPRC':16}{span(rank(a)):>22}{span(rank(b)):>22}")
        within = list(itertools.combinations(b, 2))
        across = list(itertools.product(a, b))
        distance = lambda pairs: np.mean([ks_2samp(p, q)[0] for p, q in pairs])
        order = lambda pairs: np.mean([spearmanr(p, q)[0] for p, q in pairs])
        print(f"  pairs            KS ours-theirs {distance(across):.4f}, theirs-theirs {distance(within):.4f}; "
              f"rank correlation {order(across):.4f}, {order(within):.4f}")
        print(f"  CPU              fit {fit_a:.2f} ms, {fit_b:.1f} ms ({fit_b / fit_a:.0f}x); "
              f"score {score_a:.2f} us, {score_b:.1f} us ({score_b / score_a:.0f}x)")


if __name__ == "__main__":
    main()
