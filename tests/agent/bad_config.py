"""Every kind of mistake in a configuration is refused with file, line and column, by `check config` and by `run`.

    bad_config.py NEXUS_AGENT
"""
import subprocess
import sys

from harness import Agent, directory, equal, expect, run_tests

BINARY = sys.argv[1]

# Name, the text with its mistake marked by an arrow in front, and words of the message.
CASES = [
    ("unknown key", '[agent]\n→log_lvel = "info"\n', ["log_lvel", "log_level"]),
    ("unknown section", "→[agnet]\n", ["agnet"]),
    ("wrong type", '[http]\nmax_connections = →"many"\n', ["max_connections", "integer"]),
    ("wrong type of a list", '[http]\nlisten = →"127.0.0.1:1"\n', ["listen", "array"]),
    ("bad duration", '[collect]\ninterval = →"soon"\n', ["interval", "soon"]),
    ("negative duration", '[operations]\ncheck_interval = →"-1s"\n', ["check_interval"]),
    ("impossible value", '[anomaly]\ncontamination = →0.9\n', ["contamination"]),
    ("unknown word", '[operations]\nmode = →"maybe"\n', ["mode", "observe", "propose", "act"]),
    ("bad PromQL in a vital", '[[vital]]\nname = "mine"\nunit = "count"\nexpr = →\'sum(node_load1\'\n', ["expr"]),
    ("bad PromQL in an alert", '[[alert]]\nname = "Mine"\nexpr = →\'rate(node_load1)\'\n', ["expr", "range"]),
    ("unknown function", '[[alert]]\nname = "Mine"\nexpr = →\'no_such_function(node_load1)\'\n', ["no_such_function"]),
    ("two vitals of one name", '[[vital]]\nname = "mine"\nunit = "count"\nexpr = "1"\n'
                               '[[vital]]\nname = →"mine"\nunit = "count"\nexpr = "2"\n', ["mine", "two"]),
    ("bad template of an alert", '[[alert]]\nname = "Mine"\nexpr = "1"\n[alert.annotations]\nsummary = →"{{ $value"\n',
     ["annotations.summary", "unclosed action"]),
    ("unknown function in a template", '[notify.ntfy]\ntopic = "x"\ntext = →"{{ $value | nosuch }}"\n', ["notify.ntfy.text", "nosuch"]),
    ("bad clear", '[[alert]]\nname = "Mine"\nexpr = "up == 0"\nclear = →"up =="\n', ["clear", "unexpected end"]),
    ("bad matcher", '[[route]]\nmatch = →["severity>7"]\n', ["expected =, !=, =~ or !~"]),
    ("bad time zone", '[[time_interval]]\nname = "x"\nlocation = →"Europe/Atlantis"\n', ["Europe/Atlantis", "expected a time zone"]),
    ("bad probe", '[[probe]]\nname = "x"\nkind = →"telepathy"\ntargets = ["x"]\n', ["probe.kind", "icmp"]),
    ("unreadable secret file", '[[auth.token]]\nname = "t"\nrole = "viewer"\ntoken_file = →"/nonexistent/token"\n', ["token_file"]),
    ("open secret file", '[[auth.token]]\nname = "t"\nrole = "viewer"\ntoken_file = →"OPEN"\n', ["token_file", "0644"]),
    ("a secret in the file", '[[auth.token]]\nname = "t"\nrole = "viewer"\ntoken = →"this-is-a-secret-value"\n', ["token_file"]),
    ("syntax", '[agent]\nlog_level = →\n', []),
    ("not closed", '[agent]\nlog_level = "info→\n', ["quote"]),
    ("a key twice", '[agent]\nlog_level = "info"\nlog_level = →"info"\n', ["redefine"]),
    ("no expression", '→[[alert]]\nname = "Mine"\n', ["expr", "missing", "1 problem"]),
    ("no trigger", '→[[remedy]]\naction = "restart_service"\n', ["on", "missing", "1 problem"]),
    ("unknown action", '[[remedy]]\non = "x"\naction = →"explode"\n', ["explode"]),
    ("unlisted command", '[[remedy]]\non = "x"\naction = "run_command"\ntarget = "gone"\n', ["gone"]),
    ("relative command", '[[command]]\nname = "c"\nargv = →["ls"]\n', ["argv", "absolute"]),
    ("insecure listener", '[http]\nlisten = [→"0.0.0.0:8060"]\n', ["allow_insecure"]),
    ("unknown collector", '[collect]\n[→collect.nothing]\n', ["nothing"]),
]


