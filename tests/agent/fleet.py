"""Real agents that share a lock, in Redis and then in PostgreSQL: five of them want to do the same all the time, two may.

Used by agent_run.py. Each run of the work writes down when it began and ended, for whom, and its fencing token; a request has
the token in a header.
"""
import contextlib
import os
import pathlib
import subprocess

from counterparts import send, served
from harness import Agent, equal, expect, wait_for

AGENTS, BUDGET = 5, 2

WORK = """#!/bin/sh
echo "begin $1 $NEXUS_FENCING_TOKEN" >> "$2"
sleep 0.7
echo "end $1 $NEXUS_FENCING_TOKEN" >> "$2"
"""

CONFIG = """
[operations]
check_interval = "200ms"
action_timeout = "10s"
[guardrails]
cooldown = "200ms"
cooldown_max = "200ms"
max_attempts = 100000
max_actions_per_hour = 100000
max_actions_per_hour_per_target = 100000
[[alert]]
name = "Work"
expr = "vector(1)"
[[remedy]]
name = "work"
on = "Work"
action = "run_command"
target = "work"
[[command]]
name = "work"
argv = ["{where}/work.sh", "{name}", "{log}"]
[[request]]
name = "told"
method = "GET"
url = "http://somebody:secret-of-url@127.0.0.1:{port}/hook?key=secret-of-query"
headers = {{ X-Api-Key = "secret-of-header" }}
[fleet]
lock = "{lock}"
budget = {budget}
[redis]
host = "{where}/redis.sock"
[postgres]
host = "{where}/postgres"
user = "postgres"
"""


def as_user(name):
    """Root starts servers as the user that their package made."""
    return {"user": name, "group": name, "extra_groups": []} if os.geteuid() == 0 else {}


