"""Incidents, tunings and drift as people meet them: a real agent, its command line, its API, and a receiver that validates.

    kinds.py NEXUS_AGENT
"""
import contextlib
import subprocess
import sys

from harness import BASE, PATIENCE, Agent, directory, equal, expect, run_tests, set_values, wait_for
from receivers import Receivers

BINARY = sys.argv[1]

# The shipped vital of the host explains what begins together with it.
RULES = """
[[vital]]
name = "memory_usage_percent"
expr = "test_value{name='memory'}"
for = "0s"
[[alert]]
name = "Slow"
expr = "test_value{name='slow'} > 10"
[[alert]]
name = "Queue"
expr = "test_value{name='queue'} > 10"
"""
ROUTES = """
[routing]
group_wait = "0s"
group_interval = "500ms"
hold_ends = "0s"
receivers = ["hook"]
[[route]]
match = ['alertname!~"memory_usage_percent|Slow|Queue|incident"']
receivers = []
[notify.hook]
type = "webhook"
url = "ADDRESS/webhook/x"
"""
ASKS = """
[[route]]
match = ['kind="incident"']
receivers = ["hook"]
"""


def nothing_of_this_host():
    """What ails the machine that runs the test (a full disk, a unit that failed) is not to explain what the test sets."""
    names = [line.split()[0] for line in subprocess.run([BINARY, "list", "collectors"], capture_output=True, text=True, check=True).stdout.splitlines()]
    expect("filesystem" in names, names)
    return "".join(f"[collect.{name}]\nenabled = false\n" for name in names if name not in ("agent", "textfile"))


class Host:
    def __init__(self, where, more):
        self.where = where
        self.values = {}
        self.set()
        self.config = (BASE + RULES + more).replace("WHERE", str(where)) + nothing_of_this_host()
        self.agent = Agent(BINARY, where, self.config)

    def set(self, **values):
        self.values.update(values)
        set_values(self.where, self.values)

    def of(self, kind, state=None):
        answer = self.agent.get(f"/health/alerts?kind={kind}" + (f"&state={state}" if state else ""))
        equal(answer.status, 200, answer.body)
        return answer.json["alerts"]

    def one(self, kind, name, state):
        return wait_for(f"{name} {state}", lambda: next((row for row in self.of(kind, state) if row["name"] == name), None))

    def none(self, kind, name):
        wait_for(f"no {name}", lambda: all(row["name"] != name or row["state"] == "resolved" for row in self.of(kind)))


@contextlib.contextmanager
def host(config=""):
    with directory() as where:
        made = Host(where, config)
        try:
            yield made
        finally:
            made.agent.close()


def incidents(asks):
    doubles = Receivers()
    try:
        with host(ROUTES.replace("ADDRESS", doubles.address) + (ASKS if asks else "")) as it:
            told = lambda: [(one["labels"]["alertname"], one["status"]) for body in doubles.of("webhook") for one in body["alerts"]]  # noqa: E731
            it.agent.start()
            it.set(memory=99, slow=20, queue=20)
            row = it.one("incident", "incident", "firing")
            wait_for("all of them", lambda: len(it.one("incident", "incident", "firing")["symptoms"]) == 2)
            row = it.one("incident", "incident", "firing")
            members = {one["fingerprint"]: one for one in it.agent.get("/health/alerts").json["alerts"]}
            equal(members[row["cause"]]["name"], "memory_usage_percent", "the cause")
            equal({members[print_]["name"] for print_ in row["symptoms"]}, {"Slow", "Queue"}, "the symptoms")
            equal((row["severity"], row["cause_link"]), ("info", "incident"), "an incident says nothing new")
            said, _ = it.agent.command("findings", "--kind", "incident")
            expect("memory_usage_percent" in said and "Slow" in said, said)
            wait_for("its kind being counted", lambda: it.agent.query("nexus_findings_firing{kind='incident'} == 1"))
            wait_for("what is told", lambda: {name for name, status in told()} >= {"Slow", "Queue", "memory_usage_percent"})
            it.agent.kill()  # and back: what belongs together still does
            it.agent.start()
            equal(it.one("incident", "incident", "firing")["started"], row["started"], "its beginning")
            # What a restart restored and no rule of this run has seen is held for a minute.
            wait_for("their being seen", lambda: all(one["seen_now"] for one in it.of("alert", "firing")))
            it.set(memory=10, slow=1)
            wait_for("two are over", lambda: {one["name"] for one in it.of("alert", "firing")} == {"Queue"}, 3 * PATIENCE)
            equal(it.one("incident", "incident", "firing")["fingerprint"], row["fingerprint"], "it lasts with its last member")
            it.set(queue=1)
            wait_for("the end", lambda: ("Queue", "resolved") in told())
            equal(it.one("incident", "incident", "firing")["fingerprint"], row["fingerprint"], "it waits for more of it")
            if asks:
                wait_for("the incident being told", lambda: ("incident", "firing") in told())
            equal(("incident", "firing") in told(), asks, f"whether the incident was told: {told()}")
            equal(it.agent.get("/health/alerts?kind=outage").status, 400, "a kind that there is not")
            equal(doubles.complaints, [], "what the double complains about")
    finally:
        doubles.stop()


