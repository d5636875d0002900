#!/bin/sh
# CPU time of one scrape of node_exporter against one collection by the agent, on this host, in one run.
#
# Two pairs: node_exporter's default collectors against the agent's that node_exporter has on by default too, and both
# sides with exactly the same collectors (processes among them, which reads one file a process). The agent's numbers
# are with the page rendered, as a scrape does, and without, as it collects once an interval.
#
# usage: bench/versus/node_exporter.sh [BUILD_DIR [SCRAPES]]     needs: prometheus-node-exporter, curl, a release build
set -eu

build=${1:-build/release}
scrapes=${2:-300}
port=${NEXUS_BENCH_PORT:-19101}
bench=$build/bench/collect_bench
default="arp,bcache,bonding,btrfs,conntrack,cpu,cpufreq,diskstats,dmi,edac,entropy,fibrechannel,filefd,filesystem,hwmon"
default="$default,infiniband,ipvs,loadavg,mdadm,meminfo,netclass,netdev,netstat,nfs,nfsd,nvme,os,powersupplyclass,pressure"
default="$default,rapl,schedstat,selinux,sockstat,softnet,stat,tapestats,thermal_zone,time,timex,udp_queues,uname,vmstat"
default="$default,xfs,zfs"
same="cpu,diskstats,filefd,filesystem,loadavg,meminfo,netdev,pressure,sockstat,stat,time,uname,vmstat,processes"
exporter=$(command -v prometheus-node-exporter || command -v node_exporter) || {
  echo "node_exporter is not installed (Debian package prometheus-node-exporter)" >&2
  exit 1
}
[ -x "$bench" ] || { echo "$bench is not built: cmake --build $build --target collect_bench" >&2; exit 1; }

pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true' EXIT INT TERM
url=http://127.0.0.1:$port/metrics

# utime + stime in clock ticks: fields 14 and 15; the name in field 2 has no blanks here.
ticks() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }

# Prints "MICROSECONDS SAMPLES" a scrape of node_exporter, started with the given flags.
scrape() {
  "$exporter" --web.listen-address="127.0.0.1:$port" --web.disable-exporter-metrics --log.level=error "$@" 2>/dev/null &
  pid=$!
  tries=0
  until curl -sf -o /dev/null "$url"; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "node_exporter does not answer on port $port" >&2; exit 1; }
    sleep 0.1
  done
  samples=$(curl -sf "$url" | grep -vc '^#')
  before=$(ticks)
  i=0
  while [ "$i" -lt "$scrapes" ]; do
    curl -sf -o /dev/null "$url"
    i=$((i + 1))
  done
  used=$(($(ticks) - before))
  kill "$pid"
  wait "$pid" 2>/dev/null || true
  pid=
  micros=$(awk -v t="$used" -v n="$scrapes" -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.1f", t / hz / n * 1e6 }')
}

row() {
  awk -v name="$1" -v us="$2" -v n="$3" -v base="$micros" \
    'BEGIN { printf "%-44s %9.1f %8d %10.2f %10.1fx\n", name, us, n, us / n, base / us }'
}

compare() { # COLLECTORS LABEL
  row "node_exporter, $2" "$micros" "$samples"
  for flag in "" --pages; do
    ours=$("$bench" --collections=2000 --collectors="$1" $flag)
    row "nexus-agent${flag:+ and page}, $2" "${ours% *}" "${ours#* }"
  done
}

printf '%-44s %9s %8s %10s %11s\n' "one collection" "CPU us" "samples" "us/sample" "cheaper by"
scrape
compare "$default" "default set"
scrape --collector.disable-defaults $(echo "$same" | tr ',' '\n' | sed 's/^/--collector./')
compare "$same" "same collectors"
