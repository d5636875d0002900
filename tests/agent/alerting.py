"""Alerts as people meet them: a real agent, what it tells and what can be answered; doubles of receivers that validate (tests/doubles/receivers).

    alerting.py NEXUS_AGENT
"""
import contextlib
import datetime
import email
import email.policy
import json
import os
import pathlib
import shutil
import sys
import time
import urllib.parse
import zoneinfo

from harness import BASE, PATIENCE, Agent, directory, equal, expect, free_port, run_tests, set_values, wait_for
from receivers import SECRETS, Receivers
from servers import PASSWORD, Listener, Post

BINARY = sys.argv[1]

ROUTES = """
[routing]
group_wait = "0s"
group_interval = "500ms"
repeat_interval = "1h"
hold_ends = "HOLD"
receivers = ["hook"]
[[route]]
match = ['team!="test"', 'alertname!~"unclean_restart|remedy_notice"']
receivers = []
[notify.hook]
type = "webhook"
url = "ADDRESS/webhook/x"
"""


class World:
    """An agent whose values of `test_value{name="..."}` the test sets."""

    def __init__(self, where, doubles, more, hold):
        self.where = where
        self.doubles = doubles
        for name, secret in SECRETS.items():
            path = where / f"{name}.secret"
            path.write_text(secret + "\n")
            path.chmod(0o600)
        self.values = {}
        self.write()
        self.agent = Agent(BINARY, where)
        self.port = free_port()
        self.agent.listen[0] = f"127.0.0.1:{self.port}"
        text = (BASE + ROUTES + more).replace("WHERE", str(where)).replace("ADDRESS", doubles.address).replace("HOLD", hold)
        self.agent.configure(text)
        # Links lead to where the agent listens.
        self.agent.file.write_text(self.agent.file.read_text().replace("[agent]", f'[agent]\nexternal_url = "http://127.0.0.1:{self.port}"', 1))

    def write(self):
        set_values(self.where, self.values)

    def set(self, name, value):
        if value is None:
            del self.values[name]
        else:
            self.values[name] = value
        self.write()

    def told(self, alert):
        """What the webhook was told of an alert: statuses, in order."""
        return [one["status"] for body in self.doubles.of("webhook") for one in body["alerts"] if one["labels"]["alertname"] == alert]

    def finding(self, name):
        rows = [one for one in self.agent.get("/health/alerts").json["alerts"] if one["name"] == name]
        return rows[0] if rows else None

    def wait_state(self, name, state):
        return wait_for(f"{name} being {state}", lambda: (row := self.finding(name)) and row["state"] == state and row)

    def wait_metric(self, expression):
        wait_for(expression, lambda: self.agent.query(expression))


@contextlib.contextmanager
def world(more="", hold="0s"):
    doubles = Receivers()
    try:
        with directory() as where:
            made = World(where, doubles, more, hold)
            try:
                yield made
            finally:
                made.agent.close()
        equal(doubles.complaints, [], "what the doubles complain about")
    finally:
        doubles.stop()


def alert(name, more="", expr=None):
    expr = expr or f'test_value{{name="{name}"}} > 10'
    return f"[[alert]]\nname = \"{name}\"\nexpr = '{expr}'\nlabels = {{ team = \"test\" }}\n{more}\n"


