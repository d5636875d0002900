#!/usr/bin/python3
"""Differential test: seeded random expressions, evaluated by promtool (Prometheus 2.x) and by us.

usage: promql_vs_promtool.py KNOWLEDGE_TEST [SEED [COUNT]]

Where Prometheus 2 and 3 differ by intent the cases stay away: samples never lie on the edge of a range or of the
look-back (2.x ranges are closed on the left), counters stay far from zero (the zero-point rule of rate changed), and
atan2 stands only where no name can show (2.x forgot to drop it).
sum, avg and avg_over_time are compensated in 3 only, and libm is not Go's math package: expressions with those are
compared to within 1 part in 10^12 of what went into them, everything else to the last digit.
"""
import math
import os
import random
import re
import subprocess
import sys
import tempfile

INTERVAL = 15  # s; evaluation times are never a multiple of it, ranges and offsets always are
NEAR = re.compile(r"\b(sum|avg|avg_over_time|exp|ln|log2|log10|sqrt|stddev_over_time|atan2)\b|\^")
SERIES = re.compile(r"((?:[a-zA-Z_:][\w:]*)?(?:\{[^}]*\})?) ([-+.\w]+)(?:, |$)")
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *choices):
        return self.random.choice(choices)

    def chance(self, probability):
        return self.random.random() < probability

    # -- data

    def counter(self):
        value, out = self.random.randrange(10**6, 2 * 10**6), []
        for _ in range(60):
            value = value + self.random.randrange(0, 4000) / 8 if self.chance(0.96) else value / 2
            out.append(self.hole(repr(value)))
        return " ".join(out)

    def gauge(self):
        out = []
        for _ in range(60):
            out.append(self.hole(repr(self.random.randrange(-800, 800) / self.pick(1, 8, 10))))
        return " ".join(out)

    def rough(self):
        return " ".join(self.pick("NaN", "Inf", "-Inf", "0", "-0", "1", "2.5") for _ in range(60))

    def hole(self, value):
        if self.chance(0.02):
            return "stale"
        return value if self.chance(0.93) else "_"

    def series(self):
        out = []
        for name, values in (("c", self.counter), ("d", self.counter), ("g", self.gauge), ("h", self.gauge)):
            for job in ("a", "b"):
                for inst in ("0", "1", "2")[: self.pick(2, 3)]:
                    out.append(('%s{inst="%s",job="%s"}' % (name, inst, job), values()))
        for job in ("a", "b"):
            out.append(('one{job="%s"}' % job, self.gauge()))
            out.append(('rough{job="%s"}' % job, self.rough()))
        return out

    # -- expressions

    def duration(self, low, high):
        return "%ds" % (INTERVAL * self.random.randrange(low, high))

    def matchers(self, name):
        choices = ["", "", '{job="a"}', '{job!="a"}', '{job=~"a|b"}', '{job!~"b.*"}', '{missing=""}', '{job="zzz"}']
        if name not in ("one", "rough"):
            choices += ['{inst="0"}', '{inst=~"[12]"}', '{inst="1",job="b"}', '{inst!="2",job=~".+"}']
        return self.pick(*choices)

    def selector(self, *names):
        name = self.pick(*(names or ("c", "d", "g", "h", "one", "rough")))
        return name + self.matchers(name)

    def offset(self):
        return " offset %s%s" % (self.pick("", "-"), self.duration(1, 12)) if self.chance(0.15) else ""

    def range_call(self):
        if self.chance(0.5):
            function, names = self.pick("rate", "increase", "irate", "resets", "changes"), ("c", "d")
        else:
            function = self.pick("delta", "idelta", "deriv", "avg_over_time", "min_over_time", "max_over_time",
                                 "sum_over_time", "count_over_time", "last_over_time", "stddev_over_time",
                                 "present_over_time", "changes", "predict_linear")
            names = ("g", "h", "one", "c")
            if function in ("min_over_time", "max_over_time", "count_over_time", "last_over_time", "changes"):
                names += ("rough",)
        window = "%s[%s]%s" % (self.selector(*names), self.duration(1, 24), self.offset())
        if function == "predict_linear":
            return "predict_linear(%s, %s)" % (window, self.scalar(1))
        return "%s(%s)" % (function, window)

    def math_call(self, depth):
        inner = self.vector(depth - 1)
        function = self.pick("abs", "ceil", "floor", "round", "sgn", "sqrt", "exp", "ln", "log2", "log10", "clamp",
                             "clamp_min", "clamp_max", "timestamp", "absent", "round2")
        if function == "clamp":
            return "clamp(%s, %s, %s)" % (inner, self.scalar(1), self.scalar(1))
        if function in ("clamp_min", "clamp_max"):
            return "%s(%s, %s)" % (function, inner, self.scalar(1))
        if function == "round2":
            return "round(%s, %s)" % (inner, self.pick("0.5", "4", "10"))
        return "%s(%s)" % (function, inner)

    def aggregation(self, depth):
        clause = self.pick("", " by (job)", " by (inst)", " without (inst)", " without (job, inst)", " by (nope, job)",
                           " by (__name__)")
        operation = self.pick("sum", "avg", "min", "max", "count")
        inner = "(%s)" % self.vector(depth - 1)
        return operation + (clause + inner if self.chance(0.5) else inner + clause)

    def scalar(self, depth):
        if depth <= 0 or self.chance(0.6):
            return self.pick("0", "1", "2", "3.5", "-4", "100", "0x1F", "1e3", "NaN", "Inf", "-Inf", "time()")
        if self.chance(0.3):
            return "scalar(%s)" % self.vector(depth - 1)
        operator = self.pick("+", "-", "*", "/", "%", "atan2", "> bool", "== bool", "<= bool")
        return "(%s %s %s)" % (self.scalar(depth - 1), operator, self.scalar(depth - 1))

    def binary(self, depth):
        operator = self.pick("+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "> bool",
                             "!= bool", "and", "or", "unless", "and", "or", "unless")
        if operator not in ("and", "or", "unless") and self.chance(0.35):
            sides = [self.vector(depth - 1), self.scalar(1)]
            self.random.shuffle(sides)
            return "%s %s %s" % (sides[0], operator, sides[1])
        matching = self.pick("", "", "", " on (job)", " on (job, inst)", " ignoring (inst)", " ignoring (nope)", " on ()")
        return "%s %s%s %s" % (self.vector(depth - 1), operator, matching, self.vector(depth - 1))

    def vector(self, depth):
        if depth <= 0:
            return self.selector() + self.offset() if self.chance(0.5) else self.range_call()
        kind = self.random.random()
        if kind < 0.1:
            return self.selector() + self.offset()
        if kind < 0.3:
            return self.range_call()
        if kind < 0.5:
            return self.math_call(depth)
        if kind < 0.7:
            return self.aggregation(depth)
        if kind < 0.75:
            return "-" + self.vector(depth - 1)
        if kind < 0.8:
            return "vector(%s)" % self.scalar(1)
        text = self.binary(depth)
        return "(%s)" % text if self.chance(0.6) else text

    def case(self):
        return (self.random.randrange(1, 1000) * INTERVAL % 960 + self.random.randrange(1, INTERVAL),
                self.scalar(3) if self.chance(0.05) else self.vector(3))