def drift():
    with host() as it:
        more = it.where / "conf.d"
        more.mkdir()
        it.agent.start()
        (more / "web.toml").write_text("[forecast]\nhorizont = 1\n")
        answer = it.agent.unix("POST", "/-/reload")
        expect(answer.status >= 400, answer.body)
        row = it.one("drift", "configuration_drift", "firing")
        expect("reload was refused" in row["description"] and "web.toml:2:1" in row["description"], row)
        equal(it.agent.get("/health/status").json["overall_status"], "warning", "overall")
        (more / "web.toml").write_text("[forecast]\nhorizon = '30m'\n")
        equal(it.agent.unix("POST", "/-/reload").status, 200, "a reload")
        it.none("drift", "configuration_drift")
        # What takes effect with the next start only.
        it.agent.listen.append(f"unix:{it.where}/second.sock")
        it.agent.configure(it.config)
        equal(it.agent.unix("POST", "/-/reload").status, 200, "a reload")
        expect("http.listen" in it.one("drift", "configuration_needs_restart", "firing")["description"], it.of("drift"))
        equal(it.agent.get("/operations/drift").json["matching"], 2, "what there was of drift")
        said, _ = it.agent.command("findings", "--kind", "drift", "--state", "firing")
        expect("configuration_needs_restart" in said and "configuration_drift" not in said, said)
        # With that start it is over, well before what rules see is missed after one.
        it.agent.kill()
        it.agent.start()
        wait_for("its end", lambda: not it.of("drift", "firing"), PATIENCE / 3)


ALONE = """#!/bin/sh
exec /usr/bin/unshare --net --ipc /bin/sh -c '/sbin/ip link set lo up && exec "$0" "$@"' "BINARY" "$@"
"""

TUNING = """
[[alert]]
name = "Drops"
expr = "test_value{name='drops'} > 10"
[[remedy]]
name = "tune"
on = "Drops"
action = "network_optimization"
target = "net.core.somaxconn"
parameters = { value = "5000" }
mode = "propose"
experiment = { metric = "test_value{name='drops'}", before = "10s", after = "10s" }
"""


def tunings():
    """A tuning that is proposed, tested and kept; somebody changes what it set; it is given up."""
    with host(TUNING) as it:
        alone = it.where / "alone.sh"
        alone.write_text(ALONE.replace("BINARY", BINARY))
        alone.chmod(0o755)
        it.agent.binary = str(alone)
        it.set(drops=20)
        it.agent.start()

        def in_its_network(*words):
            return subprocess.run(["/usr/bin/nsenter", "--net", "--target", str(it.agent.process.pid), *words],
                                  capture_output=True, text=True, check=True).stdout.strip()
        row = it.one("optimization", "tuning_proposed", "firing")
        expect("would be kept when" in row["description"] and "5000" in row["description"], row)
        wait_for("a window before it", lambda: it.agent.query("test_value{name='drops'} offset 10s"))
        command = lambda *words: subprocess.run([BINARY, "--socket", str(it.agent.socket), *words], capture_output=True, text=True)  # noqa: E731
        # At once: two seconds of what was before, in the window after it, and nothing is proven. A moment too soon costs nothing.
        with subprocess.Popen([BINARY, "--socket", str(it.agent.socket), "actions", "approve", row["annotations"]["action"], "--no-wait"],
                              stdout=subprocess.DEVNULL) as approval:
            it.set(drops=1)
        equal(approval.returncode, 0, "an approval")
        it.none("optimization", "tuning_proposed")
        wait_for("the change", lambda: in_its_network("/bin/cat", "/proc/sys/net/core/somaxconn") == "5000")
        kept = it.one("optimization", "tuning_kept", "firing")
        equal((kept["value"], kept["annotations"]["before"]), (1, "20"), f"what it has gained: {kept}")
        expect(float(kept["annotations"]["p_value"]) < 0.05, kept)
        in_its_network("/bin/sh", "-c", "echo 4000 > /proc/sys/net/core/somaxconn")

        def look():  # each end of an action is a reason to look at once
            command("actions", "run", "network_optimization", "net.core.somaxconn", "--param", "value=5000", "--dry-run")
            return it.of("drift")
        drifted = wait_for("drift", look)[0]
        equal((drifted["value"], drifted["threshold"], drifted["state"]), (4000, 5000, "pending"), f"drift: {drifted}")
        expect("somebody else has changed it" in drifted["description"], drifted)
        in_its_network("/bin/sh", "-c", "echo 5000 > /proc/sys/net/core/somaxconn")
        wait_for("no drift", lambda: not look())
        equal(command("actions", "rollback", kept["annotations"]["action"]).returncode, 0, "a rollback")
        it.none("optimization", "tuning_kept")
        equal(it.of("drift"), [], "drift of what nobody wants any more")


if __name__ == "__main__":
    run_tests([("incidents that nobody asked for", lambda: incidents(False)), ("incidents that a route asks for", lambda: incidents(True))],
              [("drift of the configuration", drift), ("tunings", tunings)])
