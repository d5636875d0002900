#!/usr/bin/python3
"""100,000 series a second into a real agent, by [[scrape]] over HTTP or by POST /api/v1/push: its CPU and memory.

    sources_flood.py NEXUS_AGENT base|scrape|push [SECONDS]
"""
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "agent"))
from counterparts import agent_with, send, served  # noqa: E402  (it reads the first argument)

SERIES = 100_000
WARM = 20  # seconds


def exposition(step):
    """As exporters write: families of series with a few labels each."""
    out = []
    for i in range(SERIES):
        if i % 50 == 0:
            out.append(f"# TYPE app_metric_{i // 50}_total counter")
        out.append(f'app_metric_{i // 50}_total{{instance_id="i-{i % 7}",method="GET",path="/api/v1/things/{i % 50}"}} {i * 3 + step}')
    return ("\n".join(out) + "\n").encode()


def cpu(pid):
    words = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) // 1024


def main():
    mode, seconds = sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 40
    texts = [exposition(step) for step in range(3)]
    turns = [0]

    def respond(handler):
        turns[0] += 1
        send(handler, texts[turns[0] % 3])
    with served(respond) as port:
        config = {"base": "", "push": f'max_body_bytes = "32MiB"\n[push]\nmax_series = {SERIES}\n',  # the first line is of [http]
                  "scrape": f'[[scrape]]\nname = "app"\ntargets = ["127.0.0.1:{port}"]\ninterval = "1s"\ntimeout = "950ms"\n'
                            f"max_series = {SERIES}\n"}[mode]
        with agent_with(config) as agent:
            pid = agent.process.pid

            def run(length):
                end = time.monotonic() + length
                while (begun := time.monotonic()) < end:
                    if mode == "push":
                        turns[0] += 1
                        agent.unix("POST", "/api/v1/push?job=app", texts[turns[0] % 3])
                    time.sleep(max(0.0, 1 - (time.monotonic() - begun)))

            def samples():
                return agent.metric(f"nexus_{mode}_samples_total") or 0
            run(WARM)
            before, used, begun = samples(), cpu(pid), time.monotonic()
            run(seconds)
            took = time.monotonic() - begun
            print(f"{mode}: {(samples() - before) / took:.0f} samples a second, {100 * (cpu(pid) - used) / took:.1f} % of a core, "
                  f"{resident(pid)} MiB resident")


main()
