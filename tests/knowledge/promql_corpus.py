"""Seeded random PromQL: series and expressions for the comparisons with Prometheus 2.42 (promql_vs_*.py).

What keeps the answers comparable although Prometheus 2 and 3 differ by intent:
- no sample and no point of a subquery lies on the edge of a range or of the look-back (2.x ranges are closed on the
  left): samples come every 15.001 s, steps are whole seconds, ranges end in .3 s, evaluation in .777 s, @ in .555 s;
- an @ stands only on ranges of functions whose other arguments are constant (at the third step and later of a
  subquery or range 2.42 takes another window then, and contradicts its own instant queries), and no subquery under
  @ has another @ within (2.42 loses such points when the whole stands in one more subquery);
- counters stay far from zero (the zero-point rule of rate changed);
- parameters of aggregations are constant (2.42 takes that of the first step for all);
- atan2 stands only between numbers (2.x forgot to drop the name);
- double_exponential_smoothing goes by its old name;
- topk and bottomk choose among values that are hardly ever equal (which of equals stay depends on the order of series);
- timestamp() is not asked of a selector with both @ and offset (2.x forgets the offset);
- what may differ in the last digit is not rounded, divided by for a remainder or otherwise made a large difference;
- stddev and stdvar see no NaN alone in its group (2.x then says 0).
"""
import math
import os
import random
import re
import subprocess

INTERVAL = 15.001  # s between samples
SAMPLES = 100
# Compared to within 1 part in 10^12, everything else to the last digit: what is compensated in 3 only, and what has another
# tolerance in 3 (histogram_quantile).
NEAR = re.compile(r"\b(sum|avg|avg_over_time|sum_over_time|stddev_over_time|stdvar_over_time|histogram_quantile)\b")
# These depend on the order of series too, which promtool loads in random order.
UNORDERED = re.compile(r"\bstd(dev|var)\b")
SHAKY = re.compile(NEAR.pattern + "|" + UNORDERED.pattern)
# 2.x compensates these without regard to overflow and says NaN where 3 says Inf.
OVERFLOWS = re.compile(r"\bstd(dev|var)_over_time\b")