def hysteresis_and_missing():
    """`clear` holds an alert until it is far enough on the good side; on_missing says what no data mean."""
    more = "".join(alert(name, f"clear = 'test_value{{name=\"{name}\"}} < 5'") for name in ("Hysteresis", "Between")) + "".join(
        alert(f"Missing_{what}", f'on_missing = "{what}"') for what in ("resolve", "hold", "fire"))
    with world(more) as it:
        names = ("Hysteresis", "Missing_resolve", "Missing_hold", "Missing_fire")
        for name in names:
            it.set(name, 20)
        it.agent.start()
        for name in names:
            it.wait_state(name, "firing")
        for name in ("Hysteresis", "Missing_hold"):
            wait_for("the begin", lambda name=name: it.told(name) == ["firing"])
        it.set("Hysteresis", 7)
        it.wait_metric('test_value{name="Hysteresis"} == 7')
        it.wait_metric('nexus_findings{state="firing"} >= 4')
        row = it.wait_state("Hysteresis", "firing")
        wait_for("its being held, unseen", lambda: it.finding("Hysteresis")["seen_now"] is False)
        it.set("Between", 20)
        it.wait_state("Between", "firing")
        it.set("Between", 7)
        wait_for("its being held, unseen", lambda: it.finding("Between")["seen_now"] is False)
        it.set("Between", None)  # gone, and not held for ever
        equal(it.wait_state("Between", "resolved")["episodes"], 1, "episodes of what was held")
        it.set("Missing_fire", 1)  # well, and then gone
        it.wait_state("Missing_fire", "resolved")
        for name in names[1:]:
            it.set(name, None)
        it.wait_state("Missing_resolve", "resolved")
        row = it.wait_state("Missing_fire", "firing")
        expect(row["missing"], row)
        wait_for("the hold", lambda: it.finding("Missing_hold")["missing"])
        equal(it.finding("Missing_hold")["state"], "firing", "what is held")
        equal(it.told("Hysteresis"), ["firing"], "what was told between 5 and 10")
        it.set("Hysteresis", 3)
        it.wait_state("Hysteresis", "resolved")
        wait_for("the end", lambda: it.told("Hysteresis") == ["firing", "resolved"])
        equal(it.told("Missing_hold"), ["firing"], "what is held was told")


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def ends_that_settle():
    """What comes back before its end was told was never over for who hears of it; the finding and the API know it at once."""
    with world(alert("Settles") + alert("Retired"), hold="150m") as it:
        it.agent.start()
        it.set("Settles", 20)
        it.set("Retired", 20)
        for name in ("Settles", "Retired"):
            it.wait_state(name, "firing")
            wait_for("the begin", lambda name=name: it.told(name) == ["firing"])
        time.sleep(10)  # how long it fires is how long its end is held
        it.set("Settles", 1)
        first = it.wait_state("Settles", "resolved")
        it.set("Settles", 20)
        again = it.wait_state("Settles", "firing")
        equal(again["episodes"], 2, "episodes")
        lasted, away = (seconds(first["resolved"]) - seconds(first["fired"]), seconds(again["fired"]) - seconds(first["resolved"]))
        # A reload takes the other's rule away: its end is told, and shows that the groups were looked at.
        it.agent.file.write_text(it.agent.file.read_text().replace(alert("Retired"), ""))
        it.agent.signal(1)
        wait_for("the end of what has no rule", lambda: it.told("Retired") == ["firing", "resolved"])
        told = it.told("Settles")
        if away > 1.4 * lasted:  # on a machine this slow its end may be told already, and rightly
            print(f"away for {away:g} s after {lasted:g} s: whether its end was held is not known", flush=True)
            equal(told, ["firing", "resolved", "firing"][:max(len(told), 1)], "what was told of what came back late")
        else:
            equal(told, ["firing"], "what was told of what came back")