def check(where, text):
    file = where / "bad.toml"
    file.write_text(text)
    ran = subprocess.run([BINARY, "check", "config", str(file)], capture_output=True, text=True, timeout=60)
    return ran.returncode, ran.stderr


def place(text):
    before = text[:text.index("→")]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def refused(where, marked, words):
    opened = where / "open.token"
    opened.write_text("a-secret-that-all-can-read\n")
    opened.chmod(0o644)
    marked = marked.replace("OPEN", str(opened))
    text = marked.replace("→", "")
    code, said = check(where, text)
    equal(code, 1, f"exit code: {said}")
    line, column = place(marked) if "→" in marked else (None, None)
    first = said.splitlines()[0]
    prefix = f"{where / 'bad.toml'}:"
    expect(first.startswith(prefix), f"no file in front: {said}")
    numbers = first[len(prefix):].split(":")
    expect(numbers[0].isdigit() and numbers[1].isdigit(), f"no line and column: {said}")
    if line is not None:
        equal(int(numbers[0]), line, f"the line of {said}")
        expect(abs(int(numbers[1]) - column) <= 1, f"the column is {column}: {said}")
    for word in words:
        expect(word in said, f"it does not say {word}: {said}")
    for secret in ("this-is-a-secret-value", "a-secret-that-all-can-read"):
        expect(secret not in said, "a secret is shown")


def all_at_once(where):
    code, said = check(where, '[agent]\nlog_level = 3\n[collect]\ninterval = "soon"\n[http]\nnothing = 1\n')
    equal(code, 1, "exit code")
    for number in (2, 4, 6):
        expect(f"{where / 'bad.toml'}:{number}:" in said, f"line {number} is not named: {said}")
    expect("3 problems" in said, said)


def run_refuses(where):
    agent = Agent(BINARY, where, "[collect]\ninterval = \"soon\"\n")
    code, said = agent.refused()
    equal(code, 1, f"exit code of run: {said}")
    expect(f"{agent.file}:6:" in said, said)
    expect(not agent.data.exists(), "a refused start made the data directory")


def conf_d(where):
    """The place is in the file that has the mistake."""
    (where / "conf.d").mkdir(exist_ok=True)
    extra = where / "conf.d" / "10-extra.toml"
    extra.write_text("[agent]\n\nlog_level = 1\n")
    code, said = check(where, "")
    extra.unlink()
    equal(code, 1, "exit code")
    expect(said.startswith(f"{extra}:3:"), said)


def environment(where):
    (where / "bad.toml").write_text("")
    ran = subprocess.run([BINARY, "check", "config", str(where / "bad.toml")], capture_output=True, text=True, timeout=60,
                         env={"COLLECTION_INTERVAL": "soon", "PATH": "/usr/bin:/bin"})
    equal(ran.returncode, 1, "exit code")
    expect("COLLECTION_INTERVAL" in ran.stderr, ran.stderr)


def main():
    with directory() as where:
        tests = [(name, lambda text=text, words=words: refused(where, text, words)) for name, text, words in CASES]
        run_tests([*tests, ("all at once", lambda: all_at_once(where)), ("run", lambda: run_refuses(where)),
                   ("conf.d", lambda: conf_d(where)), ("environment", lambda: environment(where))])


if __name__ == "__main__":
    main()