class Generator:
    def __init__(self, seed, base=0.0):
        self.random = random.Random(seed)
        self.base = base  # the time of the first sample, s

    def pick(self, *choices):
        return self.random.choice(choices)

    def chance(self, probability):
        return self.random.random() < probability

    # -- data: (name, [value or None, ...]); values are text

    def counter(self):
        value, out = self.random.randrange(10**6, 2 * 10**6), []
        for _ in range(SAMPLES):
            value = value + self.random.randrange(0, 4000) / 8 if self.chance(0.96) else value / 2
            out.append(self.hole(repr(value), out))
        return out

    def gauge(self):
        out = []
        for _ in range(SAMPLES):
            out.append(self.hole(repr(self.random.randrange(-80000, 80000) / self.pick(64, 100, 128)), out))
        return out

    def small(self):
        out = []
        for _ in range(SAMPLES):
            out.append(self.hole(str(self.random.randrange(0, 4)), out))
        return out

    def rough(self):
        return [self.pick("NaN", "Inf", "-Inf", "0", "-3", "1", "2.5") for _ in range(SAMPLES)]

    def hole(self, value, before):
        """Not at the start: promtool's series shall appear in the order of their labels, which sums depend on."""
        if before and self.chance(0.02):
            return "stale"
        return value if not before or self.chance(0.93) else None

    def buckets(self, labels, series):
        bounds = ("0.1", "0.5", "1", "2.5", "10", "+Inf")
        totals, rows = [10**6] * len(bounds), [[] for _ in bounds]
        for _ in range(SAMPLES):
            hits = 0
            for i, row in enumerate(rows):
                hits += self.random.randrange(0, 30)
                totals[i] += hits
                row.append(self.hole(str(totals[i]), row))
        for bound, row in zip(bounds, rows):
            if bound != "2.5" or self.chance(0.7):
                series.append(('lat_bucket{%s,le="%s"}' % (labels, bound), row))

    def series(self):
        out = []
        for name, values in (("c", self.counter), ("d", self.counter), ("g", self.gauge), ("h", self.gauge)):
            for job in ("a", "b"):
                for inst in ("0", "1", "2")[: self.pick(2, 3)]:
                    out.append(('%s{inst="%s",job="%s"}' % (name, inst, job), values()))
        for job in ("a", "b"):
            self.buckets('job="%s"' % job, out)
        for job in ("a", "b"):
            out.append(('one{job="%s"}' % job, self.gauge()))
            out.append(('rough{job="%s"}' % job, self.rough()))
            out.append(('small{job="%s",path="/srv/%s-x"}' % (job, job), self.small()))
        return sorted(out)

    # -- expressions

    def duration(self, low, high):
        return "%ds" % self.random.randrange(15 * low, 15 * high)

    def range(self, low, high):
        return self.duration(low, high) + "300ms"

    def matchers(self, name):
        choices = ["", "", '{job="a"}', '{job!="a"}', '{job=~"a|b"}', '{job!~"b.*"}', '{missing=""}', '{job="zzz"}']
        if name in ("c", "d", "g", "h"):
            choices += ['{inst="0"}', '{inst=~"[12]"}', '{inst="1",job="b"}', "{inst!='2',job=~`.+`}"]
        return self.pick(*choices)

    def selector(self, *names):
        if not names and self.chance(0.04):
            return self.pick('{__name__="g"}', '{__name__=~"g|h",inst="0"}', '{job="a",inst="1"}', '{path=~".+"}')
        name = self.pick(*(names or ("c", "d", "g", "h", "one", "rough", "small")))
        return name + self.matchers(name)

    def moved(self, may_be_fixed=True):
        """An offset, an @, both in any order, or mostly nothing."""
        parts = []
        if self.chance(0.15):
            parts.append(" offset %s%s" % (self.pick("", "-"), self.duration(1, 12)))
        if may_be_fixed and self.chance(0.1):
            at = "%.3f" % (self.base + self.random.randrange(0, 1500) + 0.555)
            parts.append(" @ " + self.pick(at, at, "start()", "end()"))
        self.random.shuffle(parts)
        return "".join(parts)

    def window(self, depth, *names, may_be_fixed=True):
        """A range vector over the named metrics; sometimes a subquery."""
        if depth <= 0 or self.chance(0.75):
            return "%s[%s]%s" % (self.selector(*names), self.range(1, 24), self.moved(may_be_fixed))
        step = self.pick("", "10s", "15s", "20s", "1m", "7s", "45s", "2m")
        inner = self.pick(self.selector(*names) + self.moved(), "(%s)" % self.vector(depth - 1),
                          self.range_call(depth - 1))
        may_be_fixed = may_be_fixed and " @ " not in inner
        return "%s[%s:%s]%s" % (inner, self.range(4, 40), step, self.moved(may_be_fixed))

    def range_call(self, depth):
        kind = self.random.random()
        if kind < 0.4:
            function, names = self.pick("rate", "increase", "irate", "resets", "changes"), ("c", "d")
            return "%s(%s)" % (function, self.window(0, *names))
        function = self.pick("delta", "idelta", "deriv", "avg_over_time", "min_over_time", "max_over_time",
                             "sum_over_time", "count_over_time", "last_over_time", "stddev_over_time",
                             "stdvar_over_time", "present_over_time", "absent_over_time", "changes", "resets",
                             "predict_linear", "quantile_over_time", "holt_winters")
        names = ("g", "h", "one", "c", "small")
        if function in ("min_over_time", "max_over_time", "count_over_time", "last_over_time", "changes",
                        "quantile_over_time", "present_over_time", "resets"):
            names += ("rough",)
        window = self.window(depth, *names, may_be_fixed=function not in ("predict_linear", "quantile_over_time"))
        if function in ("changes", "resets") and SHAKY.search(window):
            function = "count_over_time"  # a difference in the last digit is a change
        if function == "predict_linear":
            return "predict_linear(%s, %s)" % (window, self.scalar(1))
        if function == "quantile_over_time":
            return "quantile_over_time(%s, %s)" % (self.pick(self.quantile(), "scalar(one{job='a'})"), window)
        if function == "holt_winters":
            return "holt_winters(%s, %s, %s)" % (window, self.factor(), self.factor())
        return "%s(%s)" % (function, window)

    def quantile(self):
        return self.pick("0", "0.5", "0.9", "0.25", "1", "0.99", "-1", "2", "NaN")

    def factor(self):
        return self.pick("0.1", "0.5", "0.3", "0.9") if self.chance(0.95) else self.pick("0", "1", "-2")

    def math_call(self, depth):
        inner = self.vector(depth - 1)
        function = self.pick("abs", "ceil", "floor", "round", "sgn", "sqrt", "exp", "ln", "log2", "log10", "clamp",
                             "clamp_min", "clamp_max", "timestamp", "absent", "round2", "sort", "sort_desc", "deg",
                             "rad", "trig", "date", "histogram")
        if function in ("ceil", "floor", "round", "round2", "sgn", "date", "trig", "exp") and SHAKY.search(inner):
            function = "abs"  # these make a difference in the last digit a large one
        if function == "timestamp" and " @ " in inner and "offset" in inner:
            function = "abs"  # 2.x forgets the offset
        if function == "clamp":
            return "clamp(%s, %s, %s)" % (inner, self.scalar(1), self.scalar(1))
        if function in ("clamp_min", "clamp_max"):
            return "%s(%s, %s)" % (function, inner, self.scalar(1))
        if function == "round2":
            return "round(%s, %s)" % (inner, self.pick("0.5", "4", "10"))
        if function == "trig":
            name = self.pick("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh",
                             "atanh")
            bound = "" if name[0] == "a" else " % 100"
            return "%s((%s)%s)" % (name, inner, bound)
        if function == "date":
            name = self.pick("year", "month", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour",
                             "minute")
            scale = self.pick("", "", " * 1e7", " * 1e15")
            return "%s(%s)" % (name, self.pick("", "(%s)%s" % (inner, scale), "vector(time())"))
        if function == "histogram":
            return self.histogram()
        return "%s(%s)" % (function, inner)

    def histogram(self):
        inner = self.pick("rate(%s[%s])", "increase(%s[%s])", "sum by (le) (rate(%s[%s]))",
                          "sum by (job, le) (increase(%s[%s]))")
        buckets = inner % (self.selector("lat_bucket"), self.range(4, 24))
        if self.chance(0.3):
            buckets = self.selector("lat_bucket") + self.moved()
        return "histogram_quantile(%s, %s)" % (self.quantile(), buckets)

    def labels(self, depth):
        inner = self.vector(depth - 1)
        if self.chance(0.4):
            sources = "".join(', "%s"' % self.pick("job", "inst", "nope", "path") for _ in range(self.pick(1, 2, 3)))
            target = self.pick("job", "new", "__name__")
            return 'label_join(%s, "%s", "%s"%s)' % (inner, target, self.pick("-", "", "::"), sources)
        source, pattern = self.pick(("job", "(.*)"), ("job", "(a)|b"), ("path", "/(?P<top>[^/]+)/(.)-x"), ("nope", ""),
                                    ("inst", "[01]"), ("job", "a"), ("__name__", "(.).*"), ("job", "("))
        value = self.pick("$1", "x-$1-${1}y", "$1y", "", "fixed", "$$", "${top}", "$2/$top", "$9", "$")
        return 'label_replace(%s, "%s", "%s", "%s", "%s")' % (inner, self.pick("job", "new", "inst", "__name__"), value,
                                                             source, pattern)

    def clause(self):
        return self.pick("", " by (job)", " by (inst)", " without (inst)", " without (job, inst)", " by (nope, job)",
                         " by (__name__)")

    def aggregation(self, depth):
        operation = self.pick("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "topk", "bottomk",
                              "quantile", "count_values")
        inner, parameter = self.vector(depth - 1), ""
        if operation in ("topk", "bottomk"):
            parameter = self.pick("1", "2", "3", "0", "-1", "2.9", "10", "NaN", "1e30") + ", "
            inner = self.pick(self.selector("g", "h", "c"), "rate(%s)" % self.window(0, "c"),
                              "-" + self.selector("g", "d"), "avg_over_time(%s)" % self.window(0, "g"))
        elif operation == "quantile":
            parameter = self.quantile() + ", "
        elif operation == "count_values":
            parameter = '"%s", ' % self.pick("value", "job", "inst")
            inner = self.pick(self.selector("small"), self.selector("rough"), "changes(%s)" % self.window(1, "small"))
        elif operation in ("stddev", "stdvar"):
            inner = self.pick(self.selector("g", "h", "c"), "rate(%s)" % self.window(0, "c"))
        clause, inner = self.clause(), "(%s%s)" % (parameter, inner)
        return operation + (clause + inner if self.chance(0.5) else inner + clause)

    def scalar(self, depth):
        if depth <= 0 or self.chance(0.6):
            return self.pick("0", "1", "2", "3.5", "-4", "100", "0x1F", "1e3", "NaN", "Inf", "-Inf", "time()", "pi()",
                             ".5", "017", "+2")
        if self.chance(0.3):
            return "scalar(%s)" % self.vector(depth - 1)
        operator = self.pick("+", "-", "*", "/", "%", "^", "atan2", "> bool", "== bool", "<= bool")
        return "(%s)" % self.joined(self.scalar(depth - 1), operator, "", self.scalar(depth - 1))

    def binary(self, depth):
        operator = self.pick("+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "> bool",
                             "!= bool", "and", "or", "unless", "and", "or", "unless")
        sets = operator in ("and", "or", "unless")
        if not sets and self.chance(0.35):
            sides = [self.vector(depth - 1), self.scalar(1)]
            self.random.shuffle(sides)
            return self.joined(sides[0], operator, "", sides[1])
        if not sets and self.chance(0.3):
            return self.grouped(operator, depth)
        matching = self.pick("", "", "", " on (job)", " on (job, inst)", " ignoring (inst)", " ignoring (nope)", " on ()")
        return self.joined(self.vector(depth - 1), operator, matching, self.vector(depth - 1))

    @staticmethod
    def joined(left, operator, matching, right):
        if operator in ("%", "^") and SHAKY.search(left + right):
            operator = "+"  # these make a difference in the last digit a large one
        return "%s %s%s %s" % (left, operator, matching, right)

    def grouped(self, operator, depth):
        """Many to one, mostly with a side that is one."""
        one = self.pick(self.selector("one", "small"), "sum by (job) (%s)" % self.vector(depth - 1),
                        self.vector(depth - 1))
        sides = [self.pick(self.selector("g", "c", "h"), "(%s)" % self.vector(depth - 1)), one]
        side = "left"
        if self.chance(0.4):
            sides.reverse()
            side = "right"
        include = self.pick("", "", "()", "(path)", "(inst)", "(path, nope)", "(__name__)")
        matching = self.pick("on (job)", "on (job)", "ignoring (inst)", "ignoring (inst, path)", "on ()")
        return self.joined(sides[0], operator, " %s group_%s %s" % (matching, side, include), sides[1])

    def vector(self, depth):
        if depth <= 0:
            return self.selector() + self.moved() if self.chance(0.5) else self.range_call(0)
        kind = self.random.random()
        if kind < 0.08:
            return self.selector() + self.moved()
        if kind < 0.28:
            return self.range_call(depth)
        if kind < 0.46:
            return self.math_call(depth)
        if kind < 0.66:
            return self.aggregation(depth)
        if kind < 0.71:
            return self.labels(depth)
        if kind < 0.75:
            return "-" + self.vector(depth - 1)
        if kind < 0.8:
            return "vector(%s)" % self.scalar(1)
        text = self.binary(depth)
        return "(%s)" % text if self.chance(0.6) else text

    def expression(self):
        return self.scalar(3) if self.chance(0.05) else self.vector(3)

    def mutated(self):
        """An expression with one or two places damaged: mostly wrong, now and then right."""
        text = self.expression()
        for _ in range(self.pick(1, 2)):
            at = self.random.randrange(len(text) + 1)
            character = chr(self.random.randrange(32, 127))
            other = self.expression()
            begin = self.random.randrange(len(other))
            piece = other[begin:begin + self.random.randrange(1, 12)]
            text = self.pick(text[:at] + character + text[at:], text[:at] + character + text[at + 1:],
                             text[:at] + text[at + self.random.randrange(1, 5):], text[:at] + piece + text[at:])
        return text

    def time(self):
        return self.base + self.random.randrange(1, 1560) + 0.777


