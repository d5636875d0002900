"""A real agent from start to stop: command line, actions, reload, roles, crashes.

    agent_run.py NEXUS_AGENT
"""
import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

from fleet import fleet
from harness import Agent, alive, directory, equal, expect, free_port, run_tests, wait_for

BINARY = sys.argv[1]
VIEWER, OPERATOR = "viewer-secret-0123456789", "operator-secret-0123456789"

# Writes down its own process and that of a child in the same group, and stays.
STAYING = """#!/bin/sh
echo run >> "$1.runs"
sleep 300 &
echo $$ $! > "$1.new"
mv "$1.new" "$1"
wait
"""


def configuration(where, extra=""):
    script = where / "staying.sh"
    script.write_text(STAYING)
    script.chmod(0o755)
    for name, secret in (("viewer", VIEWER), ("operator", OPERATOR)):
        file = where / f"{name}.token"
        file.write_text(secret + "\n")
        file.chmod(0o600)
    return f"""
[[command]]
name = "hello"
argv = ["/bin/echo", "hello", "from $HOME; echo not a shell"]
[[command]]
name = "fails"
argv = ["/bin/false"]
[[command]]
name = "limited"
argv = ["{script}", "{where}/limited"]
timeout = "3s"  # long enough for a busy machine to have begun
[[command]]
name = "endless"
argv = ["{script}", "{where}/endless"]
[[auth.token]]
name = "eyes"
role = "viewer"
token_file = "{where}/viewer.token"
[[auth.token]]
name = "hands"
role = "operator"
token_file = "{where}/operator.token"
{extra}
"""


def final(agent, action, patience=60):
    """The action once it has ended."""
    def ended():
        found = agent.command_json("actions", "show", action["id"])
        return found if found["finished"] else None
    return wait_for(f"the end of {action['action_type']} {action['target_component']}", ended, patience)


def run_action(agent, target, *words, code=0):
    """The action once it has ended: the command stays until then."""
    return agent.command_json("actions", "run", "run_command", target, *words, code=code)


def processes_of(file):
    return wait_for(f"{file.name} being written",
                    lambda: [int(word) for word in file.read_text().split()] if file.exists() else None)


# The tests of one running agent.

def reads(agent):
    out, _ = agent.command("status")
    for word in ("overall", "acting", "mode", "act"):
        expect(word in out, f"status does not say {word}:\n{out}")
    status = agent.command_json("status")
    expect(status["overall_status"] in ("healthy", "warning", "critical"), f"overall_status: {status['overall_status']}")
    expect(status["metrics_count"] > 300 and status["recent_metrics"], f"status is empty: {status['metrics_count']}")
    for words, array, title in ((["findings"], "alerts", "SEVERITY"), (["predictions"], "predictions", "TREND"),
                                (["anomalies"], "anomalies", "SCORE"), (["decisions"], "decisions", "VERDICT"),
                                (["audit"], "records", "WHO"), (["remedies"], "breakers", "ATTEMPTS")):
        out, _ = agent.command(*words)
        expect(title in out.splitlines()[0], f"{words}: no heading {title}: {out[:200]}")
        expect(isinstance(agent.command_json(*words)[array], list), f"{words}: no list {array}")
    out, _ = agent.command("actions")
    expect(out.startswith("ID"), f"actions: {out[:100]}")
    expect(set(agent.command_json("actions")) >= {"queue", "in_progress", "history", "proposed"}, "actions as JSON")


def reference(agent):
    out, _ = agent.command("list", "collectors")
    for name in ("cpu", "loadavg", "meminfo", "vmstat", "pressure", "stat", "diskstats", "filesystem", "netdev", "sockstat",
                 "filefd", "uname", "time", "processes", "systemd"):
        expect(any(line.split()[0] == name for line in out.splitlines()), f"list collectors: no {name}")
    out, _ = agent.command("list", "actions")
    for name in ("restart_service", "start_service", "stop_service", "reload_service", "run_command"):
        expect(name in out, f"list actions: no {name}")
        expect("target" in agent.command("describe", name)[0], f"describe {name}")
    expect("node_memory_* (gauge)" in agent.command("describe", "meminfo")[0], "describe meminfo")
    _, said = agent.command("describe", "nothing-of-this-name", code=1)
    expect("nothing-of-this-name" in said, said)
    for words in ((), ("nonsense",), ("query",), ("actions", "run", "run_command"), ("--output", "xml", "status"), ("collect",)):
        agent.command(*words, code=2)
    expect("run" in agent.command("--help")[0], "--help")
    expect(agent.command("--version")[0].startswith("nexus-agent "), "--version")


