"""Collectors beside the exporters whose names they have, at the same servers and on the same host: redis_exporter, postgres_exporter
and process-exporter of Debian 12. node_exporter has a script of its own, blackbox_exporter is in probes.py.

    exporters.py NEXUS_AGENT

Every metric that they have must be here with the same type and at least the same labels. What is not is listed in REASONS, and a
reason that nothing needs any more fails the test, too.
"""
import contextlib
import os
import pwd
import re
import subprocess
import sys
import urllib.request

from counterparts import answers, program, running
from harness import PATIENCE, Failure, directory, expect, free_port, run_tests, wait_for

BINARY = sys.argv[1]
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

OF_THE_EXPORTER = "about the exporter itself: nexus_collector_* and node_scrape_collector_* are about ours"
REASONS = {
    "redis": [
        (r"redis_exporter_(?!last_scrape_ping)|redis_target_scrape_request_errors_total", OF_THE_EXPORTER),
        (r"redis_expired_time_cap_reached_total", "a counter since later versions, as here"),
        (r"redis_last_key_groups_scrape_duration_milliseconds", "groups of keys need SCAN over all of them"),
    ],
    "postgres": [
        (r"pg_exporter_|pg_scrape_collector_", OF_THE_EXPORTER),
        (r"pg_settings_(default_transaction_read_only|(idle_in_transaction_session|lock|statement)_timeout_seconds)$",
         "the collector has set them for its own connection: they are not the server's"),
        (r"pg_stat_database_(active|idle_in_transaction|session)_time$", "milliseconds; later versions have _seconds_total, as here"),
        (r"pg_stat_database_sessions", "untyped in a version that does not know them; counters in later ones"),
        (r"pg_stat_database_checksum_", "NaN where checksums are off, and nothing here"),
        (r"server", "later versions have the label `server` with metrics of connections, conflicts, archiver, replicas, settings only"),
    ],
    "process": [],
}


def parse(text):
    """{name: {labels that have a value}}, {name: type}"""
    labels, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            types[name] = kind
        elif line and not line.startswith("#"):
            match = SAMPLE.match(line)
            expect(match, f"not a sample: {line!r}")
            labels.setdefault(match[1], set()).update(k for k, v in LABEL.findall(match[2] or "") if v)
    return labels, types


def family(name, types):
    for ending in ("_bucket", "_sum", "_count"):
        if name.endswith(ending) and types.get(name[:-len(ending)]) in ("histogram", "summary"):
            return name[:-len(ending)]
    return name


def differences(theirs, ours, prefixes):
    """What they have and we have not: (name, what is wrong)."""
    their_labels, their_types = parse(theirs)
    our_labels, our_types = parse(ours)
    count = 0
    out = []
    for name in sorted(their_labels):
        if not name.startswith(prefixes):
            continue
        count += 1
        if name not in our_labels:
            out.append((name, "missing"))
            continue
        kind, mine = their_types.get(family(name, their_types)), our_types.get(family(name, our_types))
        if kind != mine:
            out.append((name, f"is {mine}, not {kind}"))
        for label in sorted(their_labels[name] - our_labels[name]):
            out.append((name, f"has no label {label}"))
    return count, out


def compare(what, theirs, ours, prefixes, least):
    count, found = differences(theirs, ours, prefixes)
    print(f"  {count} metrics compared")
    expect(count >= least, f"only {count} metrics compared")
    used, wrong = set(), []
    for name, problem in found:
        reason = next((i for i, (pattern, _) in enumerate(REASONS[what])
                       if re.match(pattern, name) or problem == f"has no label {pattern}"), None)
        used.add(reason)
        if reason is None:
            wrong.append(f"{name} {problem}")
    unused = [pattern for i, (pattern, _) in enumerate(REASONS[what]) if i not in used]
    if wrong or unused:
        raise Failure("\n  ".join([f"{what}: {len(wrong)} differences", *wrong[:60], *(f"nothing needs the reason {one}" for one in unused)]))


def ours(collector, where, config="", options=()):
    path = where / "agent.toml"
    path.write_text(f'[agent]\ndata_dir = "{where}/data"\n{config}')
    done = subprocess.run([BINARY, "collect", "--once", "--config", str(path), "--collector", collector, *options],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)
    expect(f'node_scrape_collector_success{{collector="{collector}"}} 1' in done.stdout, done.stderr or done.stdout[-500:])
    return done.stdout