def labels_of(name):
    """promtool writes {__name__="c", job="a"}, we write c{job="a"}."""
    metric = name.partition("{")[0]
    labels = LABEL.findall(name) + ([("__name__", metric)] if metric else [])
    return ",".join("%s=%s" % pair for pair in sorted(labels))


def run_promtool(series, cases, folder):
    path = os.path.join(folder, "cases.yml")
    with open(path, "w", encoding="utf-8") as out:
        out.write("evaluation_interval: %ds\ntests:\n- interval: %ds\n  input_series:\n" % (INTERVAL, INTERVAL))
        for name, values in series:
            out.write("  - series: '%s'\n    values: '%s'\n" % (name, values))
        out.write("  promql_expr_test:\n")
        for time, text in cases:
            # A sample that nothing has: every case then fails and promtool prints what it got.
            out.write("  - expr: '%s'\n    eval_time: %ds\n    exp_samples: [{labels: no, value: 1}]\n" % (text, time))
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)
    results = []
    output = done.stdout + done.stderr
    for block in output.split("    expr: ")[1:]:
        error = re.search(r", err: (.*)", block)
        got = re.search(r"got: (.*)", block)
        if error:
            results.append("error: " + error.group(1))
        elif got and got.group(1) == "nil":
            results.append({})
        else:
            results.append({labels_of(m.group(1)): float(m.group(2)) for m in SERIES.finditer(got.group(1))})
    return results, output.strip()


def run_ours(binary, series, cases, folder):
    cases_path, results_path = os.path.join(folder, "cases"), os.path.join(folder, "results")
    with open(cases_path, "w", encoding="utf-8") as out:
        for name, values in series:
            out.write("load %d\t%s %s\n" % (INTERVAL * 1000, name, values))
        for time, text in cases:
            out.write("eval %d\t%s\n" % (time * 1000, text))
    environment = dict(os.environ, NEXUS_PROMQL_CASES=cases_path, NEXUS_PROMQL_RESULTS=results_path)
    subprocess.run([binary, "[.promql-cases]"], env=environment, check=True, stdout=subprocess.DEVNULL)
    results = []
    with open(results_path, encoding="utf-8") as lines:
        for line in lines.read().splitlines():
            if line == "case":
                results.append({})
            elif line.startswith("error\t"):
                results[-1] = "error: " + line[6:]
            else:
                name, value = line.split("\t")
                results[-1][labels_of(name)] = float(value)
    return results


def same_value(theirs, ours, near):
    if math.isnan(theirs) or math.isnan(ours):
        return math.isnan(theirs) and math.isnan(ours)
    if theirs == ours:
        return True
    return near and abs(theirs - ours) <= 1e-12 * max(abs(theirs), abs(ours), 1e4)


def same(theirs, ours, near):
    if isinstance(theirs, str) or isinstance(ours, str):
        return isinstance(theirs, str) and isinstance(ours, str)
    return theirs.keys() == ours.keys() and all(same_value(theirs[k], ours[k], near) for k in theirs)


def main():
    binary = sys.argv[1]
    generator = Generator(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 1500
    series = generator.series()
    cases = [generator.case() for _ in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        theirs, output = run_promtool(series, cases, folder)
        if len(theirs) != count:
            sys.exit("promtool answered %d of %d cases:\n%s" % (len(theirs), count, output[:2000]))
        ours = run_ours(binary, series, cases, folder)
    wrong = 0
    for (time, text), a, b in zip(cases, theirs, ours):
        if not same(a, b, NEAR.search(text) is not None):
            wrong += 1
            if wrong <= 20:
                print("at %ds  %s\n  promtool: %s\n  ours:     %s" % (time, text, a, b))
    full = sum(1 for a in theirs if a and not isinstance(a, str))
    errors = sum(1 for a, b in zip(theirs, ours) if isinstance(a, str) and isinstance(b, str))
    print("%d cases: %d with results, %d refused by both, %d differ" % (count, full, errors, wrong))
    if full < count // 3:
        sys.exit("too few cases have a result")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
