"""`check rules` and `test rules` beside promtool, on every file of the folder rules: output and exit codes.

    rules.py NEXUS_AGENT

What may differ, and is taken out of both before they are compared: the words after "parse error:" (each engine has its own),
the words and lines of YAML that is no YAML (each has its own parser; promtool says it twice), what comes after "error expanding
template:", and the order in which promtool, from a Go map, complains about labels and annotations.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

from harness import directory, equal, expect, run_tests

BINARY = sys.argv[1]
FOLDER = pathlib.Path(__file__).resolve().parent / "rules"
NEW = {"utf8.yml", "utf8_test.yml"}  # what Debian's promtool, 2.42, does not take and 3 does
CHECKED = sorted(path.name for path in FOLDER.glob("*.yml") if path.name not in NEW)
TESTED = sorted(path.name for path in (FOLDER / "unit").glob("*.yml") if path.name not in NEW)


def ran(where, *words):
    done = subprocess.run(words, cwd=where, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def plain(text):
    text = text.replace("promtool: error", "nexus-agent: error")
    text = re.sub(r"\d+:\d+: parse error: .*", "parse error", text)
    text = re.sub(r"yaml: line \d+: .*", "yaml: no YAML", text)
    text = re.sub(r"<error expanding template: (?:[^>]|>:)*>", "<error>", text)
    lines = sorted(text.splitlines())
    return [line for i, line in enumerate(lines) if "no YAML" not in line or line not in lines[:i]]


def beside(where, command, *words):
    """Both programs on the same files."""
    promtool = shutil.which("promtool")
    expect(promtool, "promtool is not installed")
    theirs = ran(where, promtool, *command, *words)
    ours = ran(where, BINARY, *command, *words)
    equal(ours[0], theirs[0], f"exit code of {command} {words}: {ours[1:]}")
    if any("no YAML" in line for line in plain(theirs[2])):
        theirs = (theirs[0], theirs[1].strip(), theirs[2])  # it says it twice
        ours = (ours[0], ours[1].strip(), ours[2])
    equal(ours[1], theirs[1], f"standard output of {command} {words}")
    equal(plain(ours[2]), plain(theirs[2]), f"standard error of {command} {words}")
    return ours


def checks():
    for name in CHECKED:
        beside(FOLDER, ("check", "rules"), name)
    code, out, err = beside(FOLDER, ("check", "rules"), "good.yml")
    equal((code, out, err), (0, "Checking good.yml\n  SUCCESS: 2 rules found\n\n", ""), "a good file")
    beside(FOLDER, ("check", "rules"), *CHECKED)
    beside(FOLDER, ("check", "rules"), "good.yml", "nothing_here.yml")


def lint():
    for words in (("--lint-fatal", "dup.yml"), ("--lint=none", "--lint-fatal", "dup.yml"),
                  ("--lint=duplicate-rules", "dup.yml"), ("--lint=all", "dup.yml"),
                  ("--lint-fatal", "dup.yml", "many.yml"), ("--lint-fatal", "good.yml")):
        beside(FOLDER, ("check", "rules"), *words)
    for name, good in (("good.yml", True), ("expr.yml", False)):  # as promtool 2.44 and later
        done = subprocess.run([BINARY, "check", "rules"], input=(FOLDER / name).read_bytes(), capture_output=True, timeout=60)
        equal((done.returncode, done.stdout.decode().splitlines()[0]), (0 if good else 1, "Checking standard input"), name)
        expect((b"SUCCESS: 2 rules found" in done.stdout) == good and (b"FAILED:" in done.stderr) != good, done)


def unit_tests():
    for name in TESTED:
        beside(FOLDER / "unit", ("test", "rules"), name)
    good = [name for name in TESTED if ran(FOLDER / "unit", BINARY, "test", "rules", name)[0] == 0]
    expect("good_test.yml" in good, f"only {good} pass")
    beside(FOLDER / "unit", ("test", "rules"), "good_test.yml", "tmpl_test.yml")
    beside(FOLDER / "unit", ("test", "rules"), "nothing_here.yml")


def of_version_3():
    """Names in UTF-8; fuzzy_compare, start_timestamp, histogram, --run."""
    equal(ran(FOLDER, BINARY, "check", "rules", "utf8.yml"), (0, "Checking utf8.yml\n  SUCCESS: 2 rules found\n\n", ""), "names")
    unit = FOLDER / "unit"
    code, out, err = ran(unit, BINARY, "test", "rules", "utf8_test.yml", "--run", "in quotes", "--run", "nothing")
    equal((code, out, err), (0, "Unit Testing:  utf8_test.yml\n  SUCCESS\n\n", ""), "one of two tests")
    code, _, err = ran(unit, BINARY, "test", "rules", "utf8_test.yml")
    equal((code, err), (1, '  FAILED:\n    expr: "vector(1)", time: 0s, err: native histograms are not supported\n'), "both")
    with directory() as where:
        text = (unit / "utf8_test.yml").read_text()
        (where / "a.yml").write_text(text.replace("../utf8.yml", str(FOLDER / "utf8.yml")).replace("fuzzy_compare: true", ""))
        code, _, err = ran(where, BINARY, "test", "rules", "--run", "in quotes", "a.yml")
        expect(code == 1 and "3.0000000000000004E-01" in err, f"0.1 + 0.2 is not 0.3: {err}")
        (where / "b.yml").write_text(text.replace("fuzzy_compare: true", "fuzzy_compare: nearly").replace("2023-11", "2023-13"))
        code, _, err = ran(where, BINARY, "test", "rules", "b.yml")
        expect(code == 1 and "line 3: cannot unmarshal !!str `nearly` into bool" in err and "line 7: invalid time format" in err, err)
        (where / "c.yml").write_text('groups: [{name: g, rules: [{record: "sum(a{b})", expr: up}]}]')
        code, _, err = ran(where, BINARY, "check", "rules", "c.yml")
        expect(code == 1 and "braces present in the recording rule name; should it be in expr?: sum(a{b})" in err, err)


def flags_of_version_3():
    """--ignore-unknown-fields, --junit, --debug, which 2.42 does not have."""
    with directory() as where:
        (where / "r.yml").write_text("groups: [{name: g, later: 1, rules: [{record: 'a:b', expr: sum(a), newer: {x: 1}}]}]")
        code, _, err = ran(where, BINARY, "check", "rules", "r.yml")
        expect(code == 1 and "field later not found" in err and "field newer not found" in err, err)
        equal(ran(where, BINARY, "check", "rules", "--ignore-unknown-fields", "r.yml"),
              (0, "Checking r.yml\n  SUCCESS: 1 rules found\n\n", ""), "ignored")
        (where / "t.yml").write_text("""