class Server:
    def __init__(self, words, user, ready, number):
        self.words, self.user, self.ready, self.number = words, user, ready, number
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        stdin=subprocess.DEVNULL, **as_user(self.user))
        wait_for(f"{self.words[0]} being there",
                 lambda: subprocess.run(self.ready, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0)

    def stop(self):
        if self.process is not None:
            self.process.send_signal(self.number)
            self.process.wait(60)
            self.process = None


def redis(where):
    place = str(where / "redis.sock")
    return Server(["/usr/bin/redis-server", "--port", "0", "--unixsocket", place, "--unixsocketperm", "777", "--dir", str(where),
                   "--save", ""], "redis", ["redis-cli", "-s", place, "ping"], 15)


def postgres(where):
    programs = pathlib.Path("/usr/lib/postgresql/15/bin")
    place = where / "postgres"
    subprocess.run([programs / "initdb", "-D", place, "-U", "postgres", "--auth=trust", "--no-sync"], check=True,
                   stdout=subprocess.DEVNULL, **as_user("postgres"))
    with open(place / "postgresql.conf", "a") as file:
        file.write(f"listen_addresses = ''\nunix_socket_directories = '{place}'\nfsync = off\n")
    return Server([str(programs / "postgres"), "-D", str(place)], "postgres",
                  [programs / "pg_isready", "-h", place, "-U", "postgres"], 2)


class Fleet:
    def __init__(self, binary, where, port):
        self.where, self.port = where, port
        self.log = where / "work.log"
        work = where / "work.sh"
        work.write_text(WORK)
        work.chmod(0o755)
        self.agents = [Agent(binary, where, name=f"host{number}") for number in range(AGENTS)]
        self.dead = set()
        self.use("redis", reload=False)

    def use(self, lock, reload=True):
        self.log = self.where / f"{lock}.log"
        self.log.touch()
        for agent in self.living():
            name = agent.file.stem
            agent.configure(CONFIG.format(where=self.where, name=name, log=self.log, lock=lock, budget=BUDGET,
                                          port=self.port))
            if reload:
                agent.command("reload")

    def living(self):
        return [agent for agent in self.agents if agent.file.stem not in self.dead]

    def lines(self):
        return [line.split() for line in self.log.read_text().splitlines()]

    def runs(self):
        return [line for line in self.lines() if line[0] == "begin"]

    def under_way(self):
        """Names of the hosts whose run has no end, dead ones left out."""
        ended = {(name, token) for what, name, token in self.lines() if what == "end"}
        return [name for what, name, token in self.lines() if what == "begin" and (name, token) not in ended
                and name not in self.dead]

    def unreachable(self, agent):
        return sum(float(line.rsplit(" ", 1)[1]) for line in agent.get("/metrics").body.splitlines()
                   if line.startswith("nexus_fleet_lock_total{") and 'result="unreachable"' in line)

    def more(self, what, count):
        """Waits until the work was begun so many more times, by each who lives at least once."""
        known = len(self.runs())
        wait_for(what, lambda: len(self.runs()) >= known + count and
                 {name for _, name, _ in self.runs()[known:]} >= {agent.file.stem for agent in self.living()})

    def kill_a_holder(self):
        name = wait_for("somebody at work", self.under_way)[-1]
        next(agent for agent in self.living() if agent.file.stem == name).kill()
        self.dead.add(name)

    def check(self):
        """Never more than two at once, and no token twice. (Who was given his first may write it down last.)"""
        working, tokens, own = set(), set(), {}
        for what, name, token in self.lines():
            if what == "end":
                working.discard((name, token))
                continue
            expect(token not in tokens, f"token {token} was given twice")
            expect(int(token) > own.get(name, 0), f"token {token} of {name} is not greater than its last, {own.get(name)}")
            tokens.add(token)
            own[name] = int(token)
            working.add((name, token))
            # One who was killed is ended with his agent, and leaves no end behind.
            at_once = {one for one in working if one[0] not in self.dead}
            expect(len(at_once) <= BUDGET, f"{len(at_once)} at once: {at_once}")


def has_the_token(agent, asked):
    """A request has the fencing token; what is secret of it is shown to nobody."""
    def done(dry):
        made = agent.unix("POST", "/operations/actions", {"action_type": "http_request", "target_component": "told", "dry_run": dry})
        equal(made.status, 202, made.body)
        return wait_for("the end of a request", lambda: next(
            (a for a in [agent.get("/operations/actions/" + made.json["id"]).json] if a["finished"]), None))
    would = done(True)
    equal(asked, [], "requests of a dry run")
    told = done(False)
    equal(told["state"], "succeeded", told["outcome"]["result"])
    equal(len(asked), 1, "requests")
    equal(asked[0]["X-Api-Key"], "secret-of-header", "a header of the request")
    equal(asked[0]["X-Nexus-Fencing-Token"], told["outcome"]["fleet_lock"].rsplit(" ", 1)[1], "the fencing token")
    for text in (str(would), str(told), agent.log):
        expect("secret-of" not in text, f"a secret is shown: {text}")
    expect("X-Api-Key" in would["outcome"]["would_do"], would["outcome"]["would_do"])


def fleet(binary, where):
    where = where / "fleet"
    where.mkdir()
    where.parent.chmod(0o755)
    where.chmod(0o777)
    servers = [redis(where), postgres(where)]
    asked = []
    def note(handler):
        asked.append(handler.headers)
        send(handler, "thanks")
    with contextlib.ExitStack() as stack:
        it = Fleet(binary, where, stack.enter_context(served(note)))
        for server in servers:
            stack.callback(server.stop)
            server.start()
        for agent in it.agents:
            stack.callback(agent.close)
            agent.start(wait=False)
        for agent in it.agents:
            agent.wait_ready()
        it.more("work of all of them", 2 * AGENTS)
        has_the_token(it.agents[0], asked)
        it.kill_a_holder()
        it.more("work of those who are left", AGENTS)

        servers[0].stop()

        def all_in_vain():
            asked = [it.unreachable(agent) for agent in it.living()]
            wait_for("everybody to have asked in vain",
                     lambda: all(it.unreachable(agent) > before for agent, before in zip(it.living(), asked)))
        all_in_vain()  # who had it just before may only now write down that he begins
        wait_for("the end of what was under way", lambda: not it.under_way())
        known = len(it.runs())
        all_in_vain()
        equal(len(it.runs()), known, "what was begun without the lock")
        servers[0].start()
        it.more("work once it is back", AGENTS)
        it.check()

        it.use("postgres")
        it.more("work with PostgreSQL", AGENTS)
        it.kill_a_holder()
        it.more("work after one was killed there", AGENTS)
        it.check()
