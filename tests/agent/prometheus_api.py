"""The agent's /api/v1 beside a real Prometheus with the same rules: shapes of answers, codes and words of errors; promtool's
query commands; rule files at work and reloaded; the formats of `nexus-agent query`.

    prometheus_api.py NEXUS_AGENT
"""
import contextlib
import csv
import http.client
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse

from harness import Agent, directory, equal, expect, free_port, request, run_tests, wait_for
from prometheus import answers, program, running

BINARY = sys.argv[1]
NOW = str(int(time.time()))
RULES = """
groups:
- name: host
  interval: 1s
  rules:
  - record: load:double
    expr: node_load1 * 2
    labels: {kind: recorded}
  - alert: Always
    expr: load:double >= 0
    labels: {severity: info}
    annotations: {summary: "load {{ $value | humanize }}"}
  - alert: Waits
    expr: load:double >= 0
    for: 1h
    keep_firing_for: 5m
  - alert: Never
    expr: load:double < 0
"""
# What Prometheus 3 answers and 2.42 does not.
NEW = {"droppedTargetCounts", "keepFiringFor", "hostname", "serverTime", "GOMEMLIMIT"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

GOOD = [
    ("query", {"query": "node_load1"}), ("query", {"query": "node_load1", "time": NOW, "timeout": "5s"}),
    ("query", {"query": "1 + 1", "time": "2023-11-14T22:13:20.5Z"}), ("query", {"query": '"text"', "time": "1700000000.123"}),
    ("query", {"query": "node_load1[5s]"}), ("query", {"query": "nothing_here"}), ("query", {"query": "1e30", "time": "1"}),
    ("query_range", {"query": "node_load1", "start": str(int(NOW) - 100), "end": str(int(NOW) + 100), "step": "1s"}),
    ("query_range", {"query": "vector(1)", "start": NOW, "end": NOW, "step": "0.5"}),
    ("query_range", {"query": "nothing_here", "start": "1", "end": "2", "step": "1m"}),
    ("series", {"match[]": "node_load1"}), ("series", {"match[]": "nothing_here"}), ("labels", {}),
    ("labels", {"match[]": "node_load1"}), ("label/__name__/values", {}), ("label/nothing/values", {}),
    ("label/__name__/values", {"match[]": "node_load1"}), ("metadata", {"metric": "node_load1"}), ("metadata", {"limit": "0"}),
    ("metadata", {"metric": "nothing_here"}), ("rules", {}), ("rules", {"type": "alert"}), ("rules", {"type": "record"}),
    ("alerts", {}), ("targets", {}), ("targets", {"state": "active"}), ("targets", {"state": "dropped"}), ("alertmanagers", {}),
    ("status/buildinfo", {}), ("status/config", {}), ("status/runtimeinfo", {}), ("status/tsdb", {}),
    ("format_query", {"query": "sum( up )by(job)"}), ("format_query", {"query": "rate( x[5m] )*2"}),
    ("query_exemplars", {"query": "up", "start": "1", "end": "2"}),
    # Of Grafana's data source: the check of its health, editor, variables, annotations, its range in whole seconds.
    ("query", {"query": "1+1", "time": NOW + ".123"}), ("query", {"query": "node_load1", "stats": "all"}),
    ("query", {"query": "1", "stats": "true"}), ("query", {"query": '"text"', "stats": "all"}), ("query", {"query": "1", "stats": ""}),
    ("query_range", {"query": "rate(node_cpu_seconds_total[1m])", "start": str(int(NOW) - 3600), "end": str(int(NOW) + 100), "step": "15",
                     "timeout": "60s", "stats": "all"}),
    ("series", {"match[]": "node_load1", "start": str(int(NOW) - 3600), "end": str(int(NOW) + 3600), "limit": "40000"}),
    ("labels", {"start": str(int(NOW) - 3600), "end": str(int(NOW) + 3600), "match[]": '{__name__="node_load1"}'}),
    ("label/mode/values", {"start": str(int(NOW) - 3600), "end": str(int(NOW) + 3600), "match[]": "node_cpu_seconds_total"}),
    ("query_exemplars", {"query": "rate(up[5m])", "start": NOW, "end": str(int(NOW) + 1)}), ("metadata", {"metric": "node_load1", "limit": "1"}),
    ("rules", {"type": "alert", "rule_group[]": "host"}), ("status/walreplay", {}),
    ("query_range", {"query": "vector(1)", "start": "1", "end": "11001", "step": "1"}),
]
BAD = [
    ("query", {}), ("query", {"query": "sum("}), ("query", {"query": "up", "time": "x"}), ("query", {"query": "up", "timeout": "x"}),
    ("query", {"query": "up", "time": ""}), ("query", {"query": "node_cpu_seconds_total + on(mode) node_cpu_seconds_total"}),
    ("query_range", {"query": "up"}), ("query_range", {"query": "up", "start": "x", "end": "2", "step": "1"}),
    ("query_range", {"query": "up", "start": "1", "end": "2021-13-01T00:00:00Z", "step": "1"}),
    ("query_range", {"query": "up", "start": "2", "end": "1", "step": "1"}),
    ("query_range", {"query": "up", "start": "1", "end": "2", "step": "0"}),
    ("query_range", {"query": "up", "start": "1", "end": "2", "step": "-1"}),
    ("query_range", {"query": "up", "start": "1", "end": "2", "step": "x"}), ("query_range", {"query": "up", "start": "1", "end": "2"}),
    ("query_range", {"query": "up", "start": "1", "end": "12002", "step": "1"}),
    ("query_range", {"query": "up[5m]", "start": "1", "end": "2", "step": "1"}),
    ("query_range", {"query": '"x"', "start": "1", "end": "2", "step": "1"}),
    ("query_range", {"query": "up{", "start": "1", "end": "2", "step": "1"}),
    ("series", {}), ("series", {"match[]": "up{"}), ("series", {"match[]": '{a=~".*"}'}), ("series", {"match[]": "up", "start": "x"}),
    ("labels", {"start": "x"}), ("labels", {"match[]": "{"}), ("label/a/values", {"end": "x"}), ("metadata", {"limit": "x"}),
    ("rules", {"type": "x"}), ("format_query", {"query": "("}), ("query_exemplars", {"query": "("}),
    ("query_exemplars", {"query": "up", "start": "2", "end": "1"}), ("query_exemplars", {"query": "up", "start": "x"}),
]


def ask(port, method, path, parameters):
    form = urllib.parse.urlencode(parameters)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    if method == "POST":
        return request(connection, method, "/api/v1/" + path, form, FORM)
    return request(connection, method, f"/api/v1/{path}?{form}")


def shape(value):
    """Types instead of values; of a list the first element."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items() if key not in NEW}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def known_labels(path, value):
    """Label sets and lists of series hang on what was scraped: as objects of texts."""
    if isinstance(value, dict):
        return {key: "labels" if key in ("metric", "labels", "annotations", "discoveredLabels") else known_labels(path, item)
                for key, item in value.items()}
    if isinstance(value, list):
        if path == "series":
            return ["labels" for _ in value]
        return [known_labels(path, item) for item in value]
    return value


def methods(path):
    return ("GET", "POST") if path in ("query", "query_range", "series", "labels", "format_query", "query_exemplars") else ("GET",)


def alike(agent, port):
    for path, parameters in GOOD:
        for method in methods(path):
            ours, theirs = ask(agent.port, method, path, parameters), ask(port, method, path, parameters)
            what = f"{method} {path} {parameters}"
            equal((ours.status, theirs.status), (200, 200), f"{what}: {ours.body[:200]} {theirs.body[:200]}")
            equal(ours.headers["Content-Type"].split(";")[0], theirs.headers["Content-Type"].split(";")[0], what)
            mine, other = ours.json, theirs.json
            if path == "rules":  # the groups of agent.toml come after those of the rule files
                mine["data"]["groups"] = [group for group in mine["data"]["groups"] if group["name"] == "host"]
                for kind in ([rule for rule in answer["data"]["groups"][0]["rules"]] for answer in (mine, other)):
                    expect(kind, what)
                equal([shape(known_labels(path, rule)) for rule in mine["data"]["groups"][0]["rules"]],
                      [shape(known_labels(path, rule)) for rule in other["data"]["groups"][0]["rules"]], what)
            equal(shape(known_labels(path, mine)), shape(known_labels(path, other)), what)


def same_mistakes(agent, port):
    for path, parameters in BAD:
        for method in methods(path):
            ours, theirs = ask(agent.port, method, path, parameters), ask(port, method, path, parameters)
            what = f"{method} {path} {parameters}"
            equal(ours.status, theirs.status, f"{what}: {ours.body[:300]} {theirs.body[:300]}")
            if ours.status == 200:
                continue

            def said(answer):
                text = re.sub(r"\d+:\d+: parse error:.*", "parse error", answer.json["error"])
                if path == "query_range" or path.startswith("label"):  # Prometheus 3 says which parameter, 2.42 does not
                    text = re.sub('^invalid parameter "(query|match\\[\\])": ', "", text)
                return answer.json["status"], answer.json["errorType"], text if ours.status == 400 else ""
            equal(said(ours), said(theirs), what)


def of_version_3(agent, port):
    """What 2.42 does not know: pages of rules, rules by their labels, limits."""
    def groups(**parameters):
        answer = ask(agent.port, "GET", "rules", {key.replace("__", "[]"): value for key, value in parameters.items()})
        equal(answer.status, 200, answer.body)
        return answer.json["data"]

    everything = groups()["groups"]
    expect(len(everything) >= 2, f"{[group['name'] for group in everything]}")
    pages, token = [], ""
    for _ in everything:
        page = groups(group_limit="1", **({"group_next_token": token} if token else {}))
        equal(len(page["groups"]), 1, f"a page: {page}")
        pages.append(page["groups"][0]["name"])
        token = page.get("groupNextToken", "")
    equal((pages, token), ([group["name"] for group in everything], ""), "all pages, the last without a token")
    host = groups(match__='{severity="info"}', exclude_alerts="true", file__=everything[0]["file"])["groups"]
    equal([[rule["name"] for rule in group["rules"]] for group in host], [["Always"]], "by a label")
    equal(host[0]["rules"][0]["alerts"], None, "without alerts")
    equal(groups(rule_name__="nothing")["groups"], [], "a group of which nothing is wanted")
    for parameters, words in (({"group_next_token": "x"}, "group_limit needs to be present"), ({"group_limit": "0"}, "greater than 0"),
                              ({"group_limit": "1", "group_next_token": "x"}, "were rule groups changed?"), ({"match[]": "{"}, "parse error"),
                              ({"exclude_alerts": "x"}, "exclude_alerts")):
        answer = ask(agent.port, "GET", "rules", parameters)
        equal((answer.status, answer.json["errorType"]), (400, "bad_data"), answer.body)
        expect(words in answer.json["error"], answer.body)
    tsdb = ask(agent.port, "GET", "status/tsdb", {"limit": "2"}).json["data"]
    equal({key: len(value) for key, value in tsdb.items() if key != "headStats"},
          dict.fromkeys(("seriesCountByMetricName", "labelValueCountByLabelName", "memoryInBytesByLabelName",
                         "seriesCountByLabelValuePair"), 2), "the two greatest")
    equal(ask(agent.port, "GET", "status/tsdb", {"limit": "0"}).status, 400, "no limit of none")
    pools = ask(agent.port, "GET", "scrape_pools", {}).json["data"]["scrapePools"]
    found = ask(agent.port, "GET", "targets", {"scrapePool": pools[0]}).json["data"]["activeTargets"]
    equal({target["scrapePool"] for target in found}, {pools[0]}, "targets of a pool")


def exact(agent, port):
    """Where the data cannot differ, the bytes do not."""
    for query in ("1e5", "1e21", "0.1 + 0.2", "1e-7", "-1 / 0", "0 / 0", "vector(123456789.5)", '"a\\"b\\n"', "123456789012345678"):
        for at in ("1700000000", "1700000000.5", "1700000000.007", "2023-11-14T22:13:20+02:00", "-1.5"):
            parameters = {"query": query, "time": at}
            equal(json.loads(ask(agent.port, "GET", "query", parameters).body, parse_float=str, parse_int=str),
                  json.loads(ask(port, "GET", "query", parameters).body, parse_float=str, parse_int=str), f"{query} at {at}")


def promtool(agent, port):
    def run(url, *words):
        return subprocess.run([program("promtool"), "query", *words[:-1], url, *words[-1:]], capture_output=True, text=True, timeout=60)
    ours, theirs = f"http://127.0.0.1:{agent.port}", f"http://127.0.0.1:{port}"
    for words in (("instant", "--time=1700000000", "vector(1.5)"), ("instant", "--time=1700000000", "scalar(vector(2))"),
                  ("range", "--start=1700000000", "--end=1700000010", "--step=5s", "vector(3)"), ("instant", "sum(")):
        mine, other = run(ours, *words), run(theirs, *words)
        equal((mine.returncode, mine.stdout), (other.returncode, other.stdout), f"promtool query {words}: {mine.stderr}")
    found = subprocess.run([program("promtool"), "query", "series", "--match=node_load1", ours], capture_output=True, text=True, timeout=60)
    equal((found.returncode, found.stdout), (0, '{__name__="node_load1"}\n'), found.stderr)
    found = subprocess.run([program("promtool"), "query", "labels", ours, "mode"], capture_output=True, text=True, timeout=60)
    expect("idle\n" in found.stdout and found.returncode == 0, f"promtool query labels: {found.stdout} {found.stderr}")
    found = subprocess.run([program("promtool"), "query", "instant", ours, "node_load1"], capture_output=True, text=True, timeout=60)
    expect(found.stdout.startswith("node_load1 => "), f"promtool query instant: {found.stdout} {found.stderr}")


def rules_at_work(agent, port):
    for alert in ("Always", "Waits"):
        wait_for(f"ALERTS of {alert}", lambda: agent.query(f'ALERTS{{alertname="{alert}"}}'))
    wait_for("load:double", lambda: agent.query("load:double"))
    alerts = {alert["labels"]["alertname"]: alert for alert in agent.get("/api/v1/alerts").json["data"]["alerts"]}
    equal({name: alert["state"] for name, alert in alerts.items() if name in ("Always", "Waits", "Never")},
          {"Always": "firing", "Waits": "pending"}, "alerts")
    expect(re.fullmatch(r"load [0-9.]+m?", alerts["Always"]["annotations"]["summary"]), f"{alerts['Always']}")
    wait_for("the finding", lambda: [f for f in agent.command_json("findings")["alerts"] if f["name"] == "Always"])
    file = agent.directory / "rules.d" / "host.yml"
    file.write_text(RULES.replace("node_load1 * 2", "node_load1 *"))
    answer = agent.unix("POST", "/-/reload")
    expect(answer.status >= 400 and "host.yml:7:11" in answer.body, f"a bad rule file is refused: {answer.status} {answer.body}")
    equal([rule["health"] for rule in agent.get("/api/v1/rules?rule_group[]=host").json["data"]["groups"][0]["rules"]], ["ok"] * 4,
          "the old rules go on")
    file.write_text(RULES.replace("alert: Always", "alert: Renamed"))
    equal(agent.unix("POST", "/-/reload").status, 200, "reload")
    wait_for("the new alert", lambda: agent.query('ALERTS{alertname="Renamed"}'))
    wait_for("the end of the old", lambda: not agent.query('ALERTS{alertname="Always"}'))


def formats(agent, port):
    out, _ = agent.command("query", "node_load1", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    equal((len(rows), list(rows[0]), rows[0]["__name__"]), (1, ["time", "value", "__name__"], "node_load1"), out)
    now = int(time.time())
    out, _ = agent.command("query", "node_cpu_seconds_total", "--format", "csv", "--start", now - 3, "--end", now, "--step", "1s")
    rows = list(csv.DictReader(io.StringIO(out)))
    expect(set(rows[0]) == {"time", "value", "__name__", "cpu", "mode"} and len(rows) > 8, out[:300])
    out, _ = agent.command("query", "scalar(vector(5))", "--format", "csv", "--time", "1.5")
    equal(out, "time,value\n1.5,5\n", "a scalar as CSV")
    out, _ = agent.command("query", "vector(2)", "--format", "json")
    equal(json.loads(out)["data"]["result"][0]["value"][1], "2", out)
    out, _ = agent.command("query", "time() - 1700000000", "--format", "graph", "--start", "1700000000", "--end", "1700003600")
    lines = out.splitlines()
    expect(all(len(line) == 80 for line in lines[:17]), f"80 columns:\n{out}")
    expect(lines[0].strip().startswith("3600 ┤") and lines[15].strip().startswith("0 ┤"), f"the scale:\n{out}")
    expect("22:13:20" in lines[17] and lines[17].endswith("23:13:20 UTC"), f"the times:\n{out}")
    expect(any(0x2800 < ord(c) <= 0x28FF for c in lines[0][-4:]) and any(0x2800 < ord(c) <= 0x28FF for c in lines[15][8:12]),
           f"a line from corner to corner:\n{out}")
    equal(agent.command("query", "nothing_here", "--format", "graph")[0], "no series\n", "no series")
    agent.command("query", "up", "--format", "graph", "--start", "soon", code=2)
    agent.command("query", "up", "--format", "xml", code=2)


def stopped(agent, reason):
    page = agent.get("/metrics").body
    found = re.search(r'^nexus_queries_stopped_total\{reason="%s"\} (\S+)$' % reason, page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def bounded(agent, port):
    """A query ends when its client goes, when its time is over, and when it wants too much."""
    slow = {"query": "quantile_over_time(0.5, vector(time())[20h:1s])", "start": "1", "end": "10000", "step": "1"}
    with socket.create_connection(("127.0.0.1", agent.port), timeout=60) as gone:
        path = "/api/v1/query_range?" + urllib.parse.urlencode(slow)
        gone.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        equal(agent.get("/-/ready").status, 200, "others are served meanwhile")
    wait_for("the query of the client that left being stopped", lambda: stopped(agent, "canceled") == 1)
    answer = agent.get("/api/v1/query_range?" + urllib.parse.urlencode({**slow, "timeout": "100ms"}))
    equal((answer.status, answer.json["errorType"]), (503, "timeout"), answer.body)
    wait_for("the query whose time was over being counted", lambda: stopped(agent, "timeout") == 1)
    much = {**slow, "query": "max_over_time(vector(1)[100d:1s])"}
    answer = agent.get("/api/v1/query_range?" + urllib.parse.urlencode(much))
    equal((answer.status, answer.json["errorType"]), (422, "execution"), answer.body)
    expect("query makes more than" in answer.json["error"], answer.body)
    wait_for("the query that wanted too much being counted", lambda: stopped(agent, "too_large") == 1)


def own_alert(agent, port):
    equal(agent.get("/api/v1/status/config").json["data"]["yaml"].count('site: "home"'), 1, "external labels are shown")
    wait_for("ALERTS of an [[alert]]", lambda: agent.query('ALERTS{alertname="Own",alertstate="firing"} == 1'))
    expect(agent.query('time() - ALERTS_FOR_STATE{alertname="Own"} >= 0'), "since when")
    said = [alert["annotations"] for alert in agent.get("/api/v1/alerts").json["data"]["alerts"]
            if alert["labels"]["alertname"] == "Own"]
    equal(said, [{"summary": "at home"}], "a template with an external label")


def of_its_own(agent, port):
    """The nexus_ functions, and names in quotes, from import to query."""
    start = int(time.time()) - 700
    file = agent.directory / "own.om"
    lines = [f'{{"disk.used","mount point"="/srv"}} {i} {start + i}\n' for i in range(600)]
    file.write_text("".join(lines) + "# EOF\n")
    out, _ = agent.command("import", file)
    equal(out, f"{file}: 600 samples imported, 0 held already, 0 lines refused\n", "import")
    at = str(start + 599)
    wait_for("the last sample", lambda: agent.query('{"disk.used"}', time=at))

    def one(expression):
        result = agent.query(expression, time=at)
        equal([row["metric"] for row in result], [{"mount point": "/srv"}], expression)
        return float(result[0]["value"][1])

    expect(abs(one('nexus_forecast({"disk.used"}[10m], 400)') - 999) < 1e-6, "the line goes on")
    expect(abs(one('nexus_time_to({"disk.used","mount point"="/srv"}[10m], 900)') - 301) < 1e-6, "when it is full")
    expect(0 <= one('nexus_anomaly({"disk.used"}[10m])') <= 1, "a score")
    equal(one('sum by ("mount point") ({"disk.used"})'), 599.0, "by a name in quotes")
    equal(agent.get("/api/v1/label/U__mount_20_point/values?start=" + str(start)).json["data"], ["/srv"], "values of a label")
    series = agent.get("/api/v1/series?" + urllib.parse.urlencode({"match[]": '{"disk.used"}', "start": start})).json["data"]
    equal(series, [{"__name__": "disk.used", "mount point": "/srv"}], "series")
    out, _ = agent.command("export", "--match", '{"disk.used"}', "--start", start, "--end", start + 2)
    expect('{"disk.used","mount point"="/srv"} 1 ' in out, out)
    relative, _ = agent.command("export", "--match", '{"disk.used"}', "--start=-50m", "--end", start + 2)
    equal(relative, out, "the same, from a distance before now")


def main():
    with directory() as where, contextlib.ExitStack() as stack:
        (where / "rules.d").mkdir()
        (where / "rules.d" / "host.yml").write_text(RULES)
        agent = Agent(BINARY, where, config='[agent.external_labels]\nsite = "home"\n[[alert]]\nname = "Own"\n'
                      'expr = "node_load1 >= 0"\nannotations = { summary = "at {{ $externalLabels.site }}" }\n')
        stack.callback(agent.close)
        agent.start()
        port = free_port()
        shutil.copy(where / "rules.d" / "host.yml", where / "prometheus_rules.yml")
        file = where / "prometheus.yml"
        file.write_text("global: {scrape_interval: 1s, scrape_timeout: 1s}\nrule_files: [prometheus_rules.yml]\nscrape_configs:\n"
                        f"  - job_name: agent\n    static_configs: [{{targets: ['127.0.0.1:{agent.port}']}}]\n")
        stack.enter_context(running(program("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={where}/prometheus",
                                    f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"))
        wait_for("Prometheus's answer", answers(port, "/-/ready"))
        for each in (agent.port, port):
            wait_for("both alerts", lambda: len(ask(each, "GET", "alerts", {}).json["data"]["alerts"]) >= 2)
            wait_for("two samples of a counter",
                     lambda: ask(each, "GET", "query", {"query": "rate(node_cpu_seconds_total[1m])"}).json["data"]["result"])
        wait_for("a look at both", lambda: ask(port, "GET", "metadata", {"metric": "node_load1"}).json["data"])
        run_tests([(test.__name__, lambda test=test: test(agent, port))
                   for test in (alike, same_mistakes, of_version_3, exact, promtool, rules_at_work, formats, bounded, of_its_own, own_alert)])


if __name__ == "__main__":
    main()