def theirs(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        return answer.read().decode()


def redis():
    with directory() as where:
        socket, port = where / "redis.sock", free_port()
        # What is asked often shows in the statistics of commands of both.
        with running(program("redis-server"), "--port", "0", "--unixsocket", socket, "--dir", where, "--maxmemory", "64mb",
                     "--latency-monitor-threshold", "1"), \
                running(program("prometheus-redis-exporter"), f"-web.listen-address=127.0.0.1:{port}", f"-redis.addr=unix://{socket}"):
            wait_for("redis_exporter", lambda: answers(f"http://127.0.0.1:{port}/metrics")() and "redis_up 1" in theirs(port))
            for words in (["SET", "a", "1"], ["SET", "b", "1", "EX", "1000"], ["GET", "a"]):
                subprocess.run([program("redis-cli"), "-s", socket, *words], check=True, capture_output=True, timeout=PATIENCE)
            text = theirs(port)
            compare("redis", text, ours("redis", where, f'[redis]\nhost = "{socket}"\n'), ("redis_",), 120)


@contextlib.contextmanager
def postgres_server(where):
    user = pwd.getpwnam("postgres")
    binaries = "/usr/lib/postgresql/15/bin"
    place = where / "postgres"
    place.mkdir()
    os.chmod(where, 0o755)
    os.chown(place, user.pw_uid, user.pw_gid)
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": place}
    subprocess.run([f"{binaries}/initdb", "-D", place / "data", "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8", "--no-locale"],
                   check=True, capture_output=True, timeout=PATIENCE, **as_user)
    with running(f"{binaries}/postgres", "-D", place / "data", "-c", "listen_addresses=", "-c", f"unix_socket_directories={place}",
                 "-c", "fsync=off", "-c", "shared_preload_libraries=pg_stat_statements", **as_user) as server:
        def psql(sql):
            return subprocess.run([program("psql"), "-h", place, "-U", "postgres", "-qc", sql], capture_output=True, timeout=PATIENCE,
                                  check=False).returncode == 0
        wait_for("PostgreSQL", lambda: psql("SELECT 1") or server.poll() is not None)
        for sql in ("CREATE EXTENSION pg_stat_statements", "CREATE TABLE orders (id int PRIMARY KEY, note text)",
                    "CREATE TABLE plain (id int)", "INSERT INTO orders SELECT i, 'x' FROM generate_series(1, 1000) i", "ANALYZE"):
            expect(psql(sql), sql)
        yield place


def postgres():
    with directory() as where, postgres_server(where) as place:
        port = free_port()
        environment = {**os.environ, "DATA_SOURCE_NAME": f"host={place} user=postgres dbname=postgres sslmode=disable"}
        with running(program("prometheus-postgres-exporter"), f"--web.listen-address=127.0.0.1:{port}", env=environment):
            wait_for("postgres_exporter", lambda: answers(f"http://127.0.0.1:{port}/metrics")() and "pg_up 1" in theirs(port))
            text = theirs(port)
            # Its socket is the superuser's here: what a role may see is shown by the unit tests.
            compare("postgres", text, ours("postgres", where, f'[postgres]\nhost = "{place}"\nuser = "postgres"\n'), ("pg_",), 200)


def processes():
    with directory() as where:
        port = free_port()
        (where / "names.yml").write_text('process_names:\n  - name: "{{.Comm}}"\n    cmdline: [".+"]\n')
        with running(program("prometheus-process-exporter"), f"-web.listen-address=127.0.0.1:{port}", f"-config.path={where}/names.yml",
                     "-gather-smaps=true"):
            wait_for("process-exporter", answers(f"http://127.0.0.1:{port}/metrics"))
            text = theirs(port)
        compare("process", text, ours("process_groups", where, "[collect.process_groups]\nthreads = true\nsmaps = true\n"),
                ("namedprocess_",), 18)


if __name__ == "__main__":
    run_tests([("redis_exporter", redis), ("postgres_exporter", postgres), ("process-exporter", processes)])
