#!/usr/bin/env python3
"""A real leak and a real knee, found by a whole agent whose clock runs faster.

    bench/foresee_live.py AGENT leak     # 60 hours in three minutes: a program that leaks, killed twice, and one that does not
    bench/foresee_live.py AGENT knee     # five hours in two and a half minutes: a service that is asked for more and more

The agent runs under Debian's libfaketime (package libfaketime). That library passes pthread_cond_clockwait by, with which
the agent's threads wait; the few lines of C below scale it as well and are compiled with cc. Programs, requests and what
the kernel says of them are real, at the real clock. Ports are free ones, everything lies in a temporary directory.
"""
import asyncio
import json
import math
import mmap
import os
import pathlib
import random
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent / "tests" / "agent"))
import harness  # noqa: E402

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
SCALED = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int pthread_cond_clockwait(pthread_cond_t* c, pthread_mutex_t* m, clockid_t clock, const struct timespec* until) {
  int (*real)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const struct timespec*) =
      dlsym(RTLD_NEXT, "pthread_cond_clockwait");
  struct timespec fast, now;
  clock_gettime(clock, &fast);
  syscall(SYS_clock_gettime, clock, &now);
  double rest = ((until->tv_sec - fast.tv_sec) + (until->tv_nsec - fast.tv_nsec) * 1e-9) / atof(getenv("FACTOR"));
  if (rest < 0) rest = 0;
  if (rest > 1e6) rest = 1e6;
  long ns = now.tv_nsec + (long)((rest - (long)rest) * 1e9);
  struct timespec to = {now.tv_sec + (long)rest + ns / 1000000000L, ns % 1000000000L};
  return real(c, m, clock, &to);
}
"""


def leaker(leaks, hour):
    """Holds a working set of the time of the day and, when it leaks, forgets 1 MiB and one open file an hour."""
    def touched(size):
        memory = mmap.mmap(-1, size)
        for at in range(0, size, 4096):
            memory[at] = 1
        return memory
    kept, files, begun = [], [], time.monotonic()
    while True:
        work = touched(int((12 + 6 * math.sin(2 * math.pi * time.time() / hour / 24)) * (1 << 20)))
        age = (time.monotonic() - begun) / hour if leaks else 0
        while len(kept) < age * 4:
            kept.append(touched(1 << 18))
        while len(files) < age:
            files.append(os.open("/dev/null", os.O_RDONLY))
        time.sleep(hour / 20)
        work.close()


async def service():
    """Two workers of 8 ms: at most 250 requests a second. It counts its requests and their time from arrival to answer."""
    done = {"count": 0, "seconds": 0.0}
    workers = asyncio.Semaphore(2)

    async def serve(reader, writer):
        while line := await reader.readline():
            while (await reader.readline()).strip():
                pass
            if b"/metrics" in line:
                body = (f"http_requests_total {done['count']}\nhttp_seconds_sum {done['seconds']}\n"
                        f"http_seconds_count {done['count']}\n").encode()
            else:
                arrived = time.perf_counter()
                async with workers:
                    await asyncio.sleep(0.008)
                done["seconds"] += time.perf_counter() - arrived
                done["count"] += 1
                body = b"ok"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
                         b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def load(port, period, seconds):
    """Requests at random times, whatever their answers take: 30 to 230 a second and back in every period."""
    idle, running, begun = [], set(), time.perf_counter()
    random.seed(7)

    async def one():
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        while (await reader.readline()).strip():
            pass
        await reader.readexactly(2)
        idle.append((reader, writer))
    at = begun
    while (now := time.perf_counter()) - begun < seconds:
        at += random.expovariate(130 - 100 * math.cos(2 * math.pi * (now - begun) / period))
        await asyncio.sleep(max(at - now, 0))
        task = asyncio.create_task(one())
        running.add(task)
        task.add_done_callback(running.discard)


def fast_agent(binary, where, factor, collectors, config):
    names = [line.split()[0] for line in subprocess.run([binary, "list", "collectors"], capture_output=True,
                                                        text=True, check=True).stdout.splitlines() if line.strip()]
    off = "".join(f"[collect.{name}]\nenabled = false\n" for name in names if name not in collectors)
    (where / "scaled.c").write_text(SCALED)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", where / "scaled.so", where / "scaled.c", "-ldl"], check=True)
    agent = harness.Agent(binary, where, config.replace("OFF", off))
    agent.environment.update(LD_PRELOAD=f"{where}/scaled.so:{LIBRARY}", FACTOR=f"{factor}", FAKETIME=f"+0 x{factor}",
                             FAKETIME_NO_CACHE="1")
    return agent.start(wait=False)


def role(*words):
    return subprocess.Popen([sys.executable, str(HERE), "role", *map(str, words)], stdout=subprocess.PIPE, text=True)


def tell(agent, part, name):
    print(json.dumps(agent.get("/operations/capacity").json[part], indent=1))
    alerts = agent.get("/health/alerts").json
    for finding in next(value for value in alerts.values() if isinstance(value, list)):
        if finding["name"].endswith(name):
            print(finding["state"], finding["fired"], finding["description"])


def leak(binary, where, factor=1200, hours=60):
    hour = 3600 / factor
    agent = fast_agent(binary, where, factor, ("agent", "process_groups"), """
[collect]
interval = "1m"
deadline = "50s"
OFF
[collect.process_groups]
patterns = ["leaky=role leaky", "calm=role calm"]
[operations]
check_interval = "1m"
mode = "observe"
[forecast]
interval = "5m"
[anomaly]
enabled = false
""")
    programs = {"leaky": role("leaky", hour), "calm": role("calm", hour)}
    try:
        for part in (0.29, 0.34, 0.37):
            time.sleep(part * hours * hour)
            if part < 0.37:
                programs["leaky"].kill()
                programs["leaky"].wait()
                programs["leaky"] = role("leaky", hour)
        tell(agent, "leaks", "leak")
    finally:
        agent.close()
        for program in programs.values():
            program.kill()


def knee(binary, where, factor=120, minutes=300):
    minute = 60 / factor
    shop = role("service")
    port = int(shop.stdout.readline())
    requests = role("load", port, 40 * minute, minutes * minute)
    agent = fast_agent(binary, where, factor, ("agent",), f"""
[collect]
interval = "15s"
OFF
[operations]
check_interval = "15s"
mode = "observe"
[forecast]
interval = "1m"
[anomaly]
enabled = false
[[scrape]]
name = "shop"
targets = ["127.0.0.1:{port}"]
interval = "15s"
timeout = "14s"
[[vital]]
name = "shop_requests_per_second"
expr = 'sum(rate(http_requests_total{{job="shop"}}[1m])) * {factor}'
unit = "per_second"
[[vital]]
name = "shop_response_seconds"
expr = 'sum(rate(http_seconds_sum{{job="shop"}}[1m])) / sum(rate(http_seconds_count{{job="shop"}}[1m]))'
unit = "seconds"
""")
    try:
        time.sleep((minutes - 5) * minute)
        tell(agent, "performance", "_knee")
    finally:
        agent.close()
        requests.kill()
        shop.kill()


def main():
    if sys.argv[1:2] == ["role"]:
        name, *numbers = sys.argv[2:]
        if name in ("leaky", "calm"):
            leaker(name == "leaky", float(numbers[0]))
        asyncio.run(service() if name == "service" else load(int(numbers[0]), *map(float, numbers[1:])))
    with harness.directory() as where:
        {"leak": leak, "knee": knee}[sys.argv[2]](sys.argv[1], where)


if __name__ == "__main__":
    main()