def states_and_restarts():
    """`for` goes on where it was after a restart, in the book and in PromQL; filters of findings."""
    rules = """groups:
- name: restarts
  interval: 1s
  rules:
  - alert: Slow_rule
    expr: test_value{name="Slow"} > 10
    for: 6s
    labels: {team: test, severity: critical}
  - alert: Patient_rule
    expr: test_value{name="Patient"} > 10
    for: 1h
    labels: {team: test}
"""
    more = alert("Slow", 'for = "6s"') + alert("Patient", 'for = "1h"') + alert("Now", 'severity = "info"')
    with world(more) as it:
        (it.where / "rules.yml").write_text(rules)
        it.agent.file.write_text(it.agent.file.read_text().replace("[agent]", f'rule_files = ["{it.where}/rules.yml"]\n[agent]', 1))
        it.agent.start()
        it.set("Patient", 20)
        it.set("Now", 20)
        it.wait_state("Now", "firing")
        patient, slow = ("Patient", "Patient_rule"), ("Slow", "Slow_rule")
        names = slow + patient
        for name in patient:
            it.wait_metric(f'ALERTS{{alertname="{name}",alertstate="pending"}} == 1')

        def begins():
            return {row["metric"]["alertname"]: row["value"][1] for row in it.agent.query("ALERTS_FOR_STATE")}
        # It has to be pending when the agent stops, or the restart shows nothing: on a machine this slow once more.
        for attempt in range(4):
            it.set("Slow", 20)
            wait_for("the begins", lambda: set(names) <= set(begins()) and all(map(it.finding, names)))
            since, rows = begins(), {name: it.finding(name) for name in names}
            before = {name: rows[name]["started"] for name in names}
            if attempt == 3 or all(row["state"] == "pending" for row in rows.values()):
                break
            it.set("Slow", 1)
            wait_for("its end", lambda: not set(slow) & set(begins()) and
                     not any((row := it.finding(name)) and row["state"] != "resolved" for name in slow))
        print("states before the restart:", {name: row["state"] for name, row in rows.items()}, flush=True)
        stopped = time.time()
        it.agent.stop()
        it.agent.start()
        for name in ("Slow", "Slow_rule"):
            row = it.wait_state(name, "firing")
            equal(row["started"], before[name], f"begin of {name} over the restart")
            expect(seconds(row["fired"]) - seconds(row["started"]) >= 6, row)
            it.wait_metric(f'ALERTS{{alertname="{name}",alertstate="firing"}} == 1')
        for name in ("Patient", "Patient_rule"):
            row = it.wait_state(name, "pending")
            equal(row["started"], before[name], f"begin of {name} over the restart")
        later = {row["metric"]["alertname"]: row["value"][1] for row in it.agent.query("ALERTS_FOR_STATE")}
        for name in names:
            # Of a rule file's alert that is pending, the time that the agent was away does not count: as Prometheus has it.
            most = time.time() - stopped if name.endswith("_rule") else 0
            expect(0 <= float(later[name]) - float(since[name]) <= most + 1, f"ALERTS_FOR_STATE of {name}: {since[name]}, then {later[name]}")
        filters(it)


def filters(it):
    def names(query):
        answer = it.agent.get("/health/alerts?" + query)
        equal(answer.status, 200, answer.body)
        return {row["name"] for row in answer.json["alerts"]}
    team = urllib.parse.quote('team="test"')
    equal(names(f"state=pending&filter={team}"), {"Patient", "Patient_rule"}, "pending")
    equal(names(f"state=firing&severity=info&filter={team}"), {"Now"}, "of a severity")
    equal(names("state=firing&kind=alert&severity=critical"), {"Slow_rule"}, "of a kind and a severity")
    equal(names("name=Patient"), {"Patient"}, "of a name")
    asked = urllib.parse.quote('{alertname=~"Now|Patient|unclean_restart",severity!="warning",kind="alert"}')
    equal(names(f"filter={asked}"), {"Now"}, "what routes see of a finding")
    equal(names(f"flapping=true&filter={team}"), set(), "flapping")
    equal(it.agent.get("/health/alerts?limit=1").json["matching"] > 1, True, "more than were asked for")
    for query, said in (("state=burning", "state: expected one of pending, firing, resolved"), ("flapping=maybe", "flapping: expected true or false"),
                        ("severity=high", "severity: expected one of info, warning, critical"), ("filter=team", "expected"), ("limit=0", "limit")):
        answer = it.agent.get("/health/alerts?" + query)
        expect(answer.status == 400 and said in answer.body, f"{query}: {answer.body}")


HOST = pathlib.Path(__file__).resolve().parent.parent / "hosts" / "small-vm"


