"""Scrapes and pushes of a real agent: node_exporter as the target of an agent and of a Prometheus, servers that lie and flood.

    sources.py NEXUS_AGENT
"""
import contextlib
import json
import re
import signal
import sys
import time
import zlib

from counterparts import agent_with, answers, ask_prometheus, becomes, program, running, send, served, value, values
from harness import closed_port, directory, equal, expect, free_port, run_tests, wait_for


def gzip_bomb():
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b"0" * (1 << 20)
    return b"".join([packer.compress(block) for _ in range(1024)] + [packer.flush()])


BOMB = gzip_bomb()
RELABEL_YAML = """
      - {source_labels: [__name__], regex: "node_(cpu|filesystem|network)_.*|go_.*", action: drop}
      - {source_labels: [__name__], regex: "node_(.*)", target_label: subsystem, replacement: "${1}"}
      - {source_labels: [subsystem], modulus: 7, target_label: shard, action: hashmod}
      - {source_labels: [subsystem], target_label: LOUD, action: uppercase}
      - {regex: "cpu|device", replacement: "my_${0}", action: labelmap}
      - {regex: "version|revision|branch", action: labeldrop}
"""
RELABEL_TOML = """
[[scrape.metric_relabel]]
source_labels = ["__name__"]
regex = "node_(cpu|filesystem|network)_.*|go_.*"
action = "drop"
[[scrape.metric_relabel]]
source_labels = ["__name__"]
regex = "node_(.*)"
target_label = "subsystem"
replacement = "${1}"
[[scrape.metric_relabel]]
source_labels = ["subsystem"]
modulus = 7
target_label = "shard"
action = "hashmod"
[[scrape.metric_relabel]]
source_labels = ["subsystem"]
target_label = "LOUD"
action = "uppercase"
[[scrape.metric_relabel]]
regex = "cpu|device"
replacement = "my_${0}"
action = "labelmap"
[[scrape.metric_relabel]]
regex = "version|revision|branch"
action = "labeldrop"
"""


