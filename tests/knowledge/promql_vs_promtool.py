#!/usr/bin/python3
"""Differential test: seeded random expressions at instants, evaluated by promtool 2.42 and by us.

usage: promql_vs_promtool.py KNOWLEDGE_TEST [SEED [COUNT]]
(or NEXUS_PROMQL_SEED and NEXUS_PROMQL_COUNT in the environment)

promtool knows stale markers, which the comparison with a server cannot have (promql_vs_prometheus.py). What is
compared how: promql_corpus.py.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

from promql_corpus import INTERVAL, OVERFLOWS, SHAKY, Generator, labels_of, run_ours, same_value

SERIES = re.compile(r"((?:[a-zA-Z_:][\w:]*)?(?:\{[^}]*\})?) ([-+.\w]+)(?:, |$)")


def values_of(samples):
    return " ".join("_" if value is None else value for value in samples)


def run_promtool(series, cases, folder):
    path = os.path.join(folder, "cases.yml")
    millis = round(INTERVAL * 1000)
    with open(path, "w", encoding="utf-8") as out:
        out.write("evaluation_interval: 1m\ntests:\n- interval: %dms\n  input_series:\n" % millis)
        for name, samples in series:
            out.write("  - series: '%s'\n    values: '%s'\n" % (name, values_of(samples)))
        out.write("  promql_expr_test:\n")
        for time, text in cases:
            # A sample that nothing has: every case then fails and promtool prints what it got.
            out.write("  - expr: %s\n    eval_time: %dms\n    exp_samples: [{labels: no, value: 1}]\n"
                      % (json.dumps(text), round(time * 1000)))
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)
    results = []
    output = done.stdout + done.stderr
    for block in output.split("    expr: ")[1:]:
        error = re.search(r", err: (.*)", block)
        got = re.search(r"got: ?(.*)", block)
        if error:
            results.append("error: " + error.group(1))
        elif got and got.group(1) == "nil":
            results.append({})
        else:
            results.append({labels_of(m.group(1)): float(m.group(2)) for m in SERIES.finditer(got.group(1))})
    return results, output.strip()


def run_us(binary, series, cases, folder):
    commands = ["load %d\t%s %s" % (round(INTERVAL * 1000), name, values_of(samples)) for name, samples in series]
    commands += ["eval %d\t%s" % (round(time * 1000), text) for time, text in cases]
    results = []
    for lines in run_ours(binary, commands, folder):
        if isinstance(lines, str):
            results.append(lines)
        else:
            pairs = [line.split("\t") for line in lines]
            results.append({labels_of(name): float(value) for name, value in pairs})
    return results


def same(theirs, ours, text):
    near = SHAKY.search(text) is not None
    overflows = OVERFLOWS.search(text) is not None
    if isinstance(theirs, str) or isinstance(ours, str):
        return isinstance(theirs, str) and isinstance(ours, str)
    return theirs.keys() == ours.keys() and all(same_value(theirs[k], ours[k], near, overflows) for k in theirs)


def main():
    binary = sys.argv[1]
    seed = int(sys.argv[2] if len(sys.argv) > 2 else os.environ.get("NEXUS_PROMQL_SEED", "1"))
    count = int(sys.argv[3] if len(sys.argv) > 3 else os.environ.get("NEXUS_PROMQL_COUNT", "12000"))
    generator = Generator(seed)
    series = generator.series()
    cases = [(generator.time(), generator.expression()) for _ in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        theirs, output = run_promtool(series, cases, folder)
        if len(theirs) != count:
            sys.exit("promtool answered %d of %d cases:\n%s" % (len(theirs), count, output[:2000]))
        ours = run_us(binary, series, cases, folder)
    wrong = 0
    for (time, text), a, b in zip(cases, theirs, ours):
        if not same(a, b, text):
            wrong += 1
            if wrong <= 20:
                print("at %.3fs  %s\n  promtool: %s\n  ours:     %s" % (time, text, a, b))
    full = sum(1 for a in theirs if a and not isinstance(a, str))
    errors = sum(1 for a, b in zip(theirs, ours) if isinstance(a, str) and isinstance(b, str))
    print("%d cases: %d with results, %d refused by both, %d differ" % (count, full, errors, wrong))
    if full < count // 3:
        sys.exit("too few cases have a result")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