rule_files: [r.yml]
future: true
tests:
  - name: sums <of> a
    interval: 1m
    input_series: [{series: 'a{b="c"}', values: '1 2'}]
    promql_expr_test: [{expr: 'a:b', eval_time: 1m, exp_samples: [{labels: 'a:b', value: 2}]}]
  - interval: 1m
    input_series: []
    promql_expr_test: [{expr: 'vector(1)', eval_time: 0, exp_samples: [{labels: '{}', value: 2}]}]
""")
        code, _, err = ran(where, BINARY, "test", "rules", "t.yml")
        expect(code == 1 and "field future not found" in err, err)
        code, out, err = ran(where, BINARY, "test", "rules", "--ignore-unknown-fields", "--debug", "--junit=out.xml", "t.yml")
        equal(code, 1, f"the second test fails: {out}{err}")
        lines = out.splitlines()
        expect("DEBUG: Starting test sums <of> a" in lines and "DEBUG: Starting test unnamed#1" in lines, out)
        at = lines.index("DEBUG: Dumping all data (input_series and rules) at 1m1s:")
        # A range vector from 0 to the end, and those are open on the left.
        shown = lines[at + 1:at + 5]
        equal(shown, ['DEBUG: a{b="c"} =>', "DEBUG: 2 @[60000]", "DEBUG: a:b =>", "DEBUG: 2 @[60000]"], "samples, those of rules too")
        suite = xml.etree.ElementTree.parse(where / "out.xml").getroot().find("testsuite")
        equal({key: suite.get(key) for key in ("name", "tests", "failures", "errors")},
              {"name": "t.yml", "tests": "2", "failures": "1", "errors": "0"}, "the suite")
        cases = suite.findall("testcase")
        equal([(case.get("name"), len(case.findall("failure"))) for case in cases], [("sums <of> a", 0), ("unnamed#1", 1)], "cases")
        expect("expr: \"vector(1)\"" in cases[1].find("failure").text, cases[1].find("failure").text)
        code, _, err = ran(where, BINARY, "test", "rules", "--junit", "none/out.xml", "--ignore-unknown-fields", "t.yml")
        expect(code == 1 and "write none/out.xml" in err, err)
        ran(where, BINARY, "test", "rules", "--junit=bad.xml", "t.yml")
        suite = xml.etree.ElementTree.parse(where / "bad.xml").getroot().find("testsuite")
        equal((suite.get("errors"), suite.find("testcase").get("name")), ("1", "Abort"), "a file that cannot be read")


def configuration():
    """Rule files of a configuration: found beside it, and every problem with file, line and column."""
    with directory() as where:
        (where / "rules.d").mkdir()
        (where / "agent.toml").write_text("")
        shutil.copy(FOLDER / "good.yml", where / "rules.d")
        code, out, err = ran(where, BINARY, "check", "config", "agent.toml")
        equal(code, 0, err)
        expect("1 groups of rules" in out, out)
        shutil.copy(FOLDER / "expr.yml", where / "rules.d")
        code, _, err = ran(where, BINARY, "check", "config", "agent.toml")
        equal(code, 1, "a bad rule file makes the configuration bad")
        expect('expr.yml:5:11: group "g1", rule 1, "a:b": could not parse expression: 1:5: parse error:' in err, err)
        (where / "agent.toml").write_text(f'rule_files = ["{where}/rules.d/good.yml", "{where}/none.yml"]')
        code, _, err = ran(where, BINARY, "check", "config", "agent.toml")
        equal(code, 1, "a file that is named must be there")
        expect("none.yml" in err, err)


run_tests((("check rules on every file", checks), ("check rules: lint", lint), ("test rules on every file", unit_tests), ("what Prometheus 3 takes", of_version_3), ("flags of promtool 3", flags_of_version_3),
           ("rule files of a configuration", configuration)))
