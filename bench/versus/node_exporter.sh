#!/bin/sh
# CPU time of one scrape of node_exporter against one collection of the agent's default collectors, on this host, in one
# run. Two rows for the agent: collecting alone, and collecting and rendering the page.
#
# usage: bench/versus/node_exporter.sh [BUILD_DIR [SCRAPES]]     needs: prometheus-node-exporter, curl, a release build
set -eu

build=${1:-build/release}
scrapes=${2:-300}
port=${NEXUS_BENCH_PORT:-19101}
bench=$build/bench/collect_bench
exporter=$(command -v prometheus-node-exporter || command -v node_exporter) || {
  echo "node_exporter is not installed (Debian package prometheus-node-exporter)" >&2
  exit 1
}
[ -x "$bench" ] || { echo "$bench is not built: cmake --build $build --target collect_bench" >&2; exit 1; }

"$exporter" --web.listen-address="127.0.0.1:$port" --web.disable-exporter-metrics --log.level=error 2>/dev/null &
pid=$!
trap 'kill "$pid" 2>/dev/null || true' EXIT INT TERM

url=http://127.0.0.1:$port/metrics
tries=0
until curl -sf -o /dev/null "$url"; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || { echo "node_exporter does not answer on port $port" >&2; exit 1; }
  sleep 0.1
done

# utime + stime in clock ticks: fields 14 and 15; the name in field 2 has no blanks here.
ticks() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }

samples=$(curl -sf "$url" | grep -vc '^#')
before=$(ticks)
i=0
while [ "$i" -lt "$scrapes" ]; do
  curl -sf -o /dev/null "$url"
  i=$((i + 1))
done
after=$(ticks)
theirs=$(awk -v t="$((after - before))" -v n="$scrapes" -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.1f", t / hz / n * 1e6 }')

ours=$("$bench" --collections=2000)
page=$("$bench" --pages=2000)

row() { awk -v name="$1" -v us="$2" -v n="$3" -v base="$theirs" 'BEGIN { printf "%-34s %10.1f %9d %12.2f %11.1fx\n", name, us, n, us / n, base / us }'; }
printf '%-34s %10s %9s %12s %12s\n' "one collection" "CPU us" "samples" "us/sample" "cheaper by"
row "node_exporter, scrape" "$theirs" "$samples"
row "nexus-agent, collect" "${ours% *}" "${ours#* }"
row "nexus-agent, collect and page" "${page% *}" "${page#* }"
