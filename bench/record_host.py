#!/usr/bin/env python3
"""Records this host as prometheus-node-exporter shows it, one scrape a second.

usage: bench/record_host.py OUT.txt.gz [SECONDS]      needs: prometheus-node-exporter (Debian package)

A line `@MILLISECONDS` starts a scrape, then one `name{labels} value` a line: what the benchmarks of the history
read (NEXUS_RECORDING, versus/history.py). An hour takes about 2 MB.
"""
import gzip
import shutil
import socket
import subprocess
import sys
import time
import urllib.request


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 1200
    exporter = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
    if exporter is None:
        sys.exit("node_exporter is not installed (Debian package prometheus-node-exporter)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % probe.getsockname()[1]
    process = subprocess.Popen([exporter, "--web.listen-address=" + address, "--log.level=error"],
                               stderr=subprocess.DEVNULL)
    try:
        scrapes = 0
        with gzip.open(sys.argv[1], "wt") as out:
            begin = time.monotonic() + 2
            for i in range(seconds):
                time.sleep(max(0, begin + i - time.monotonic()))
                now = int(time.time() * 1000)
                try:
                    with urllib.request.urlopen("http://%s/metrics" % address, timeout=5) as page:
                        text = page.read().decode()
                except OSError as error:
                    print("scrape %d: %s" % (i, error), file=sys.stderr)
                    continue
                scrapes += 1
                out.write("@%d\n" % now)
                out.writelines(line + "\n" for line in text.split("\n") if line and line[0] != "#")
        print("%s: %d scrapes" % (sys.argv[1], scrapes))
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
