"""statsd and logs of a real agent: datagrams of every type and a flood; files that logrotate renames and truncates.

    streams.py NEXUS_AGENT
"""
import json
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

from counterparts import BINARY, agent_with, becomes, program, value, values
from harness import Agent, directory, equal, expect, free_port, run_tests, wait_for


def statsd():
    """Datagrams over UDP and a unix socket, of every type, hostile ones, and a flood."""
    with directory() as where:
        port, path = free_port(), where / "statsd.sock"
        with agent_with(f"""
[statsd]
listen = ["udp:127.0.0.1:{port}", "unix:{path}"]
interval = "1s"
max_series = 200
[[statsd.mapping]]
match = "web.*.hits"
name = "web_hits"
labels = {{ host = "$1" }}
[[statsd.mapping]]
match = "secret.*"
action = "drop"
[[statsd.mapping]]
match = "latency.*"
name = "latency_seconds"
timer_type = "histogram"
buckets = [0.1, 1]
""") as agent:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

            def tell(text):
                udp.sendto(text.encode("utf-8", "surrogateescape"), ("127.0.0.1", port))
            tell("page.views:1|c\npage.views:2|c|@0.5\n")
            unix.sendto(b"page.views:3|c|#region:north,bare,app:shop", str(path))
            tell("queue:10|g")
            tell("queue:+5|g\nqueue:-3|g")
            tell("job:100|ms\njob:200|ms\njob:300|ms|@0.5")
            tell("size:1:2:3|d")
            tell("latency.x:50|ms\nlatency.x:500|ms\nlatency.x:5000|ms")
            tell("web.a.hits:4|c\nsecret.x:1|c")
            tell("_e{1,1}:a|b\n_sc|x|0\nnonsense\nx:1\nx:y|c\nx:1|q\n:1|c\nx:-1|c\nx:1|c|@7\nx\udcff:1|c\n2nd-name:1|c\nqueue:1|c")
            wait_for("a counter", lambda: value(agent, 'page_views{region=""}') == 5)
            # Each may have come just after the others' interval ended.
            becomes(agent, 'page_views{region="north",app="shop"}', 3.0)
            becomes(agent, "queue", 12.0)
            becomes(agent, "job_count", 4.0)
            equal(round(value(agent, "job_sum"), 6), 0.9, "a timer, in seconds")
            equal(value(agent, 'job{quantile="0.5"}'), 0.2, "a quantile")
            becomes(agent, "size_count", 3.0)
            equal(value(agent, "size_sum"), 6.0, "several values")
            becomes(agent, "latency_seconds_count", 3.0)
            equal(values(agent, "latency_seconds_bucket") and
                  [float(r["value"][1]) for r in sorted(agent.query("latency_seconds_bucket"), key=lambda r: float(r["metric"]["le"]))],
                  [1.0, 2.0, 3.0], "a histogram")
            becomes(agent, 'web_hits{host="a"}', 4.0)
            becomes(agent, "_2nd_name", 1.0)  # a name made fit
            equal(agent.query('{__name__=~"secret.*"}'), [], "what is mapped away")
            wait_for("the mistakes", lambda: agent.metric("nexus_statsd_invalid_total") == 8)
            wait_for("the others", lambda: (agent.metric("nexus_statsd_unsupported_total"),
                                            agent.metric("nexus_statsd_conflicts_total")) == (2.0, 1.0))

            def users():
                for user in ("ann", "bob", "ann"):
                    tell(f"users:{user}|s")
                return any(float(v) == 2 for row in agent.query("users") for v in [row["value"][1]])
            wait_for("a set", users)
            for i in range(1000):  # more series than allowed
                tell(f"many:1|c|#i:{i}")
            wait_for("the budget", lambda: (agent.metric("nexus_statsd_dropped_total") or 0) >= 700)
            flood_end = time.monotonic() + 2
            sent = 0
            packet = b"\n".join([b"flood:1|c"] * 100)
            while time.monotonic() < flood_end:
                udp.sendto(packet, ("127.0.0.1", port))
                sent += 1
            wait_for("the flood being counted or lost, and said so", lambda: (agent.metric("nexus_statsd_datagrams_total") or 0)
                     + (agent.metric("nexus_statsd_lost_datagrams_total") or 0) >= sent * 0.5)
            equal(agent.get("/-/healthy").status, 200, "the agent's health")
            agent.configure("")
            agent.signal(signal.SIGHUP)
            wait_for("the end of all series", lambda: not agent.query("queue"))


