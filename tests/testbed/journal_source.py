#!/usr/bin/python3
"""A whole agent on a booted machine counts lines of the journal: none is lost and none is doubled, whatever becomes of
the agent, of journald and of the journal's files meanwhile.

usage: journal_source.py ROOT NEXUS_AGENT
"""

import sys

from nspawn import Machine

SOCKET = "/run/nexus-test.sock"
CONFIG = f"""
[agent]
data_dir = "/var/lib/nexus-test"
[http]
listen = ["unix:{SOCKET}"]

[[log]]
name = "orders"
journal = true
units = ["orders.service"]
from = "begin"
[[log.pattern]]
metric = "orders_total"
regex = 'order \\d+ status=(?P<status>[a-z]+)'
labels = ["status"]
[[log.pattern]]
metric = "order_seconds_total"
regex = 'order \\d+ .* took (?P<seconds>[0-9.]+) s'
value = "seconds"
[[log.pattern]]
metric = "order_last_number"
type = "gauge"
regex = 'order (?P<number>\\d+) '
value = "number"
"""

AGENT = """
[Service]
ExecStart=/opt/nexus-agent run --config /etc/nexus-test.toml
Restart=no
"""

# The lines from FIRST to LAST, two of three of them ok. Another unit says the same: it is not asked for.
ORDERS = """
[Service]
Type=oneshot
EnvironmentFile=/run/orders.env
ExecStart=/bin/sh -c 'i=$FIRST; while [ $i -le $LAST ]; do s=ok; [ $((i % 3)) -ne 0 ] || s=failed; \
echo "order $i status=$s took 0.25 s"; i=$((i + 1)); sleep $PAUSE; done'
"""


class Test:
    def __init__(self, machine):
        self.machine = machine
        self.written = 0

    def write(self, count, pause=0, meanwhile=None):
        """So many more lines, which the journal has when this returns; `meanwhile` is called when half of them are read."""
        first, self.written = self.written + 1, self.written + count
        self.machine.write_file("/run/orders.env", f"FIRST={first}\nLAST={self.written}\nPAUSE={pause}\n")
        if meanwhile is None:
            self.machine.sh("systemctl start orders.service")
        else:
            self.machine.sh("systemctl start --no-block orders.service")
            self.machine.wait_for("half of the lines", lambda: (self.value("order_last_number") or 0) >= first + count / 2)
            meanwhile()
            self.machine.wait_for("all lines", lambda: self.machine.run(
                ["systemctl", "is-active", "orders.service"], check=False).stdout.strip() == "inactive")
        self.machine.sh("systemctl start others.service; journalctl --sync")

    def value(self, metric, labels=""):
        text = self.machine.http("GET", "/metrics", unix=SOCKET).body
        series = f'{metric}{{log="orders"{labels}}} '
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(series)), None)

    def start_agent(self):
        self.machine.sh("systemctl start agent.service")
        self.machine.wait_for("the agent", lambda: self.machine.run(
            ["curl", "-sf", "--unix-socket", SOCKET, "http://localhost/-/ready"], check=False).returncode == 0)

    def check(self, when):
        """The last line is read, and every line once."""
        self.machine.wait_for(f"the last line, {when}", lambda: self.value("order_last_number") == self.written)
        wanted = self.written - self.written // 3, self.written // 3, self.written * 0.25

        def counted():
            return *(self.value("orders_total", f',status="{name}"') for name in ("ok", "failed")), self.value("order_seconds_total")
        self.machine.wait_for(f"{wanted} lines, failed ones and seconds, {when}", lambda: counted() == wanted)
        print(f"ok  {when}: {self.written} lines")


def main():
    root, agent = sys.argv[1:]
    with Machine(root, binds={agent: "/opt/nexus-agent"}) as machine:
        test = Test(machine)
        machine.write_file("/etc/nexus-test.toml", CONFIG)
        machine.write_file("/run/systemd/system/agent.service", AGENT)
        machine.write_file("/run/systemd/system/orders.service", ORDERS)
        machine.write_file("/run/systemd/system/others.service", ORDERS)
        # Everything is to be kept: what journald drops, the agent cannot count.
        machine.write_file("/run/systemd/journald.conf.d/all.conf", "[Journal]\nRateLimitBurst=0\n")
        machine.sh("systemctl daemon-reload; systemctl restart systemd-journald")

        test.write(30)
        test.start_agent()
        test.check("lines of before the first start")
        test.write(300)
        test.check("lines while it runs")

        machine.sh("systemctl stop agent.service")
        test.write(300)
        test.start_agent()
        test.check("lines while it was stopped")

        def kill_agent():
            machine.sh("systemctl kill --signal=KILL agent.service")
            machine.wait_for("its end", lambda: machine.run(["systemctl", "is-failed", "--quiet", "agent.service"],
                                                            check=False).returncode == 0)

        test.write(300, pause=0.01, meanwhile=kill_agent)
        test.start_agent()
        test.check("lines while it was killed")

        machine.sh("journalctl --rotate")
        test.write(300)
        test.check("lines after a rotation")
        machine.sh("systemctl restart systemd-journald")
        test.write(300)
        test.check("lines after journald was restarted")


if __name__ == "__main__":
    main()