class Host:
    """A recorded host whose memory, swap and processors the test sets, in percent of use."""

    def __init__(self, where):
        self.proc = where / "host" / "proc"
        shutil.copytree(HOST, where / "host", symlinks=True)
        self.idled = (0, None, None)  # the counter, the share it has grown by last, and when
        self.set_memory(10, 0)
        self.idle(0)

    def replace(self, name, text):
        (self.proc / "new").write_text(text)
        os.rename(self.proc / "new", self.proc / name)

    def set_memory(self, memory, swap):
        total = 1_000_000
        values = {"MemTotal": total, "MemFree": 0, "MemAvailable": total * (100 - memory) // 100, "SwapTotal": total, "SwapFree": total * (100 - swap) // 100}
        lines = [line for line in (self.proc / "meminfo").read_text().splitlines() if line.split(":")[0] not in values]
        self.replace("meminfo", "".join(f"{name}: {value} kB\n" for name, value in values.items()) + "\n".join(lines) + "\n")

    def idle(self, percent):
        """Two processors were idle for that share of the minute that the vital asks about, and are so in each minute that this is said."""
        counter, share, at = self.idled
        if share == percent and time.monotonic() < at + 60:
            return
        self.idled = (counter := counter + percent * 60, percent, time.monotonic())
        rest = "".join(line + "\n" for line in (self.proc / "stat").read_text().splitlines() if not line.startswith("cpu"))
        times = f"0 0 0 {counter} 0 0 0 0 0 0"
        self.replace("stat", f"cpu {times}\ncpu0 {times}\ncpu1 {times}\n" + rest)


THRESHOLDS = {"cpu_usage_percent": (70, 90), "memory_usage_percent": (80, 95), "swap_usage_percent": (50, 80)}


def shipped_thresholds():
    """What the shipped vitals say of a host without any configuration: warning and critical where the mission wants them."""
    with world() as it:
        host = Host(it.where)
        it.agent.file.write_text(it.agent.file.read_text().replace("[collect]", "[collect]\n" + "".join(
            f'{kind}fs = "{it.where}/host/{kind}"\n' for kind in ("proc", "sys")) + f'rootfs = "{it.where}/host"', 1))
        it.agent.start()
        for idle, severity in ((0, "critical"), (20, "warning")):
            def seen():
                host.idle(idle)
                row = it.finding("cpu_usage_percent")
                return (row["severity"] if row and row["state"] in ("pending", "firing") else None) == severity
            wait_for(f"{severity} at {100 - idle} % of the processors", seen, 3 * PATIENCE)

        def is_now(name, severity):
            row = it.finding(name)
            return (row["severity"] if row and row["state"] == "firing" else None) == severity
        for memory, swap, expected in ((79, 49, (None, None)), (80, 50, ("warning", "warning")), (95, 80, ("critical", "critical")),
                                       (79, 49, (None, None))):
            host.set_memory(memory, swap)
            it.wait_metric(f"memory_usage_percent == {memory} and on() swap_usage_percent == {swap}")
            for name, severity in zip(("memory_usage_percent", "swap_usage_percent"), expected):
                wait_for(f"{name} being {severity} at {memory} and {swap}", lambda: is_now(name, severity))
        shown = {row["name"]: (row["warning"], row["critical"]) for row in it.agent.get("/health/status").json["recent_metrics"]}
        for name in ("cpu_usage_percent", "memory_usage_percent", "swap_usage_percent"):
            equal(shown[name], THRESHOLDS[name], name)


REMEDY = """
[[command]]
name = "help"
argv = ["/bin/sh", "-c", "echo helped >> WHERE/helped"]
[[remedy]]
name = "help"
on = 'NAME'
action = "run_command"
target = "help"
mode = "propose"
cooldown = "1s"
[notify.phone]
type = "slack"
url_file = "WHERE/phone.secret"
approval_links = true
"""


def proposal(it, alert):
    """The links of the buttons of the newest message about the alert that has some."""
    def links():
        for body in reversed(it.doubles.of("slack-hook")):
            found = [element["url"] for block in body["attachments"][0]["blocks"] if block["type"] == "actions" for element in block["elements"]]
            if found and alert in body["text"].split():
                return found
        return None
    return wait_for(f"a message with links ({it.agent.log[-1500:]})", links)


def answer(it, url, **fields):
    path = urllib.parse.urlsplit(url).path
    return it.agent.tcp("POST", path, urllib.parse.urlencode(fields), {"Content-Type": "application/x-www-form-urlencoded"})


def approvals():
    """Approve and reject from a message: signed, good for one answer, recorded with who."""
    more = alert("Approve") + alert("Reject") + REMEDY.replace("'NAME'", "'{team=\"test\"}'") + """
[[route]]
match = ['team="test"']
group_by = ["..."]
repeat_interval = "1s"  # what was told before the proposal was made is told again
receivers = ["phone"]
"""
    with world(more) as it:
        secret = it.where / "phone.secret"
        secret.write_text(f"{it.doubles.address}/slack-hook/T0/B0/5ecre7")
        secret.chmod(0o600)
        it.agent.start()
        it.set("Approve", 20)
        approve, reject = proposal(it, "Approve")
        expect(approve.startswith(f"http://127.0.0.1:{it.port}/approve/"), approve)
        parts = urllib.parse.urlsplit(approve)
        page = it.agent.tcp("GET", f"{parts.path}?{parts.query}")
        expect(page.status == 200 and "run_command help" in page.body and "Approve" in page.body, page.body)
        expect(not (it.where / "helped").exists(), "a GET has acted")
        forged = parts.path[:-1] + ("0" if parts.path[-1] != "0" else "1")
        equal(it.agent.tcp("GET", forged).status, 404, "a signature that is none")
        equal(answer(it, forged, choice="approve").status, 404, "an answer with it")
        equal(answer(it, approve, choice="maybe").status, 400, "an answer that is none")
        done = answer(it, approve, choice="approve", name="Alice <b>")
        expect(done.status == 200 and "Approved" in done.body, done.body)
        wait_for("the command", (it.where / "helped").exists)
        equal(answer(it, reject, choice="reject").status, 409, "a link that was used")
        it.set("Approve", 1)
        it.set("Reject", 20)
        approve, reject = proposal(it, "Reject")
        done = answer(it, reject, choice="reject", name="Bob")
        expect(done.status == 200 and "Rejected" in done.body, done.body)
        equal(answer(it, approve, choice="approve", name="Eve").status, 409, "the other link of the same answer")
        equal((it.where / "helped").read_text().splitlines(), ["helped"], "what was run")
        records = [(one["what"], one["who"]) for one in it.agent.get("/operations/audit").json["records"]]
        expect(("actions.approve", "Alice <b> (by the link sent to phone)") in records or
               any(what.endswith("approve") and who.startswith("Alice <b>") for what, who in records), records)
        expect(any("reject" in what and who.startswith("Bob") for what, who in records), records)
        expect("/approve/" not in it.agent.log, "a link is in the log")


def life_and_death():
    """The heartbeat beats while the agent lives; after a kill a finding says how it ended."""
    heart = Listener()
    more = f"""
[notify.switch]
type = "heartbeat"
url = "http://127.0.0.1:{heart.server_port}/ping"
method = "GET"
interval_seconds = 5
"""
    with world(more) as it:
        it.agent.start()
        wait_for("two heartbeats", lambda: len(heart.beats) >= 2)
        equal(heart.beats[0], ("GET", "/ping"), "a heartbeat")
        equal(it.finding("unclean_restart"), None, "a first start")
        out, _ = it.agent.command("notify", "test", "switch")
        expect("sent" in out, out)
        it.agent.kill()
        silent = len(heart.beats)
        it.agent.start()
        row = it.wait_state("unclean_restart", "firing")
        expect(row["severity"] in ("warning", "info", "critical"), row)
        wait_for("people being told", lambda: it.told("unclean_restart") == ["firing"])
        wait_for("the heart beating again", lambda: len(heart.beats) > silent)
        it.agent.stop()
        it.agent.start()
        wait_for("readiness", lambda: it.agent.get("/-/ready").status == 200)
        row = it.finding("unclean_restart")
        expect(row is None or row["state"] == "resolved" or not row["seen_now"], row)
    heart.shutdown()
    heart.server_close()


def around_now(zone):
    """An hour to both sides of now in a time zone, as ranges within a day."""
    now = datetime.datetime.now(zoneinfo.ZoneInfo(zone))
    minute = now.hour * 60 + now.minute
    first, last = minute - 60, minute + 60
    ranges = [(max(first, 0), min(last, 1440))] + ([(first + 1440, 1440)] if first < 0 else []) + ([(0, last - 1440)] if last > 1440 else [])
    return [f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}" for a, b in ranges if a < b]


def silences_and_times():
    """A silence of the file; routes that are muted and active by the clock of another time zone; what was deployed before."""
    hours = json.dumps(around_now("Asia/Kathmandu"))
    more = alert("Silenced") + alert("Muted") + alert("Active") + alert("Asleep") + alert("Loud") + f"""
[[silence]]
match = ['alertname="Silenced"']
comment = "it may be"
[[time_interval]]
name = "here"
times = {hours}
location = "Asia/Kathmandu"
[[time_interval]]
name = "elsewhere"
times = {hours}
location = "America/Caracas"
[[route]]
match = ['alertname="Muted"']
mute_time_intervals = ["here"]
[[route]]
match = ['alertname="Active"']
active_time_intervals = ["here"]
[[route]]
match = ['alertname="Asleep"']
active_time_intervals = ["elsewhere"]
[[route]]
match = ['alertname="Loud"']
mute_time_intervals = ["elsewhere"]
"""
    with world(more) as it:
        it.agent.start()
        out, _ = it.agent.command("events", "add", "--subject", "web.service", "shop 4.7.1 was rolled out")
        expect("deploy" in out and "shop 4.7.1" in out, out)
        who = it.agent.get("/operations/audit").json["records"][0]["who"]
        _, said = it.agent.command("events", "add", "--kind", "boot", "x", code=1)
        expect("told by the agent itself" in said, said)
        for name in ("Silenced", "Muted", "Active", "Asleep", "Loud"):
            it.set(name, 20)
        for name in ("Silenced", "Muted", "Active", "Asleep", "Loud"):
            it.wait_state(name, "firing")
        for name in ("Active", "Loud"):
            wait_for(f"{name} being told", lambda name=name: it.told(name) == ["firing"])
        out = it.agent.command_json("silence", "list")
        equal([row["comment"] for row in out["silences"] if row["status"]["state"] == "active"], ["it may be"], "the silence of the file")
        changed = it.agent.get(f"/health/alerts/{it.finding('Loud')['fingerprint']}").json["what_changed"]
        expect([one["text"] for one in changed if one["kind"] == "deploy"] == ["shop 4.7.1 was rolled out (told by " + who + ")"], changed)
        it.set("Loud", 1)  # all groups were looked at again by the time that this end is told
        wait_for("the end", lambda: it.told("Loud") == ["firing", "resolved"])
        equal([it.told(name) for name in ("Silenced", "Muted", "Asleep")], [[], [], []], "what is silent")


def pictures():
    """Charts where a receiver takes one, and Slack's thread of a group over a restart."""
    more = alert("Picture", expr="picture_value > 50") + """
[notify.bot]
type = "slack"
url_env = "SLACK_API"
token_file = "WHERE/slack.secret"
channel = "#alerts"
[notify.ntfy]
url = "ADDRESS/ntfy/"
token_file = "WHERE/ntfy.secret"
topic = "nexus"
[notify.telegram]
url = "ADDRESS/telegram"
token_file = "WHERE/telegram.secret"
chat = "-100123"
[[route]]
match = ['alertname="Picture"']
receivers = ["bot", "ntfy", "telegram"]
"""
    with world(more) as it:
        it.agent.environment["SLACK_API"] = it.doubles.address + "/slack-api/chat.postMessage"
        it.agent.start()
        now = time.time()
        rows = "".join(f"picture_value {50 + step} {now - 3600 + step * 60:.3f}\n" for step in range(1, 59))
        file = it.where / "picture.om"
        file.write_text(f"# TYPE picture_value gauge\n{rows}# EOF\n")
        it.agent.command("import", file)
        (it.where / "picture.prom").write_text("picture_value 110\n")
        it.wait_state("Picture", "firing")
        for name in ("slack-api", "ntfy", "telegram"):
            wait_for(f"a picture for {name}: {it.agent.log[-2000:]} {it.doubles.complaints}", lambda name=name: it.doubles.pictures[name])
        first = it.doubles.of("slack-api")[0]
        expect("thread_ts" not in first, "the begin is no answer")
        thread = it.doubles.pictures["slack-api"][0]
        it.agent.stop()
        it.agent.start()
        it.wait_state("Picture", "firing")
        (it.where / "picture.prom").write_text("picture_value 1\n")
        wait_for("the end in the thread", lambda: len(it.doubles.of("slack-api")) == 2, 3 * PATIENCE)  # held for a minute, if not seen before
        last = it.doubles.of("slack-api")[1]
        equal((last["thread_ts"], last["reply_broadcast"]), (thread, True), "the thread over a restart")


# More than fit a line of a header.
TO = ["gone@example.org"] + [f"oncall-{number}@a.rather.long.name.of.a.domain.example.org" for number in range(30)]


def mails():
    """SMTP with STARTTLS or TLS and AUTH, and what a mail server may refuse; aiosmtpd is real."""
    with directory() as beside:
        post = Post(beside)
        servers = {
            "plain": post.open("plain", mechanisms=("PLAIN",)),
            "login": post.open("login", mechanisms=("LOGIN",)),
            "implicit": post.open("implicit", tls="tls"),
            "clear": post.open("clear", tls="none"),
            "some": post.open("some", refuses="gone"),
        }
        more = ""
        for name, server in {**servers, "wrong": servers["plain"], "stranger": servers["plain"]}.items():
            more += f"""
[notify.{name}]
type = "email"
server = "{server}"
from = "agent@example.org"
to = {json.dumps(TO)}
username = "agent"
password_file = "{beside}/{'wrong' if name == 'wrong' else 'mail'}.secret"
encryption = "{'tls' if name == 'implicit' else 'starttls'}"
""" + ("" if name == "stranger" else f'ca_file = "{beside}/cert.pem"\n')
        for name, secret in (("mail", PASSWORD), ("wrong", "not the 5ecre7")):
            path = beside / f"{name}.secret"
            path.write_text(secret + "\n")
            path.chmod(0o600)
        try:
            with world(more) as it:
                it.agent.start()
                for name in ("plain", "login", "implicit", "some"):
                    it.agent.command("notify", "test", name)
                    equal(len(post.mails[name]), 1, f"mails of {name}")
                    equal(set(post.logins[name]), {("LOGIN" if name == "login" else "PLAIN", PASSWORD.encode())}, f"log-in of {name}")
                equal(post.mails["some"][0].rcpt_tos, TO[1:], "who still gets it")
                lines = post.mails["plain"][0].content.splitlines()
                expect(max(map(len, lines)) <= 998, "a line is too long for SMTP")
                expect(b"=0A" not in post.mails["plain"][0].content, "a line end of the text is not one of the mail")
                header = email.message_from_bytes(post.mails["plain"][0].content, policy=email.policy.default)["To"]
                equal([str(one.addr_spec) for one in header.addresses], TO, "To")
                wait_for("who does not get it", lambda: "refuses <gone@example.org>: 550" in it.agent.log)
                for name, why in (("clear", "STARTTLS"), ("wrong", "ogin denied"), ("stranger", "certificate")):
                    _, said = it.agent.command("notify", "test", name, code=1)
                    wait_for(f"{why} of {name}: {said}", lambda why=why, said=said: why in said + it.agent.log)
                    expect("5ecre7" not in said, f"{name} tells a secret: {said}")
                equal((post.mails["clear"], post.logins["clear"]), ([], []), "what went in the clear")
                expect("5ecre7" not in it.agent.log, "a secret is in the log")
        finally:
            post.stop()


run_tests((("hysteresis and missing data", hysteresis_and_missing), ("ends that settle", ends_that_settle),
           ("states and restarts", states_and_restarts), ("shipped thresholds", shipped_thresholds), ("approvals", approvals), ("life and death", life_and_death),
           ("silences and times", silences_and_times), ("pictures and threads", pictures), ("mails", mails)))