def followed_logs():
    """Files that logrotate renames and truncates, hostile lines, and restarts: no line is lost, none counts twice."""
    with directory() as where:
        log = where / "app.log"
        log.write_text("error old\n" * 5)
        config = f"""
[[log]]
name = "app"
files = ["{where}/app.log"]
[[log.pattern]]
metric = "app_errors_total"
regex = "error"
[[log.pattern]]
metric = "app_requests_total"
regex = 'status=(?P<code>\\d+)'
labels = ["code"]
[[log.pattern]]
metric = "app_seconds"
regex = 'took (?P<seconds>\\S+) s'
type = "histogram"
value = "seconds"
buckets = [0.1, 1]
[[log.pattern]]
metric = "app_depth"
regex = 'depth (?P<depth>\\d+)'
type = "gauge"
value = "depth"
"""
        agent = Agent(BINARY, where, config).start()
        try:
            total = 0

            def errors(count, how="a"):
                nonlocal total
                with log.open(how) as out:
                    for _ in range(count):
                        out.write("an error here\n")
                total += count

            def counted():
                wait_for(f"{total} errors", lambda: value(agent, "app_errors_total") == total)
            wait_for("the log being followed", lambda: value(agent, "app_errors_total") == 0)
            errors(10)
            with log.open("ab") as out:
                out.write(b"status=200 took 0.05 s\nstatus=500 took 0.5 s depth 7\nstatus=200 took x s\n")
                out.write(b"x" * 100_000 + b" error beyond what is looked at\n\xff\xfe\x00 error in bytes\n")
                out.write(b"no end of line yet, but error")
            total += 1
            counted()
            equal(values(agent, "app_requests_total"), {json.dumps({"__name__": "app_requests_total", "code": code, "log": "app"}, sort_keys=True): n
                                                        for code, n in (("200", 2.0), ("500", 1.0))}, "labels")
            equal((value(agent, "app_seconds_count"), value(agent, 'app_seconds_bucket{le="0.1"}'), value(agent, "app_depth")),
                  (2.0, 1.0, 7.0), "numbers")
            becomes(agent, "nexus_log_long_lines_total", 1.0)
            becomes(agent, "nexus_log_no_number_total", 1.0)
            with log.open("a") as out:
                out.write(" now it has one\n")
            total += 1
            state = where / "state"

            def rotate(how):
                file = where / "rotate.conf"
                file.write_text(f"{log} {{\n rotate 3\n {how}\n missingok\n su root root\n}}\n")
                file.chmod(0o644)
                where.chmod(0o755)
                subprocess.run([program("logrotate"), "-f", "-s", state, file], check=True, capture_output=True, text=True)
            errors(3)
            rotate("create 0644")
            errors(4)
            counted()
            rotate("copytruncate")
            errors(2)
            counted()
            wait_for("the truncation being counted", lambda: (agent.metric("nexus_log_truncations_total") or 0) >= 1)
            # Down while lines come and the file is renamed.
            agent.stop()
            errors(6)
            rotate("nocreate")
            errors(5)
            agent.start()
            counted()
            # Killed: what was read since the places were saved is read again, and does not count twice.
            errors(7)
            counted()
            agent.kill()
            errors(8)
            agent.start()
            counted()
            time.sleep(1)
            equal(value(agent, "app_errors_total"), float(total), "the errors, after all")
        finally:
            agent.close()