LABEL = re.compile(r'(\w+)="([^"]*)"')
QUOTED_NAME = re.compile(r'^\{"([^"]*)"(?:,|\}$)')


def labels_of(name):
    """promtool writes {__name__="c", job="a"}, we write c{job="a"} or {"odd name",job="a"}."""
    quoted = QUOTED_NAME.match(name)
    metric = quoted.group(1) if quoted else name.partition("{")[0]
    labels = LABEL.findall(name) + ([("__name__", metric)] if metric else [])
    return ",".join("%s=%s" % pair for pair in sorted(labels))


def same_value(theirs, ours, near, overflows=False):
    if overflows and math.isnan(theirs) and math.isinf(ours):
        return True
    if math.isnan(theirs) or math.isnan(ours):
        return math.isnan(theirs) and math.isnan(ours)
    if theirs == ours:
        return True
    return near and abs(theirs - ours) <= 1e-12 * max(abs(theirs), abs(ours), 1e4)


def run_ours(binary, commands, folder):
    """Evaluates the commands of promql_cases_test.cpp; one list of lines, or an error text, for each case."""
    cases_path, results_path = os.path.join(folder, "cases"), os.path.join(folder, "results")
    with open(cases_path, "w", encoding="utf-8") as out:
        out.writelines(command + "\n" for command in commands)
    environment = dict(os.environ, NEXUS_PROMQL_CASES=cases_path, NEXUS_PROMQL_RESULTS=results_path)
    subprocess.run([binary, "[.promql-cases]"], env=environment, check=True, stdout=subprocess.DEVNULL)
    results = []
    with open(results_path, encoding="utf-8") as lines:
        for line in lines.read().split("\n")[:-1]:
            if line == "case":
                results.append([])
            elif line.startswith("error\t"):
                results[-1] = "error: " + line[6:]
            else:
                results[-1].append(line)
    return results
