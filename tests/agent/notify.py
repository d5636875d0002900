"""Notifications of a real agent: every receiver, what hangs, limits, fails and comes back, restarts, and no secret anywhere.

    notify.py NEXUS_AGENT

Mail goes to aiosmtpd with STARTTLS and AUTH, alerts to Debian's Alertmanager; the other services are doubles that validate each
request against the vendor's schema (tests/doubles/receivers).
"""
import contextlib
import email
import email.policy
import json
import os
import pathlib
import shutil
import sqlite3
import ssl
import subprocess
import sys
import urllib.request

from harness import BASE, PATIENCE, Agent, directory, equal, expect, free_port, run_tests, wait_for
from receivers import SECRETS, Receivers
from servers import Socks, proxy

import aiosmtpd.controller
import aiosmtpd.smtp

BINARY = sys.argv[1]
PASSWORD = "5ecre7 of mail: \"quoted\" ü"
# Markup of everybody, a header, JSON, a template, and no end of a line where one could be.
EVIL = 'a"b</b> <!channel> @everyone &amp; {{.Value}} ü 💥 \\n\\nSubject: no\\n'

ROUTES = """
[routing]
group_wait = "0s"
group_interval = "500ms"
repeat_interval = "1h"
hold_ends = "0s"
receivers = {receivers}
[[alert]]
name = "test_fires"
expr = 'notify_test > 0'
severity = "critical"
annotations = {{ summary = "it is so: {{{{ $labels.note }}}}", description = "two\\nlines" }}
[[route]]
match = ['alertname!="test_fires"']
receivers = []
"""


class Mailbox:
    """A mail server with STARTTLS and AUTH, both required."""

    def __init__(self, where):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", where / "key.pem", "-out", where / "cert.pem"], check=True,
                       capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(where / "cert.pem", where / "key.pem")
        self.mails = []
        self.logins = []
        box = self

        class Handler:
            async def handle_DATA(self, server, session, envelope):
                expect(session.ssl is not None, "a mail came in the clear")
                box.mails.append((envelope, email.message_from_bytes(envelope.content, policy=email.policy.default)))
                return "250 taken"

        def login(server, session, envelope, mechanism, data):
            box.logins.append(mechanism)
            good = data.login == b"agent" and data.password == PASSWORD.encode()
            return aiosmtpd.smtp.AuthResult(success=good)

        self.controller = aiosmtpd.controller.Controller(
            Handler(), hostname="127.0.0.1", port=free_port(), tls_context=context, require_starttls=True, auth_required=True,
            auth_require_tls=True, authenticator=login, enable_SMTPUTF8=True)
        self.controller.start()
        self.server = f"127.0.0.1:{self.controller.port}"

    def stop(self):
        self.controller.stop()


