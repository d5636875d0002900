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

from harness import directory, equal, expect, run_tests

BINARY = sys.argv[1]
FOLDER = pathlib.Path(__file__).resolve().parent / "rules"
CHECKED = sorted(path.name for path in FOLDER.glob("*.yml"))
TESTED = sorted(path.name for path in (FOLDER / "unit").glob("*.yml"))


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
    code, _, _ = ran(FOLDER, BINARY, "check", "rules")
    equal(code, 2, "no file is a mistake of usage")


def unit_tests():
    for name in TESTED:
        beside(FOLDER / "unit", ("test", "rules"), name)
    good = [name for name in TESTED if ran(FOLDER / "unit", BINARY, "test", "rules", name)[0] == 0]
    expect("good_test.yml" in good, f"only {good} pass")
    beside(FOLDER / "unit", ("test", "rules"), "good_test.yml", "tmpl_test.yml")
    beside(FOLDER / "unit", ("test", "rules"), "nothing_here.yml")


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


run_tests((("check rules on every file", checks), ("check rules: lint", lint), ("test rules on every file", unit_tests),
           ("rule files of a configuration", configuration)))