def as_prometheus_scrapes():
    """The same node_exporter, scraped by a Prometheus and by the agent with the same relabelling: the same series."""
    exporter_port, prometheus_port = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(directory())
        stack.enter_context(running(program("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{exporter_port}"))
        wait_for("node_exporter", answers(f"http://127.0.0.1:{exporter_port}/metrics"))
        (where / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: node
  static_configs: [{{targets: ["127.0.0.1:{exporter_port}"], labels: {{env: test}}}}]
  metric_relabel_configs: {RELABEL_YAML}
""")
        stack.enter_context(running(program("prometheus"), f"--config.file={where}/prometheus.yml",
                                    f"--storage.tsdb.path={where}/tsdb", f"--web.listen-address=127.0.0.1:{prometheus_port}"))
        agent = stack.enter_context(agent_with(f"""
[[scrape]]
name = "node"
targets = ["127.0.0.1:{exporter_port}"]
interval = "1s"
labels = {{ env = "test" }}
{RELABEL_TOML}"""))
        wait_for("Prometheus having scraped",
                 lambda: answers(f"http://127.0.0.1:{prometheus_port}/-/ready")() and
                 ask_prometheus(prometheus_port, 'up{job="node"} == 1'))
        wait_for("the agent having scraped", lambda: value(agent, 'up{job="node"}') == 1)
        # The agent's vitals are over node_exporter's names too: they are not the exporter's.
        everything = 'count by (__name__) ({job="node",__name__=~"(node|go|process|promhttp)_.+|up|scrape_(duration|samples|series)_.+"})'

        def same():
            ours = {row["metric"]["__name__"]: row["value"][1] for row in agent.query(everything)}
            theirs = {row["metric"]["__name__"]: row["value"][1] for row in ask_prometheus(prometheus_port, everything)}
            same.differences = {name: (ours.get(name), theirs.get(name)) for name in {*ours, *theirs}
                                if ours.get(name) != theirs.get(name)}
            return not same.differences
        try:
            wait_for("the same metrics, as many of each", same)
        finally:
            expect(not same.differences, f"metric: (agent, Prometheus): {same.differences}")

        def labels_of(rows):
            return sorted(json.dumps(row["metric"], sort_keys=True) for row in rows)
        constant = '{job="node",__name__=~"node_memory_MemTotal_bytes|node_boot.*|node_disk_info|node_uname_info|node_xfs.*|node_arp.*|up|scrape_samples.*"}'
        wait_for("the same labels", lambda: labels_of(agent.query(constant)) == labels_of(ask_prometheus(prometheus_port, constant)))
        for name in ("node_memory_MemTotal_bytes", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"):
            # Series may come and go on the host between a scrape of one and of the other: as both saw it at some time.
            def seen_by_both(expression=f'{name}{{job="node"}}[5m]'):
                ours, theirs = ({value for row in rows for _, value in row["values"]}
                                for rows in (agent.query(expression), ask_prometheus(prometheus_port, expression)))
                return (ours & theirs) - {"0"}
            wait_for(name, seen_by_both)
        added = 'max_over_time(scrape_series_added{job="node"}[5m]) > 300'  # each of its own first scrape
        wait_for("the series added", lambda: agent.query(added) and ask_prometheus(prometheus_port, added))
        targets = [t for t in agent.get("/api/v1/targets").json["data"]["activeTargets"] if t["scrapePool"] == "node"]
        equal([(t["health"], t["labels"]) for t in targets],
              [("up", {"env": "test", "instance": f"127.0.0.1:{exporter_port}", "job": "node"})], "the target")
        # Types come with the text.
        expect("# TYPE node_memory_MemTotal_bytes gauge" in agent.get("/metrics").body, "types in /metrics")


ODD_TEXT = """# TYPE t_plain gauge
t_plain{a="One",b="one",c="x"} 1
t_plain{a="Two",b="Two",c="y;z"} 2
t_none{instance="",job="own"} 3
t_own{instance="mine",exported_instance="theirs"} 4
t_text{a="gr\u00f6\u00dfe",b="a\\"b\\\\c\\nd"} 5
# TYPE t_hist histogram
t_hist_bucket{le="1"} 1
t_hist_bucket{le="+Inf"} 2
t_hist_sum 3
t_hist_count 2
t_nan NaN
t_inf -Inf
t_tiny 5e-324
"""
# Jobs by name: relabelling steps as (key, value) pairs, in Prometheus's names; how many relabel the target is told by its prefix.
STEPS = {
    "replace": [{"source_labels": ["a", "c"], "separator": "/", "regex": "(?P<first>[^/]*)/(.);?(z)?", "target_label": "d_${3}x",
                 "replacement": "$2-${first}-$$-$9"}, {"source_labels": ["b"], "regex": "Two", "target_label": "b", "replacement": ""}],
    "keep": [{"source_labels": ["__name__", "a"], "regex": "t_plain;.*|t_hist.*", "action": "keep"}],
    "drop": [{"source_labels": ["c"], "regex": "y;z", "action": "drop"}],
    "keepequal": [{"source_labels": ["a"], "target_label": "b", "action": "keepequal"}],
    "dropequal": [{"source_labels": ["a"], "target_label": "b", "action": "dropequal"}],
    "hashmod": [{"source_labels": ["a", "b"], "target_label": "shard", "modulus": 1000003, "action": "hashmod"}],
    "labelmap": [{"regex": "([ab])", "replacement": "mapped_$1", "action": "labelmap"}],
    "labeldrop": [{"regex": "a|le|instance", "action": "labeldrop"}, {"source_labels": ["c"], "regex": "x", "action": "keep"}],
    "labelkeep": [{"regex": "__name__|job|a", "action": "labelkeep"}, {"source_labels": ["__name__"], "regex": "t_plain", "action": "keep"}],
    "cases": [{"source_labels": ["a"], "target_label": "a", "action": "lowercase"}, {"source_labels": ["b"], "target_label": "up", "action": "uppercase"}],
    "target_path": [{"source_labels": ["__address__"], "regex": "wrong:(.*)", "target_label": "__address__", "replacement": "127.0.0.1:$1"},
                    {"target_label": "__metrics_path__", "replacement": "/odd"}, {"target_label": "__param_x", "replacement": "a b&c"},
                    {"source_labels": ["__param_x"], "target_label": "asked"}, {"target_label": "instance", "replacement": "me"}],
    "target_dropped": [{"source_labels": ["job"], "regex": "target_dropped", "action": "drop"}],
}


def odd_targets_as_prometheus():
    """One endpoint, scraped by a Prometheus and by the agent with every action of relabelling, honour_labels and limits: the same."""
    state = {"text": ODD_TEXT, "extra": "t_gone 1\n", "asked": set()}

    def respond(handler):
        state["asked"].add(handler.path)
        send(handler, state["text"] + (state["extra"] if handler.path.startswith("/metrics") else "") +
             f't_time 6 {int(time.time() * 1000) - 3000}\n')

    def toml(value):
        return json.dumps(value, ensure_ascii=False)

    with served(respond) as port, directory() as where, contextlib.ExitStack() as stack:
        jobs = [(name, {"metric_relabel" if not name.startswith("target") else "relabel": steps}) for name, steps in STEPS.items()]
        jobs += [("honest", {"honor_labels": True}), ("without_times", {"honor_timestamps": False}), ("few", {"sample_limit": 5}),
                 ("few_labels", {"label_limit": 4}), ("short", {"label_value_length_limit": 12}), ("fine", {})]
        yaml, config = [], []
        for name, settings in jobs:
            target = f"wrong:{port}" if name == "target_path" else f"127.0.0.1:{port}"
            relabels = {"relabel": "relabel_configs", "metric_relabel": "metric_relabel_configs"}
            yaml.append(json.dumps({"job_name": name, "static_configs": [{"targets": [target], "labels": {"env": "test"}}],
                                    **{relabels.get(key, key): value for key, value in settings.items()}}))
            config.append(f'[[scrape]]\nname = "{name}"\ntargets = ["{target}"]\ninterval = "1s"\nlabels = {{ env = "test" }}\n'
                          + "".join(f"{key} = {toml(value)}\n" for key, value in settings.items() if not isinstance(value, list))
                          + "".join(f"[[scrape.{key}]]\n" + "".join(f"{k} = {toml(v)}\n" for k, v in step.items())
                                    for key, steps in settings.items() if isinstance(steps, list) for step in steps))
        prometheus_port = free_port()
        (where / "prometheus.yml").write_text("global: {scrape_interval: 1s}\nscrape_configs:\n" + "".join(f"- {one}\n" for one in yaml))
        stack.enter_context(running(program("prometheus"), f"--config.file={where}/prometheus.yml",
                                    f"--storage.tsdb.path={where}/tsdb", f"--web.listen-address=127.0.0.1:{prometheus_port}"))
        agent = stack.enter_context(agent_with("\n".join(config)))

        def rows(answer):
            return {json.dumps(row["metric"], sort_keys=True): row["value"][1] for row in answer}

        def same(expression, enough):
            def probe():
                ours, theirs = rows(agent.query(expression)), rows(ask_prometheus(prometheus_port, expression))
                probe.differences = {key: (ours.get(key), theirs.get(key)) for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)}
                return len(theirs) >= enough and not probe.differences
            try:
                wait_for(f"the same answers to {expression}", probe)
            finally:
                expect(not getattr(probe, "differences", None), f"{expression}: (agent, Prometheus): {getattr(probe, 'differences', None)}")
        wait_for("Prometheus", answers(f"http://127.0.0.1:{prometheus_port}/-/ready"))
        same('{__name__=~"t_.+"}', 120)
        same('up{env="test"}', len(jobs) - 1)
        same('{__name__=~"scrape_samples_.+",env="test"}', 2 * (len(jobs) - 1))
        wait_for("what is over a limit", lambda: {row["metric"]["job"] for row in agent.query('up{env="test"} == 0')}
                 == {"few", "few_labels", "short"})
        state["extra"] = ""  # a series vanishes: it ends in both at once
        same('count(t_gone) or vector(0)', 1)
        expect({"/odd?x=a+b%26c", "/odd?x=a%20b%26c"} <= state["asked"], f"what both asked for: {state['asked']}")


def hostile_targets():
    """Endpoints that lie, flood, hang and break: each costs only itself, and is counted."""
    text = "good 1\n" + "x" * 70000 + "\nbad line here\n" + 'label{v="new\\nline \\"quoted\\""} 2\nbroken{v="' \
        + "\udcff" + '"} 3\ntwice 1\ntwice 2\nnan NaN\ninf +Inf\nfuture 1 ' + str(int((time.time() + 86400) * 1000)) + "\n"
    state = {"huge_sent": 0}  # for one question

    def respond(handler):
        path = handler.path.split("?")[0]
        if path == "/metrics":
            send(handler, text.encode("utf-8", "surrogateescape"))
        elif path == "/huge":  # 1 GB, as long as somebody takes it
            handler.send_response(200)
            handler.end_headers()
            block = b"".join(b'm{i="%d"} 1\n' % i for i in range(1000))
            sent = 0
            with contextlib.suppress(OSError):
                while sent < 1 << 30:
                    handler.wfile.write(block)
                    sent += len(block)
                    state["huge_sent"] = max(state["huge_sent"], sent)
        elif path == "/bomb":  # a gigabyte in a megabyte
            send(handler, BOMB, headers=[("Content-Encoding", "gzip")])
        elif path == "/hang":
            time.sleep(4)
        elif path == "/html":
            send(handler, "<html><body>It works</body></html>", "text/html")
        elif path == "/cut":
            send(handler, "a 1\nb 2\n", "application/openmetrics-text; version=1.0.0")
        elif path == "/error":
            send(handler, "no", status=500)
        else:
            expect(handler.headers["Authorization"] == "Bearer secret-of-sixteen", "the token")
            send(handler, f'asked{{path="{handler.path}"}} 1\n')

    def target(name, port, path, extra=""):
        return f'[[scrape]]\nname = "{name}"\ntargets = ["127.0.0.1:{port}"]\nmetrics_path = "{path}"\ninterval = "1s"\n{extra}\n'

    with served(respond) as port, directory() as where:
        token = where / "token"
        token.write_text("secret-of-sixteen\n")
        token.chmod(0o600)
        config = (target("odd", port, "/metrics") + target("huge", port, "/huge", 'timeout = "900ms"\nbody_size_limit = "4MiB"')
                  + target("hang", port, "/hang", 'timeout = "300ms"') + target("html", port, "/html")
                  + target("bomb", port, "/bomb") + target("cut", port, "/cut") + target("error", port, "/error")
                  + target("limited", port, "/metrics", "sample_limit = 3") + target("closed", closed_port(), "/metrics")
                  + target("asked", port, "/asked", f'token_file = "{token}"\nparams = {{ collect = "a b" }}'))
        with agent_with(config) as agent:
            wait_for("all targets asked", lambda: len(agent.query('up{job!=""}')) >= 10)
            wait_for("what is up", lambda: {row["metric"]["job"] for row in agent.query("up == 1")} == {"odd", "asked"})

            def taken():
                got = values(agent, '{job="odd",__name__=~"good|label|broken|twice|nan|inf|future"}')
                return sorted(json.loads(row)["__name__"] for row in got) == ["good", "inf", "label", "nan", "twice"]
            wait_for("what is taken", taken)
            becomes(agent, 'count(label{v="new\\nline \\"quoted\\""})', 1.0)
            becomes(agent, "twice", 1.0)  # the first of two
            becomes(agent, 'count(asked{path="/asked?collect=a%20b"})', 1.0)
            for counter in ("invalid_lines", "doubled_samples", "untimely_samples"):
                wait_for(counter, lambda: (agent.metric(f"nexus_scrape_{counter}_total") or 0) > 0)
            for name, said in (("huge", "body_size_limit|timed out|Timeout"), ("hang", "(?i)time"), ("bomb", "body_size_limit"), ("html", "no line is a sample"),
                               ("cut", "truncated"), ("error", "status 500"), ("limited", "sample_limit"),
                               ("closed", "(?i)connect"), ("odd", "lines were not taken; line 2: longer than")):
                def tells(name=name, said=said):
                    targets = agent.get("/api/v1/targets").json["data"]["activeTargets"]
                    return any(t["scrapePool"] == name and re.search(said, t["lastError"]) for t in targets)
                wait_for(f"{name} failing because of {said}", tells)
            expect(state["huge_sent"] < 1 << 28, "the flood was cut off")

            def listed():
                rows = {row["name"]: row for row in agent.command_json("list", "sources")["sources"]}
                return ((rows["odd"]["health"], rows["closed"]["health"]) == ("up", "down") and rows["odd"]["series"] >= 5
                        and "age_seconds" in rows["odd"] and "connect" in rows["closed"]["error"].lower())
            wait_for("`list sources` telling", listed)
            expect("scrape_samples_scraped" in agent.command("describe", "scrape")[0], "`describe scrape`")
            health = {part["name"]: part for part in agent.get("/health/components").json["components"]}
            equal(health["sources"]["status"], "degraded", "the sources' health")
            # What is not configured any more ends.
            agent.configure(target("odd", port, "/html"))
            agent.signal(signal.SIGHUP)
            wait_for("the series being gone", lambda: not agent.query("good") and not agent.query('up{job="closed"}'))


def pushes():
    """Business indicators by POST /api/v1/push: groups, staleness, roles."""
    with agent_with('[push]\nstale_after = "3s"\n[[vital]]\nname = "orders_open"\nexpr = "shop_orders_open"\nunit = "count"') as agent:
        body = "# TYPE shop_orders_open gauge\nshop_orders_open 12\n# TYPE shop_sold_total counter\nshop_sold_total 7\n"
        answer = agent.unix("POST", "/api/v1/push?job=shop&branch=north", body)
        equal((answer.status, answer.json["samples"]), (200, 2), "the push")
        # As curl --data-binary sends it, which calls it a form.
        answer = agent.unix("POST", "/api/v1/push?job=curl", 'revenue_total{shop="100%",of="a&b"} 42\n',
                            {"Content-Type": "application/x-www-form-urlencoded"})
        equal((answer.status, answer.json.get("samples")), (200, 1), f"a push of curl: {answer.body}")
        wait_for("what curl pushed", lambda: agent.query('last_over_time(revenue_total{job="curl",shop="100%",of="a&b"}[5m]) == 42'))
        equal(agent.tcp("POST", "/api/v1/push?job=shop", body).status, 401, "a push of somebody without a token")
        equal(agent.unix("POST", "/api/v1/push", body).status, 400, "a push without a job")
        equal(agent.unix("POST", "/api/v1/push?job=x", "not a sample at all\n").status, 400, "nothing to take")
        equal(agent.unix("POST", "/api/v1/push?job=y", "ok 1\nnot a sample\n").json["invalid_lines"], 1, "one bad line")
        wait_for("the sample", lambda: value(agent, 'shop_orders_open{job="shop",branch="north"}') == 12)
        wait_for("the vital", lambda: value(agent, "orders_open") == 12)
        wait_for("its end", lambda: not agent.query("shop_orders_open"))


TESTS = [("the same series as a Prometheus", as_prometheus_scrapes),
         ("odd targets, as a Prometheus has them", odd_targets_as_prometheus), ("hostile targets", hostile_targets), ("pushes", pushes)]

if __name__ == "__main__":
    chosen = sys.argv[2:]
    run_tests([(name, test) for name, test in TESTS if not chosen or test.__name__ in chosen])