@contextlib.contextmanager
def alertmanager(where):
    port = free_port()
    (where / "alertmanager.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    with open(where / "alertmanager.log", "wb") as log:
        process = subprocess.Popen(
            [shutil.which("prometheus-alertmanager"), f"--config.file={where}/alertmanager.yml", f"--storage.path={where}/am",
             "--cluster.listen-address=", f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        try:
            def ready():
                with contextlib.suppress(OSError):
                    return urllib.request.urlopen(url + "/-/ready", timeout=5).status == 200
            wait_for("Alertmanager being ready", ready)
            yield url
        finally:
            process.kill()
            process.wait()


class World:
    def __init__(self, where, doubles, more="", receivers=("hook",)):
        self.where = where
        self.doubles = doubles
        for name, secret in {**SECRETS, "mail": PASSWORD, "slackhook": f"{doubles.address}/slack-hook/T0/B0/5ecre7"}.items():
            path = where / f"{name}.secret"
            path.write_text(secret + "\n")
            path.chmod(0o600)
        self.set(0)
        self.agent = Agent(BINARY, where, self.config(more, receivers))

    def config(self, more, receivers):
        hook = f'[notify.hook]\ntype = "webhook"\nurl = "{self.doubles.address}/webhook/x"\nsecret_file = "{self.where}/webhook.secret"\n'
        return BASE.replace("WHERE", str(self.where)) + ROUTES.format(receivers=json.dumps(list(receivers))) + hook + more

    def set(self, value, note=EVIL):
        quoted = note.replace('"', '\\"')
        text = f'notify_test{{note="{quoted}"}} {value}\n'
        temporary = self.where / "test.tmp"
        temporary.write_text(text)
        os.rename(temporary, self.where / "test.prom")

    def statuses(self, name="webhook"):
        return [body["status"] for body in self.doubles.of(name)]

    def wait_statuses(self, *expected, patience=PATIENCE):
        wait_for(f"the webhook being told {expected}", lambda: self.statuses() == list(expected), patience)


@contextlib.contextmanager
def world(more="", receivers=("hook",), doubles=None):
    doubles = doubles or Receivers()
    try:
        with directory() as where:
            made = World(where, doubles, more.replace("WHERE", str(where)).replace("ADDRESS", doubles.address), receivers)
            try:
                yield made
            finally:
                made.agent.close()
        equal(doubles.complaints, [], "what the doubles complain about")
    finally:
        doubles.stop()


INCIDENTS = """
[notify.bot]
type = "slack"
url_env = "SLACK_API"
token_env = "SLACK_TOKEN"
channel = "#alerts"
[notify.pagerduty]
url = "ADDRESS/pagerduty/v2/enqueue"
token_file = "WHERE/pagerduty.secret"
[notify.opsgenie]
url = "ADDRESS/opsgenie/"
token_file = "WHERE/opsgenie.secret"
"""

EVERY = INCIDENTS + """
[notify.slack]
url_file = "WHERE/slackhook.secret"
[notify.discord]
url_env = "DISCORD_URL"
[notify.teams]
url_env = "TEAMS_URL"
[notify.telegram]
url = "ADDRESS/telegram"
token_file = "WHERE/telegram.secret"
chat = "-100123"
[notify.ntfy]
url = "ADDRESS/ntfy/"
token_credential = "ntfy.secret"
topic = "nexus"
[notify.mail]
type = "email"
server = "MAILSERVER"
from = "agent@example.org"
to = ["a@example.org", "b@example.org"]
username = "agent"
password_file = "WHERE/mail.secret"
ca_file = "WHERE/cert.pem"
[notify.am]
type = "alertmanager"
urls = ["ALERTMANAGER/", "http://127.0.0.1:1"]
[notify.exec]
command = "write"
[[command]]
name = "write"
argv = ["/bin/sh", "-c", 'printf "%s|%s\\n" "$NEXUS_STATUS" "$NEXUS_TITLE" >> WHERE/exec.out']
"""
NAMES = ["hook", "log", "slack", "bot", "pagerduty", "opsgenie", "discord", "teams", "telegram", "ntfy", "mail", "am", "exec"]
SERVICES = ["webhook", "slack-hook", "slack-api", "pagerduty", "opsgenie", "discord", "teams", "telegram", "ntfy"]


def every_receiver():
    doubles = Receivers()
    with directory() as beside:
        mailbox = Mailbox(beside)
        try:
            with alertmanager(beside) as manager:
                more = EVERY.replace("MAILSERVER", mailbox.server).replace("ALERTMANAGER", manager).replace(
                    "WHERE/cert.pem", str(beside / "cert.pem"))
                with world(more, NAMES, doubles) as it:
                    it.agent.environment |= {"SLACK_TOKEN": SECRETS["slack"], "SLACK_API": doubles.address + "/slack-api/chat.postMessage", "CREDENTIALS_DIRECTORY": str(it.where),
                                             "DISCORD_URL": doubles.address + "/discord/5ecre7", "TEAMS_URL": doubles.address + "/teams/5ecre7"}
                    it.agent.start()
                    both_ways(it, mailbox, manager)
        finally:
            mailbox.stop()


def both_ways(it, mailbox, manager):
    def alerts():
        return json.load(urllib.request.urlopen(manager + "/api/v2/alerts", timeout=30))
    out = it.where / "exec.out"
    for round_, value in ((1, 1), (2, 0)):
        it.set(value)
        for name in SERVICES:
            wait_for(f"{name} in round {round_}: {it.agent.log[-2000:]} {it.doubles.complaints}",
                     lambda name=name: len(it.doubles.of(name)) == round_)
        wait_for(f"mail {round_}: {it.agent.log[-2000:]}", lambda: len(mailbox.mails) == round_)
        wait_for("the command", lambda: out.exists() and len(out.read_text().splitlines()) == round_)
        wait_for("Alertmanager", lambda: len(alerts()) == (1 if value else 0))
        if value:
            note = alerts()[0]["labels"]["note"]
            equal(it.doubles.of("webhook")[0]["alerts"][0]["labels"]["note"], note, "the label, as both show it")
            expect('a"b</b> <!channel> @everyone &amp; {{.Value}} ü 💥' in note, note)
    check_mails(mailbox)
    first, second = it.doubles.of("slack-api")
    expect("thread_ts" not in first and second["thread_ts"], "the end is in the thread of the begin")
    first, second = it.doubles.of("pagerduty")
    equal((first["event_action"], second["event_action"]), ("trigger", "resolve"), "PagerDuty's actions")
    equal(first["dedup_key"], second["dedup_key"], "PagerDuty's key")
    equal([line.split("|")[0] for line in out.read_text().splitlines()], ["firing", "resolved"], "what the command was given")
    wait_for("the agent's own count", lambda: it.agent.metric("nexus_notifications_sent_total") == 2 * len(NAMES))
    no_secrets(it)


def check_mails(mailbox):
    (envelope, first), (_, second) = mailbox.mails
    equal(envelope.rcpt_tos, ["a@example.org", "b@example.org"], "recipients")
    expect(first["Subject"].startswith("[FIRING:1] test_fires on "), first["Subject"])
    expect(second["Subject"].startswith("[RESOLVED] test_fires on "), second["Subject"])
    equal(first["References"], second["References"], "the thread")
    expect(first["Message-ID"] != second["Message-ID"], "two mails have one id")
    equal(first["From"], "agent@example.org", "From")
    expect(first["Date"].datetime is not None, "no date")
    text = first.get_body(("plain",)).get_content()
    page = first.get_body(("html",)).get_content()
    expect('a"b</b> <!channel>' in text and "ü 💥" in text, text)
    expect("a&quot;b&lt;/b&gt; &lt;!channel&gt;" in page, page)
    expect("nexus-agent silence add" in text, text)
    equal([key for key in first.keys() if key.lower() == "subject"], ["Subject"], "one subject")


def no_secrets(it):
    pages = {path: it.agent.get(path).body for path in
             ("/metrics", "/health", "/health/components", "/health/alerts", "/api/v1/status/config", "/operations/audit")}
    pages["log"] = it.agent.log
    for name, page in pages.items():
        expect("5ecre7" not in page, f"a secret is in {name}")
    expect(b"5ecre7" not in (it.agent.data / "notifications.db").read_bytes(), "a secret is in the database")


OTHER = """
[notify.other]
type = "slack"
url_file = "WHERE/slackhook.secret"
timeout = "30s"
"""


def one_that_hangs():
    """The others hear at once; what waits is delivered after a SIGKILL, and what was delivered is not repeated."""
    with world(OTHER, ("other", "hook")) as it:
        it.doubles.behave["slack-hook"] = "hang"
        it.agent.start()
        it.set(1)
        it.wait_statuses("firing")
        wait_for("the attempt", lambda: it.doubles.attempts["slack-hook"])
        equal(it.doubles.of("slack-hook"), [], "the one that hangs took nothing")

        def waiting():  # killed before it is written down that somebody has it, he is told twice
            with contextlib.closing(sqlite3.connect(it.agent.data / "notifications.db", timeout=60)) as state:
                return {receiver for receiver, in state.execute("SELECT receiver FROM notifications")}
        wait_for("its being written down who has it", lambda: waiting() == {"other"})
        it.agent.kill()
        it.doubles.behave["slack-hook"] = "ok"
        it.agent.start()
        wait_for("what waited", lambda: it.doubles.of("slack-hook"))
        # Killed before it was written down, only a rule that sees it again makes it known.
        wait_for("its being seen", lambda: any(row["name"] == "test_fires" and row["seen_now"] for row in it.agent.get("/health/alerts").json["alerts"]))
        it.set(0)
        # What a restart restored and no rule of this run has seen is held for a minute.
        it.wait_statuses("firing", "resolved", patience=3 * PATIENCE)
        wait_for("the end", lambda: len(it.doubles.of("slack-hook")) == 2)
        titles = [body["text"].split("]")[0] for body in it.doubles.of("slack-hook")]
        equal(titles, ["[FIRING:1", "[RESOLVED"], "in order, and once")
        it.agent.stop()


def told_over_restarts():
    """What fires is told once, and what ended while the agent was away is told to have ended."""
    with world() as it:
        it.agent.start()
        it.set(1)
        it.wait_statuses("firing")
        it.agent.stop()
        it.agent.start()
        wait_for("the finding after a restart", lambda: '"firing"' in it.agent.get("/health/alerts").body)
        it.set(0)
        it.wait_statuses("firing", "resolved", patience=3 * PATIENCE)  # as above
        ids = [headers["X-Nexus-Notification"] for headers in it.doubles.headers["webhook"]]
        equal(len(set(ids)), 2, "ids")


def limits_and_failures():
    with world() as it:
        it.doubles.behave["webhook"] = (429, {"Retry-After": "1"})
        it.agent.start()
        it.set(1)
        wait_for("another attempt", lambda: len(it.doubles.attempts["webhook"]) >= 2)
        expect("status 429" in it.agent.get("/health/components").body, "the trouble is shown")
        it.doubles.behave["webhook"] = "dead"
        count = len(it.doubles.attempts["webhook"])
        wait_for("an attempt without an answer", lambda: len(it.doubles.attempts["webhook"]) > count)
        it.doubles.behave["webhook"] = "ok"
        it.wait_statuses("firing")
        wait_for("health", lambda: "status 429" not in it.agent.get("/health/components").body)
        # A refusal is not repeated, and the next one says that something is missing.
        it.doubles.behave["webhook"] = (400, {})
        count = len(it.doubles.attempts["webhook"])
        it.set(0)
        wait_for("the refusal", lambda: it.agent.metric("nexus_notifications_dropped_total") == 1)
        equal(len(it.doubles.attempts["webhook"]), count + 1, "attempts")
        it.doubles.behave["webhook"] = "ok"
        it.set(1)
        it.wait_statuses("firing", "firing")
        equal(it.doubles.headers["webhook"][-1].get("X-Nexus-Suppressed"), "1", "what is missing")


def broken_tls():
    with directory() as beside:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", beside / "key.pem", "-out", beside / "cert.pem"], check=True,
                       capture_output=True)
        doubles = Receivers((beside / "cert.pem", beside / "key.pem"))
        with world(doubles=doubles) as it:
            it.agent.start()
            it.set(1)
            wait_for("the refusal of the certificate", lambda: "certificate" in it.agent.get("/health/components").body)
            equal(doubles.of("webhook"), [], "nothing is told to a stranger")
            config = it.config(f'ca_file = "{beside}/cert.pem"\n', ("hook",))
            it.agent.configure(config)
            it.agent.signal(1)
            it.wait_statuses("firing")


def incidents_and_threads():
    """An incident is closed under the key it was opened with, whatever the host is called since; a thread that is locked is left."""
    with world(INCIDENTS, ("hook", "bot", "pagerduty", "opsgenie")) as it:
        it.agent.environment |= {"SLACK_TOKEN": SECRETS["slack"], "SLACK_API": it.doubles.address + "/slack-api/chat.postMessage"}
        it.doubles.behave["pagerduty"] = "late"
        it.agent.start()
        it.set(1)
        for name in ("webhook", "slack-api", "pagerduty", "opsgenie"):
            wait_for(f"{name} being told", lambda name=name: it.doubles.of(name))  # who is late is told again

        def is_called(cluster):
            return any(alert["labels"].get("cluster") == cluster for body in it.doubles.of("webhook") for alert in body["alerts"])
        # A reload while PagerDuty has taken the incident and not answered yet: it stays the same incident.
        it.agent.file.write_text(it.agent.file.read_text().replace("[agent]", '[agent]\nexternal_labels = { cluster = "mid" }', 1))
        it.agent.signal(1)
        wait_for("the label being told", lambda: is_called("mid"))
        it.doubles.behave["pagerduty"] = "ok"
        wait_for("PagerDuty being told again", lambda: len(it.doubles.of("pagerduty")) >= 2)
        it.agent.stop()
        told = {name: len(it.doubles.of(name)) for name in ("slack-api", "pagerduty", "opsgenie")}
        it.agent.file.write_text(it.agent.file.read_text().replace('cluster = "mid"', 'cluster = "new"', 1))
        it.agent.start()
        wait_for("the new label being told", lambda: is_called("new"))
        for name, before in told.items():
            wait_for(f"{name} being told again", lambda name=name, before=before: len(it.doubles.of(name)) > before)
        it.doubles.threads_locked = True
        wait_for("its being seen", lambda: any(row["name"] == "test_fires" and row["seen_now"] for row in it.agent.get("/health/alerts").json["alerts"]))
        it.set(0)
        wait_for("PagerDuty's end", lambda: it.doubles.of("pagerduty")[-1]["event_action"] == "resolve")
        wait_for("Opsgenie's end", lambda: "alias" not in it.doubles.of("opsgenie")[-1])
        equal(len({body["dedup_key"] for body in it.doubles.of("pagerduty")}), 1, "PagerDuty's keys")
        alias = {body["alias"] for body in it.doubles.of("opsgenie") if "alias" in body}
        equal(len(alias), 1, "Opsgenie's aliases")
        closed = it.doubles.paths["opsgenie"][-1]
        expect(f"/{alias.pop()}/close" in closed, closed)
        wait_for("Slack's end", lambda: it.doubles.of("slack-api")[-1]["text"].startswith("[RESOLVED]") and
                 "thread_ts" not in it.doubles.of("slack-api")[-1])


FLOOD = "".join(f'''
[[alert]]
name = "flood_{number}"
expr = 'notify_test > 0'
''' for number in range(40)) + """
[[route]]
match = ['alertname=~"flood_.*"']
group_by = ["..."]
receivers = ["limited"]
[notify.limited]
type = "webhook"
url = "ADDRESS/webhook/limited"
rate_per_minute = 100000
"""


def flood_and_limits():
    """A receiver that asks for mercy gets it while forty notifications wait; then all of them arrive, each once."""
    with world(FLOOD) as it:
        # FLOOD's route stands behind that of ROUTES, which takes everything else.
        it.agent.file.write_text(it.agent.file.read_text().replace('alertname!="test_fires"', 'alertname!~"test_fires|flood_.*"'))
        it.doubles.behave["webhook"] = (429, {"Retry-After": "2"})
        it.agent.start()
        it.set(1)
        wait_for("all waiting", lambda: it.agent.metric("nexus_notifications_queued") == 41)
        begun = len(it.doubles.attempts["webhook"])
        wait_for("two more attempts of each", lambda: len(it.doubles.attempts["webhook"]) >= begun + 4)
        with it.doubles.lock:
            times = it.doubles.attempts["webhook"][:]
        # Two receivers at one address: of any three attempts two are of the same one.
        gaps = [third - first for first, third in zip(times, times[2:])]
        expect(min(gaps) >= 2, f"attempts came faster than Retry-After asks for: {gaps}")
        it.doubles.behave["webhook"] = "ok"
        wait_for("all being delivered", lambda: len(it.doubles.of("webhook")) == 41)
        names = [body["alerts"][0]["labels"]["alertname"] for body in it.doubles.of("webhook")]
        equal(len(set(names)), 41, f"each once: {names}")
        equal(it.agent.metric("nexus_notifications_dropped_total"), 0, "dropped")


def proxies():
    """Through a real proxy that asks for a password: plain HTTP, HTTPS and SMTP by CONNECT; by SOCKS; and who does not know it."""
    with directory() as beside:
        mailbox = Mailbox(beside)
        doubles = Receivers((beside / "cert.pem", beside / "key.pem"))
        clear = Receivers()
        mail_port = int(mailbox.server.rpartition(":")[2])
        try:
            with proxy(beside, (doubles.server_port, mail_port)) as (url, said):
                secret = beside / "proxy.secret"
                secret.write_text(url.replace("://", "://agent:5ecre7proxy@") + "\n")
                secret.chmod(0o600)
                socks = Socks("agent", "5ecre7proxy")
                for name, password in (("socks", "5ecre7proxy"), ("wrong", "5ecre7wrong")):
                    (beside / name).write_text(f"socks5h://agent:{password}@127.0.0.1:{socks.port}\n")
                    (beside / name).chmod(0o600)
                through = f'proxy_file = "{secret}"\nca_file = "{beside}/cert.pem"\n'
                more = through + f"""
[notify.clear]
type = "webhook"
url = "{clear.address}/webhook/x"
{through}
[notify.mail]
type = "email"
server = "{mailbox.server}"
from = "agent@example.org"
to = ["a@example.org"]
username = "agent"
password_file = "WHERE/mail.secret"
{through}
[notify.stranger]
type = "webhook"
url = "ADDRESS/webhook/x"
proxy = "{url}"
""" + "".join(f"""
[notify.{name}]
type = "webhook"
url = "{clear.address}/webhook/x"
proxy_file = "{beside}/{name}"
""" for name in ("socks", "wrong"))
                with world(more, doubles=doubles) as it:
                    it.agent.start()
                    for name in ("hook", "clear", "mail"):
                        out, _ = it.agent.command("notify", "test", name)
                        expect("sent" in out, out)
                    equal((len(doubles.of("webhook")), len(clear.of("webhook")), len(mailbox.mails)), (1, 1, 1), "what arrived")
                    for port in (doubles.server_port, mail_port):
                        expect(f"CONNECT 127.0.0.1:{port}" in said(), f"nothing went to {port} by CONNECT: {said()}")
                    expect(f"POST http://127.0.0.1:{clear.server_port}/" in said(), said())
                    _, wrong = it.agent.command("notify", "test", "stranger", code=1)
                    expect("407" in wrong, wrong)
                    equal(len(doubles.of("webhook")), 1, "what arrived without the password")
                    it.agent.command("notify", "test", "socks")
                    it.agent.command("notify", "test", "wrong", code=1)
                    equal((len(clear.of("webhook")), socks.asked), (2, [("127.0.0.1", clear.server_port)]), "what went by SOCKS")
                    socks.stop()
                    no_secrets(it)
        finally:
            clear.stop()
            mailbox.stop()


def silences():
    """Over the command line, HTTP and amtool; a test; and what is recorded."""
    with world('[auth]\nanonymous_role = "operator"\n') as it:
        agent = it.agent.start()
        first = agent.command_json("silence", "add", "--comment", "it is known", "alertname=~\"test_.*\"", "note!=\"\"")["silenceID"]
        it.set(1)
        wait_for("the finding", lambda: any(one["name"] == "test_fires" and one["state"] == "firing"
                                            for one in agent.get("/health/alerts").json["alerts"]))
        out, _ = agent.command("notify", "test", "hook")
        expect("sent" in out, out)
        wait_for("the test", lambda: len(it.doubles.of("webhook")) == 1)
        equal(it.doubles.of("webhook")[0]["commonLabels"]["alertname"], "notification_test", "only the test is told")
        rows = agent.command_json("silence", "list")
        equal([(row["id"], row["status"]["state"], row["comment"]) for row in rows["silences"]], [(first, "active", "it is known")], "list")
        agent.command("silence", "expire", first)
        wait_for("what was silenced", lambda: len(it.doubles.of("webhook")) == 2)
        agent.command("silence", "expire", first, code=1)
        _, said = agent.command("silence", "add", "--comment", "x", "severity>1", code=1)
        expect("expected =, !=, =~ or !~" in said, said)
        _, said = agent.command("notify", "test", "nobody", code=1)
        expect('there is no receiver "nobody"' in said, said)
        amtool(it, first)
        done = [record["what"] for record in agent.get("/operations/audit").json["records"]]
        expect("silence" in done and "expire_silence" in done and "notify_test" in done, done)


def amtool(it, expired):
    def run(*words):
        ran = subprocess.run(["amtool", f"--alertmanager.url=http://127.0.0.1:{it.agent.port}", "silence", *words], capture_output=True,
                             text=True, timeout=60)
        equal(ran.returncode, 0, f"amtool silence {words}: {ran.stderr}")
        return ran.stdout
    made = run("add", "--author=me", "--comment=ü & more", "--duration=1h", "alertname=disk", "mount=~/srv.*", "team!=db").strip()
    listed = json.loads(run("query", "-o", "json"))
    equal([one["id"] for one in listed], [made], "what amtool sees")
    equal(sorted((m["name"], m["value"], m["isRegex"], m["isEqual"]) for m in listed[0]["matchers"]),
          [("alertname", "disk", False, True), ("mount", "/srv.*", True, True), ("team", "db", False, False)], "matchers")
    equal([one["id"] for one in json.loads(run("query", "--expired", "-o", "json"))], [expired], "what is over")
    equal(json.loads(run("query", "-o", "json", "alertname=other")), [], "filtered")
    run("expire", made)
    equal(json.loads(run("query", "-o", "json")), [], "after it was ended")
    answer = it.agent.tcp("POST", "/api/v2/silences", {"matchers": [], "startsAt": "2026-01-01T00:00:00Z", "endsAt": "soon"})
    expect(answer.status == 400 and "endsAt" in answer.body, answer.body)


def bad_configurations():
    with directory() as where:
        file = where / "agent.toml"
        cases = {
            '[notify.x]\ntype = "pigeon"': 'agent.toml:2:8: notify.x.type: there is no receiver "pigeon"',
            '[notify.slack]\nurl = "https://hooks.slack.com/5ecre7"': "notify.slack.url: who knows it can write there",
            '[notify.slack]\nurl_env = "NOT_THERE"': "notify.slack.url_env:",
            '[notify.webhook]\n': "notify.webhook.url: missing",
            '[notify.webhook]\nurl = "ftp://x"': "notify.webhook.url: expected an address that begins with http",
            '[notify.email]\nserver = "a:25"\nfrom = "me"\nto = ["b@c"]': "notify.email.from: expected an address",
            '[notify.email]\nserver = "a:25"\nfrom = "a@b"': "notify.email.to: missing",
            '[notify.ntfy]\ntopik = "x"': "agent.toml:2:9: notify.ntfy.topik: unknown key; the options of ntfy are: topic",
            '[notify.webhook]\nurl = "http://x/"\nproxy = "proxy:3128"': "agent.toml:3:9: notify.webhook.proxy: expected the URL of a proxy",
            '[notify.webhook]\nurl = "http://x/"\nproxy = "http://a:b@c"': "proxy_file, proxy_env or proxy_credential",
            '[notify.ntfy]\ntopic = 7': "notify.ntfy.topic: expected a string",
            '[[route]]\nmatch = ["severity>7"]': "agent.toml:2:9: route.match: severity>7: expected =, !=, =~ or !~ after severity",
            '[[route]]\nmatch = ["a=~\\"(\\""]': "agent.toml:2:9: route.match:",
            '[[route]]\nreceivers = ["nobody"]': 'agent.toml:2:13: route.receivers: "nobody" is no receiver',
            '[[route]]\nmute_time_intervals = ["never"]': '"never" is no time interval',
            '[routing]\ngroup_by = ["...", "a"]': 'routing.group_by: "..." stands for every label',
            '[routing]\ncritical = ["pager"]': 'agent.toml:2:12: route.receivers: "pager" is no receiver',
            '[[time_interval]]\nname = "x"\ntimes = ["9-5"]': "agent.toml:3:9:",
            '[[time_interval]]\nname = "x"\nlocation = "Europe/Atlantis"': "a time zone such as",
            '[[silence]]\nmatch = []': "silence.match: expected at least one matcher",
            '[[silence]]\nmatch = ["a=b"]\nends = "soon"': "silence.ends: expected a time",
            '[[inhibit]]\nsource = ["a=b"]': "inhibit.target",
        }
        for text, expected in cases.items():
            file.write_text(text + "\n")
            ran = subprocess.run([BINARY, "check", "config", str(file)], capture_output=True, text=True, timeout=60)
            equal(ran.returncode, 1, f"{text!r}: {ran.stderr}")
            expect(expected in ran.stderr, f"{text!r}: expected {expected!r} in {ran.stderr!r}")
            expect("5ecre7" not in ran.stderr, ran.stderr)


run_tests((("every receiver, both ways", every_receiver), ("one that hangs", one_that_hangs), ("told over restarts", told_over_restarts),
           ("incidents and threads", incidents_and_threads), ("limits and failures", limits_and_failures), ("flood and limits", flood_and_limits), ("broken TLS", broken_tls),
           ("proxies", proxies), ("silences", silences),
           ("bad configurations", bad_configurations)))