def queries(agent):
    out, _ = agent.command("query", "node_memory_MemTotal_bytes")
    expect(out.startswith("node_memory_MemTotal_bytes => "), out)
    memory = int(float(agent.command_json("query", "node_memory_MemTotal_bytes")["data"]["result"][0]["value"][1]))
    kilobytes = next(line.split()[1] for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    equal(memory, int(kilobytes) * 1024, "node_memory_MemTotal_bytes")
    now = time.time()
    at = f"{now - 1:.3f}"
    out, _ = agent.command("query", "1 + 1", "--time", at)
    equal(out, f"2 @[{at.rstrip('0').rstrip('.')}]\n", "an instant query at a time")
    wait_for("a whole second since the first sample", lambda: agent.query("count_over_time(node_load1[1m])", time=int(time.time())))
    now = time.time()
    out, _ = agent.command("query", "count(node_load1)", "--start", int(now) - 4, "--end", int(now), "--step", "1s")
    expect(out.startswith("{} =>\n1 @["), f"range query: {out}")
    for line in out.splitlines()[1:]:
        expect(int(now) - 4 <= float(line.split("@[")[1].rstrip("]")) <= int(now), f"a time out of the range: {line}")
    _, said = agent.command("query", "sum(", code=1)
    expect("parse" in said or "1:" in said, f"a broken expression: {said}")
    out, _ = agent.command("query", "time()", "--start", "now-10s")
    times = [float(line.split("@[")[1].rstrip("]")) for line in out.splitlines()[1:]]
    equal((len(times), round(times[-1] - times[0], 3)), (11, 10.0), f"the last ten seconds, one by one: {out}")
    _, said = agent.command("query", "up", "--end", "1", code=2)
    equal(said, "a range query needs --start\n", "an end alone")
    _, said = agent.command("query", "up", "--time", "soon", code=2)
    expect("--time: \"soon\" is not a time" in said, said)


def actions(agent):
    dry = run_action(agent, "hello", "--dry-run")
    expect(dry["dry_run"] and "/bin/echo" in dry["outcome"]["would_do"], f"dry run: {dry}")
    equal(dry["outcome"]["output"], None, "output of a dry run")
    done = run_action(agent, "hello")
    equal(done["state"], "succeeded", f"hello: {done['outcome']}")
    equal(done["outcome"]["output"].strip(), "hello from $HOME; echo not a shell", "output")
    expect("uid" in done["cause"]["requested_by"], f"cause: {done['cause']}")
    failed = run_action(agent, "fails", code=1)
    equal(failed["state"], "failed", f"fails: {failed['outcome']}")
    shown, _ = agent.command("actions", "show", failed["id"])
    expect("failed" in shown and "  -" not in shown, f"what there is, and nothing else: {shown}")
    _, said = agent.command("actions", "run", "run_command", "unlisted", code=1)
    expect("unlisted" in said and "[[command]]" in said, said)
    _, said = agent.command("actions", "run", "unknown_action", "hello", code=1)
    expect("unknown_action" in said, said)
    agent.command("actions", "show", done["id"][:-1] + ("0" if done["id"][-1] != "0" else "1"), code=1)
    ids = [action["id"] for action in agent.command_json("actions")["history"]]
    expect(done["id"] in ids and failed["id"] in ids, "the history of actions")
    whats = [record["what"] for record in agent.command_json("audit")["records"]]
    expect("actions.create" in whats, f"audit: {whats}")


def services(agent):
    """The face of services on a process that nobody manages, which needs neither systemd nor an engine."""
    process = subprocess.Popen(["/bin/sleep", "300"], start_new_session=True)
    try:
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        name = f"process:{process.pid}:{fields[19]}"
        listed = agent.command_json("services", "--kind", "process")["services"]
        expect(any(one["name"] == name for one in listed), f"no {name} in {listed}")
        expect("CONDITION" in agent.command("services", "--kind", "process")[0].splitlines()[0], "no heading")
        _, said = agent.command("services", "--kind", "kubernetes")
        expect(said.startswith("kubernetes: "), f"whose answer is missing: {said}")
        state = agent.command_json("services", "status", name)
        equal((state["kind"], state["condition"], state["can"]), ("process", "up", ["stop", "reload"]), "status")
        _, said = agent.command("services", "restart", name, code=1)
        expect("nobody manages the process" in said, said)
        _, said = agent.command("services", "scale", "web", "2", code=1)
        expect('expected "web@"' in said, said)
        _, said = agent.command("services", "rollout", "web", "--undo", code=1)
        expect("systemd keeps no earlier version" in said, said)
        dry = agent.command_json("services", "stop", name, "--dry-run")
        expect("would send SIGTERM" in dry["outcome"]["would_do"], f"dry run: {dry}")
        expect(alive(process.pid), "a dry run ended it")
        done = agent.command_json("services", "stop", name)
        equal(done["state"], "succeeded", f"stop: {done['outcome']}")
        equal(process.wait(60), -signal.SIGTERM, "its end")
        equal(agent.get(f"/operations/services/{name}/status").status, 404, "status of what has ended")
    finally:
        process.kill()
        process.wait()


def time_limit(agent, where):
    done = run_action(agent, "limited", code=1)
    expect(done["state"] in ("failed", "timed_out"), f"a command over its limit: {done['state']} {done['outcome']}")
    for pid in processes_of(where / "limited"):
        wait_for(f"the end of process {pid} of a command over its limit", lambda pid=pid: not alive(pid))


def operations(agent):
    agent.command("operations", "stop")
    expect("acting       no" in agent.command("operations")[0], "operations does not say that it is stopped")
    equal(agent.command_json("status")["overall_status"] != "unknown", True, "status while stopped")
    equal(agent.get("/operations/status").json["operations_running"], False, "operations_running")
    _, said = agent.command("actions", "run", "run_command", "hello", code=1)
    expect("stop" in said, f"an action while stopped: {said}")
    expect(agent.command_json("decisions")["decisions"], "the refusal is no decision")
    agent.command("operations", "start")
    equal(agent.get("/operations/status").json["operations_running"], True, "operations_running")
    equal(run_action(agent, "hello")["state"], "succeeded", "an action after the start")


def roles(agent):
    wanted = {"action_type": "run_command", "target_component": "hello", "dry_run": True}
    bearer = lambda token: {"Authorization": f"Bearer {token}"}
    for path, headers, status in (("/health/status", {}, 200), ("/health/status", bearer("wrong-secret-0123456789"), 401),
                                  ("/health/status", bearer(VIEWER), 200), ("/operations/audit", {}, 401),
                                  ("/operations/audit", bearer(VIEWER), 403), ("/operations/audit", bearer(OPERATOR), 200)):
        equal(agent.tcp("GET", path, headers=headers).status, status, f"GET {path} with {headers}")
    for headers, status in (({}, 401), (bearer("wrong-secret-0123456789"), 401), (bearer(VIEWER), 403), (bearer(OPERATOR), 202)):
        answer = agent.tcp("POST", "/operations/actions", wanted, headers)
        equal(answer.status, status, f"POST with {headers}: {answer.body}")
        expect(status == 202 or answer.json["error"]["message"], "no message")
    equal(agent.tcp("POST", "/-/reload", headers=bearer(OPERATOR)).status, 403, "an operator's reload")
    equal(agent.tcp("GET", "/health/status", headers={"Host": "evil.example"}).status >= 400, True, "a foreign Host")
    who = {record["who"] for record in agent.command_json("audit")["records"]}
    expect("token hands" in who, f"who in the audit: {who}")
    text = agent.get("/metrics").body + agent.log + json.dumps(agent.command_json("audit"))
    expect(VIEWER not in text and OPERATOR not in text, "a secret is shown")


def reload(agent, where):
    good = agent.file.read_text()
    agent.file.write_text(good + '[[command]]\nname = "added"\nargv = ["/bin/true"]\n')
    agent.signal(signal.SIGHUP)
    wait_for("the reload", lambda: agent.metric("nexus_config_last_reload_successful") == 1.0)
    equal(run_action(agent, "added")["state"], "succeeded", "a command that a reload added")
    agent.file.write_text(good + "[operations]\nmode = \"act\"\nunknown_key = 1\n")
    agent.signal(signal.SIGHUP)
    wait_for("the refused reload", lambda: agent.metric("nexus_config_last_reload_successful") == 0.0)
    wait_for("the bad key in the log", lambda: "unknown_key" in agent.log)

    def audited():
        results = [record["result"] for record in agent.command_json("audit")["records"] if record["who"] == "signal"]
        return results if len(results) == 4 else None
    results = wait_for("both reloads by signal in the audit log", audited)
    equal((results[3], results[2], results[1]), ("requested", "ok", "requested"), "the reloads by signal in the audit log")
    expect("unknown_key" in results[0], f"the refused reload in the audit log: {results[0]}")
    _, said = agent.command("reload", code=1)
    expect(f"{agent.file}:" in said and "unknown_key" in said, f"reload says {said}")
    equal(run_action(agent, "added")["state"], "succeeded", "the old configuration after a refused reload")
    agent.file.write_text(good)
    agent.command("reload")
    agent.command("actions", "run", "run_command", "added", code=1)
    wait_for("the good reload", lambda: agent.metric("nexus_config_last_reload_successful") == 1.0)
    expect(where.exists(), "the directory of the test")


def moved(where):
    """A reload that names another data_dir and other listeners: both are used from the next start on."""
    agent = Agent(BINARY, where, name="moved")
    try:
        agent.start()
        before = agent.file.read_text()
        old = agent.data / "addresses"
        expect(old.exists(), "no addresses of a running agent")
        new = where / "elsewhere"
        new.mkdir()
        (new / "addresses").write_text("not ours")
        agent.file.write_text(before.replace(str(agent.data), str(new)))
        for turn in ("first", "second"):
            answer = agent.command_json("reload")
            expect(len(answer["needs_restart"]) == 1 and "data_dir" in answer["needs_restart"][0], f"{turn}: {answer}")
            expect("data_dir" in agent.get("/health").json["needs_restart"][0], f"/health after the {turn} reload")
        wait_for("two warnings in the log", lambda: sum("agent.data" in line for line in agent.lines) == 2)
        agent.stop()
        expect(not old.exists(), "addresses of an agent that has ended")
        equal((new / "addresses").read_text(), "not ours", "addresses in the other directory")
    finally:
        agent.close()


def finds_its_socket(where):
    """The command line finds the agent by its configuration, also for a reload that is refused."""
    agent = Agent(BINARY, where, name="found")
    try:
        agent.start()
        ask = lambda *words: subprocess.run([BINARY, *words, "--config", str(agent.file)], capture_output=True, text=True,
                                            timeout=60, env=agent.environment)
        done = ask("reload")
        equal(done.returncode, 0, f"reload by --config: {done.stderr}")
        agent.file.write_text(agent.file.read_text() + "[nonsense]\n")
        done = ask("reload")
        equal(done.returncode, 1, "a refused reload by --config")
        expect("nonsense" in done.stderr, f"a refused reload says {done.stderr}")
        parts = {part["name"]: part for part in agent.get("/health/components").json["components"]}
        for name, status in (("database", "healthy"), ("filesystem", "healthy"), ("redis", "not_configured"),
                             ("kubernetes", "not_configured"), ("docker", "not_configured"), ("systemd", "not_configured")):
            equal(parts[name]["status"], status, f"component {name}: {parts[name]}")
        expect(parts["network"]["message"].startswith("up: "), f"network: {parts['network']}")
        equal(agent.get("/-/healthy").status, 200, "/-/healthy")
    finally:
        agent.close()


def rollback(agent):
    """What was set is taken back: one action over HTTP, all that are left by the command; not twice, and not what others set."""
    nice = lambda process: os.getpriority(os.PRIO_PROCESS, process.pid)  # noqa: E731
    def renice(process, value):
        start = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        done = final(agent, agent.unix("POST", "/operations/actions", {
            "action_type": "renice_process", "target_component": f"{process.pid}:{start}", "parameters": {"nice": value}}).json)
        equal((done["state"], nice(process)), ("succeeded", value), f"renice: {done['outcome']['result']}")
        return done
    processes = [subprocess.Popen(["/bin/sleep", "300"]) for _ in range(3)]
    try:
        before = nice(processes[0])
        value = before + (3 if before < 10 else -3)
        first, _, theirs = [renice(process, value) for process in processes]
        path = f"/operations/actions/{first['id']}/rollback"
        would = final(agent, agent.unix("POST", path, {"dry_run": True}).json)
        expect("would undo renice_process" in would["outcome"]["would_do"], f"a dry run: {would['outcome']}")
        asked = agent.unix("POST", path, {"reason": "it did not help"})
        equal(asked.status, 202, f"a roll-back: {asked.body}")
        undone = final(agent, asked.json)
        equal((undone["state"], nice(processes[0])), ("succeeded", before), f"a roll-back: {undone['outcome']['result']}")
        equal(undone["cause"]["summary"], "it did not help", "its reason")
        expect(agent.command_json("actions", "show", first["id"])["outcome"]["undone"], "the first one says that it was undone")
        equal(agent.unix("POST", path, {}).status, 409, "a second roll-back of it")
        other = value + (1 if value < 18 else -1)
        os.setpriority(os.PRIO_PROCESS, processes[2].pid, other)
        said, _ = agent.command("actions", "rollback", "--all", "--dry-run", code=None)
        expect("would undo renice_process" in said and nice(processes[1]) == value, f"rollback --all --dry-run: {said}")
        said, _ = agent.command("actions", "rollback", "--all", "--reason", "away with it")
        expect(said.count("renice_process") == 2, f"rollback --all says {said}")
        equal((nice(processes[1]), nice(processes[2])), (before, other), "nice values after rollback --all")
        expect("somebody else" in said, f"what is somebody else's is said: {said}")
        equal(agent.command("actions", "rollback", "--all")[0], "", "a second rollback --all")
        equal(agent.unix("POST", f"/operations/actions/{theirs['id']}/rollback", {}).status, 409, "it was taken back before")
    finally:
        for process in processes:
            process.kill()
            process.wait()


def second_agent(agent):
    second = Agent(BINARY, agent.directory, name="second")
    second.data = agent.data
    second.configure("")
    code, said = second.refused()
    equal(code, 1, f"exit code of a second agent: {said}")
    expect("another nexus-agent uses this data directory" in said, said)
    fourth = Agent(BINARY, agent.directory, name="fourth")
    fourth.listen = [f"unix:{agent.socket}"]
    fourth.configure("")
    code, said = fourth.refused()
    equal(code, 1, f"exit code with a socket in use: {said}")
    equal(agent.get("/-/ready").status, 200, "the first agent after others tried")


def storm(agent):
    """Three hundred expensive expressions at once: whether the agent is well, and its metrics, are answered while they wait."""
    now = int(time.time())
    query = urllib.parse.urlencode({"query": "quantile_over_time(0.5, vector(time())[6h:1s])", "start": now - 10_000, "end": now, "step": 1})
    asked = []
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.connect(str(agent.socket))
            one.sendall(f"GET /api/v1/query_range?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            asked.append(one)
        for path in ("/-/healthy", "/-/ready", "/health", "/health/status", "/metrics") * 3:
            equal(agent.get(path).status, 200, f"{path} under a storm of expressions")
        answered, _, _ = select.select(asked, [], [], 0)
        expect(len(answered) < len(asked), "the storm was over before the agent was asked how it is")
    # Nobody waits for what is left of it, so it is not computed.
    wait_for("a question to be answered after the storm", lambda: agent.get("/api/v1/query?query=1").status == 200)


def taken_port(where):
    """A port that another program has ends nothing: the agent watches, serves its socket, says so, and has it once it is free."""
    with socket.socket() as other:
        taken = free_port()
        other.bind(("127.0.0.1", taken))
        other.listen()
        agent = Agent(BINARY, where, name="waiting")
        agent.listen = [f"127.0.0.1:{taken}", f"unix:{agent.socket}"]
        agent.configure('[operations]\ncheck_interval = "1s"')
        agent.start(wait=False)
        try:
            wait_for("an answer over the socket", lambda: agent.socket.exists() and agent.get("/-/ready").status == 200)
            told = wait_for("the finding", lambda: [f for f in agent.command_json("findings")["alerts"]
                                                    if f["name"] == "http_listener_missing"])
            expect(f"127.0.0.1:{taken}" in json.dumps(told), f"the finding names the address: {told}")
            equal(agent.metric("nexus_http_listeners_missing"), 1, "addresses that are waited for")
            equal((agent.data / "addresses").read_text(), f"unix:{agent.socket}\n", "where it listens")
            other.close()
            agent.port = taken
            wait_for("the port once it is free", lambda: agent.metric("nexus_http_listeners_missing") == 0)
            equal(agent.tcp("GET", "/-/healthy").status, 200, "an answer over the port")
            wait_for("the address in the file", lambda: f":{taken}\n" in (agent.data / "addresses").read_text())
        finally:
            agent.close()


def command_without_agent(where):
    lonely = Agent(BINARY, where, name="lonely")
    _, said = lonely.command("status", code=1)
    expect(str(lonely.socket) in said, said)


def check_and_collect(where):
    agent = Agent(BINARY, where, configuration(where), name="checked")
    out, _ = agent.command("check", "config", agent.file)
    expect("valid" in out, out)
    agent.environment["SLACK_WEBHOOK_URL"] = "https://hooks.example/secret"
    _, said = agent.command("check", "config", agent.file)
    del agent.environment["SLACK_WEBHOOK_URL"]
    expect("SLACK_WEBHOOK_URL is set" in said and "hooks.example" not in said, said)
    agent.file.write_text('[agent]\nlog_level = "loud"\n[nonsense]\n')
    _, said = agent.command("check", "config", agent.file, code=1)
    expect(f"{agent.file}:2:" in said and f"{agent.file}:3:" in said and "2 problems" in said, said)
    agent.command("check", "config", "--no-such-flag", code=2)
    agent.command("check", "config", "--set", "no-equals-sign", code=2)
    agent.command("check", "config", where / "missing.toml", code=1)
    out, _ = agent.command("collect", "--once", "--collector", "loadavg")
    expect("node_load1 " in out and "node_memory" not in out, out[:300])
    out, _ = agent.command("collect", "--once")
    expect(out.count("\n# TYPE node_") > 100, "collect --once prints too little")
    _, said = agent.command("collect", "--once", "--collector", "nothing", code=2)
    expect("nothing" in said, said)


def stop_and_crash(where):
    """SIGTERM, and kill -9 in the middle of a command that must not be repeated."""
    agent = Agent(BINARY, where, configuration(where), name="crash")
    left = []
    try:
        agent.start()
        action = agent.command_json("actions", "run", "run_command", "endless", "--no-wait")
        left = processes_of(where / "endless")
        wait_for("the action being journaled as running",
                 lambda: agent.command_json("actions", "show", action["id"])["state"] == "running")
        agent.kill()
        agent.start()
        found = final(agent, action)
        equal(found["state"], "interrupted", f"the action after a crash: {found['outcome']}")
        expect("interrupted" in found["outcome"]["result"], found["outcome"]["result"])
        equal(agent.get("/operations/actions").json["in_progress"], [], "in progress after a crash")
        equal((where / "endless.runs").read_text(), "run\n", "runs of the command")
        for pid in left:
            wait_for(f"the end of process {pid} of an agent that was killed", lambda pid=pid: not alive(pid), 15)
        expect(agent.stop() < 15, "the stop took long")
        expect("stopped" in agent.log, "the log does not say that it stopped")
        expect(not agent.socket.exists(), "the socket is left behind")
        agent.start()
        equal(final(agent, action)["state"], "interrupted", "the action after another restart")
        agent.stop()
    finally:
        agent.close()
        for pid in left:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def damaged_state(where):
    """What people had stopped is gone with the database: the agent does not act until somebody says so."""
    agent = Agent(BINARY, where, configuration(where), name="damaged")
    try:
        agent.start()
        agent.command("operations", "stop")
        agent.stop()
        state = agent.data / "state.db"
        for beside in ("state.db-wal", "state.db-shm"):
            (agent.data / beside).unlink(missing_ok=True)
        state.write_bytes(b"no database" * 1000)
        agent.start()
        expect("damaged" in agent.log, "the log does not say that the database was damaged")
        equal(agent.get("/operations/status").json["operations_running"], False, "operations_running")
        agent.command("operations", "start")
        agent.stop()
        agent.start()
        equal(agent.get("/operations/status").json["operations_running"], True, "operations_running")
    finally:
        agent.close()


def json_log(where):
    """Every line is an object, from the first on, and nothing that others wrote breaks it."""
    agent = Agent(BINARY, where, name="json")
    agent.file.write_text(agent.file.read_text().replace("[agent]\n", '[agent]\nlog_format = "json"\n'))
    agent.data.mkdir()
    (agent.data / "state.db").write_text("no database")
    agent.environment["SLACK_WEBHOOK_URL"] = "elsewhere"
    try:
        agent.start()
        agent.stop()
        lines = [json.loads(line) for line in agent.lines]
        for line in lines:
            equal(sorted(line), ["component", "level", "message", "time"], "the members of a line")
        said = "\n".join(line["message"] for line in lines)
        for word in ("database was damaged", "SLACK_WEBHOOK_URL is set", "stopped"):
            expect(word in said, f"the log does not say {word}: {said}")
    finally:
        agent.close()


def journal_log(where):
    """Journald reads the level off a prefix, whatever the format, and stamps the time; a file that is no journal gets a time."""
    config = where / "journal.toml"
    for form in ("text", "json"):
        config.write_text(f'[agent]\ndata_dir = "{where}/journal-data"\nlog_format = "{form}"\n[http]\n'
                          f'listen = ["unix:{where}/journal.sock"]\n')
        for ours in (True, False):
            with open(where / "stderr", "w+") as stderr:
                at = os.fstat(stderr.fileno())
                stream = f"{at.st_dev}:{at.st_ino}" if ours else "1:2"
                agent = subprocess.Popen([BINARY, "run", "--config", str(config)], stderr=stderr, stdin=subprocess.DEVNULL,
                                         env=os.environ | {"JOURNAL_STREAM": stream, "SLACK_WEBHOOK_URL": "elsewhere"})
                said = wait_for("the warning", lambda: [line for line in (where / "stderr").read_text().splitlines()
                                                        if "SLACK_WEBHOOK_URL" in line])
                agent.send_signal(signal.SIGTERM)
                equal(agent.wait(), 0, "exit status")
            line = said[0]
            equal(line.startswith("<4>"), ours, f"{form}: the prefix of a warning: {line}")
            if form == "json":
                equal("time" not in json.loads(line.removeprefix("<4>")), ours, "no time of our own")


def main():
    with directory() as where:
        agent = Agent(BINARY, where, configuration(where, '[guardrails]\nmax_actions_per_hour_per_target = 1000\n'))
        try:
            agent.start()
            run_tests([
                ("reads", lambda: reads(agent)),
                ("reference", lambda: reference(agent)),
                ("queries", lambda: queries(agent)),
                ("actions", lambda: actions(agent)),
                ("services", lambda: services(agent)),
                ("time limit", lambda: time_limit(agent, where)),
                ("operations", lambda: operations(agent)),
                ("roles", lambda: roles(agent)),
                ("reload", lambda: reload(agent, where)),
                ("rollback", lambda: rollback(agent)),
                ("second agent", lambda: second_agent(agent)),
                ("storm", lambda: storm(agent)),
                ("stop", lambda: expect(agent.stop() < 15, "the stop took long")),
                ("no agent", lambda: command_without_agent(where)),
                ("taken port", lambda: taken_port(where)),
                ("fleet", lambda: fleet(BINARY, where)),
                ("check and collect", lambda: check_and_collect(where)),
                ("moved data_dir", lambda: moved(where)),
                ("its socket", lambda: finds_its_socket(where)),
                ("JSON log", lambda: json_log(where)),
                ("journal log", lambda: journal_log(where)),
                ("damaged state", lambda: damaged_state(where)),
                ("crash", lambda: stop_and_crash(where)),
            ])
        finally:
            agent.close()


if __name__ == "__main__":
    main()