def log_bombs():
    """A line of 64 MiB and a million short ones at once: all counted, in bounded memory, and another log beside it goes on."""
    with directory() as where:
        bomb, quiet = where / "bomb.log", where / "quiet.log"

        def followed(name):
            return (f'[[log]]\nname = "{name}"\nfiles = ["{where}/{name}.log"]\nfrom = "begin"\n'
                    f'[[log.pattern]]\nmetric = "{name}_errors_total"\nregex = "error"\n')
        agent = Agent(BINARY, where, followed("bomb") + followed("quiet"))
        # An address sanitizer keeps 256 MiB of what was freed, which is not the agent's.
        agent.environment["ASAN_OPTIONS"] = "quarantine_size_mb=8"
        agent.start()
        try:
            def resident():
                return int(next(line for line in open(f"/proc/{agent.process.pid}/status") if line.startswith("VmRSS")).split()[1]) << 10
            quiet.write_text("an error\n")
            wait_for("the quiet log", lambda: value(agent, "quiet_errors_total") == 1)
            before = resident()
            with bomb.open("wb") as out:
                for _ in range(64):
                    out.write(b"x" * (1 << 20))
                out.write(b" error behind what is looked at\n")
                for _ in range(1000):
                    out.write(b"error \xff\x00 of a thousand thousand\n" * 1000)
            with quiet.open("a") as out:
                out.write("an error\n")
            wait_for("the quiet log, beside the bomb", lambda: value(agent, "quiet_errors_total") == 2)
            wait_for("all of the bomb", lambda: value(agent, "bomb_errors_total") == 1_000_000)
            becomes(agent, 'nexus_log_long_lines_total{log="bomb"}', 1.0)
            expect(resident() - before < 48 << 20, f"{(resident() - before) >> 20} MiB more resident")
            equal(agent.get("/-/healthy").status, 200, "the agent's health")
        finally:
            agent.close()


def no_thread_to_be_had():
    """A limit of threads that is reached while the agent runs: what cannot begin is told, the rest goes on, and what waits begins later."""
    with directory() as where:
        where.chmod(0o777)
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]  # root has no limit
        wrapper = where / "agent-of-nobody"
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(nobody)} {where}/nexus-agent "$@"\n')
        wrapper.chmod(0o755)
        shutil.copy(BINARY, where / "nexus-agent")  # where nobody may read it
        (where / "app.log").write_text("an error\n")

        def log(name):
            return (f'[[log]]\nname = "{name}"\nfiles = ["{where}/app.log"]\nfrom = "begin"\n'
                    f'[[log.pattern]]\nmetric = "{name}_errors_total"\nregex = "error"\n')

        def limit(most):
            subprocess.run([*nobody, program("prlimit"), "--pid", str(agent.process.pid), f"--nproc={most}:"], check=True)

        def reload(config):
            agent.configure(config)
            agent.signal(signal.SIGHUP)
        agent = Agent(wrapper, where, log("first"))
        try:
            agent.start()
            becomes(agent, "first_errors_total", 1.0)
            limit(1)
            others = '[statsd]\nlisten = ["unix:%s"]\n' % (where / "statsd.sock")
            reload(log("first") + log("second") + others)

            def told():
                rows = {row["name"]: row for row in agent.command_json("list", "sources")["sources"]}
                return ("statsd" in rows and "cannot start its thread" in rows["statsd"]["error"]
                        and "the thread of the log-second loop cannot be made" in agent.log)
            wait_for("statsd and the log being told", told)
            with (where / "app.log").open("a") as out:
                out.write("an error\n")
            becomes(agent, "first_errors_total", 2.0)
            most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
            limit("unlimited" if most == resource.RLIM_INFINITY else most)
            # It is tried again whenever somebody asks how the sources are.
            wait_for("the second log", lambda: agent.command("list", "sources") and value(agent, "second_errors_total") == 2.0)
        finally:
            agent.close()


TESTS = [("statsd", statsd), ("followed logs", followed_logs), ("log bombs", log_bombs), ("no thread to be had", no_thread_to_be_had)]

if __name__ == "__main__":
    chosen = sys.argv[2:]
    run_tests([(name, test) for name, test in TESTS if not chosen or test.__name__ in chosen])
