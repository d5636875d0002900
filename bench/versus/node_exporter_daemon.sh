#!/bin/sh
# CPU of the same collectors in the running agent and in node_exporter, side by side in the same seconds: both are woken
# once a second, with caches as cold as they are then. (node_exporter.sh compares collections one straight after the other.)
#
# Two pairs, each with exactly the same collectors on both sides: those that node_exporter has on by default and the agent
# has too, and everything that both have. What the agent has besides stays on and is the last line. Ours is
# nexus_collector_cpu_seconds_total, thread time of the runs; theirs is utime + stime of the process. What the agent's
# threads collect-* used by schedstat is told, too: waking, waiting, helpers and handing on the batches are in that.
#
# "a collection": the mean run of every collector, added up, whatever its interval. "a second": what was used, each
# collector at its own interval (uname every 15 s, ...); with an incident more often than that, which is told.
#
# usage: bench/versus/node_exporter_daemon.sh [BUILD_DIR [SECONDS]]     needs: prometheus-node-exporter, curl, a release build
build=${1:-build/release}
seconds=${2:-60}
common="arp bcache bonding btrfs conntrack cpu cpufreq diskstats dmi edac entropy fibrechannel filefd filesystem hwmon
  infiniband ipvs loadavg mdadm meminfo netclass netdev netstat nfs nfsd nvme os powersupplyclass pressure rapl schedstat
  selinux sockstat softnet stat tapestats textfile thermal_zone time timex udp_queues uname vmstat xfs zfs"
extra="buddyinfo cgroups drbd ethtool interrupts ksmd lnstat logind meminfo_numa mountstats network_route processes qdisc
  slabinfo softirqs sysctl systemd tcpstat wifi zoneinfo"
. "$(dirname "$0")/agent.sh"
exporter=$(command -v prometheus-node-exporter || command -v node_exporter) || {
  echo "node_exporter is not installed (Debian package prometheus-node-exporter)" >&2
  exit 1
}
known=$("$exporter" --help 2>&1)
exporter_pid=
work=$(mktemp -d)
port=${NEXUS_BENCH_PORT:-19102}

finish() {
  [ -z "$exporter_pid" ] || kill "$exporter_pid" 2>/dev/null || true
  rm -rf "$work"
  end_agent
}

# The names among "$@" that this node_exporter has.
had() {
  for name in "$@"; do
    ! printf '%s' "$known" | grep -q -- "collector\.$name " || printf '%s ' "$name"
  done
}

# Nanoseconds of the agent's collecting threads. They come and go, so that this may miss a little.
collecting() {
  for task in "/proc/$agent_pid/task"/*; do
    case $(cat "$task/comm" 2>/dev/null) in collect-*) cut -d' ' -f1 "$task/schedstat" ;; esac
  done | awk '{ sum += $1 } END { printf "%.0f", sum }'
}

pair() { # LABEL NAMES...
  label=$1
  shift
  "$exporter" --web.listen-address="127.0.0.1:$port" --web.disable-exporter-metrics --log.level=error \
    --collector.disable-defaults $(printf -- '--collector.%s ' "$@") 2>/dev/null &
  exporter_pid=$!
  until curl -sf -o /dev/null "http://127.0.0.1:$port/metrics"; do sleep 0.2; done
  curl -sf --unix-socket "$agent_socket" http://localhost/metrics >"$work/before"
  ticks=$(awk '{ print $14 + $15 }' "/proc/$exporter_pid/stat")
  threads=$(collecting)
  began=$(cut -d' ' -f1 /proc/uptime)
  i=0
  while [ "$i" -lt "$seconds" ]; do
    curl -sf -o /dev/null "http://127.0.0.1:$port/metrics"
    i=$((i + 1))
    sleep 1
  done
  ticks=$(($(awk '{ print $14 + $15 }' "/proc/$exporter_pid/stat") - ticks))
  threads=$(awk -v after="$(collecting)" -v before="$threads" 'BEGIN { printf "%.0f", after - before }')
  curl -sf --unix-socket "$agent_socket" http://localhost/metrics >"$work/after"
  elapsed=$(awk -v began="$began" '{ print $1 - began }' /proc/uptime)
  kill "$exporter_pid"
  wait "$exporter_pid" 2>/dev/null || true
  exporter_pid=
  awk -v label="$label" -v names="$*" -v elapsed="$elapsed" -v seconds="$seconds" -v threads="$threads" \
    -v theirs="$((ticks * 1000000 / $(getconf CLK_TCK) / seconds))" '
    BEGIN { n = split(names, list, " "); for (i = 1; i <= n; i++) wanted[list[i]] = 1 }
    /^nexus_collector_(cpu_seconds|runs)_total\{/ {
      split($1, part, "\""); name = part[2]; what = ($1 ~ /^nexus_collector_cpu/) ? "cpu" : "runs"
      if (NR == FNR) { before[what, name] = $2 } else { used[what, name] = $2 - before[what, name] }
      seen[name] = 1
    }
    /^nexus_collector_interval_seconds\{/ && NR != FNR { split($1, part, "\""); if ($2 < 1) fast = fast " " part[2] }
    END {
      for (name in seen) {
        all += used["cpu", name]
        if (!(name in wanted) || used["runs", name] == 0) continue
        count++; second += used["cpu", name]; collection += used["cpu", name] / used["runs", name]
      }
      printf "%-34s %d collectors: node_exporter %.0f us a scrape; ours %.0f us a collection (%.1fx), %.0f us a second (%.1fx)\n",
        label, count, theirs, collection * 1e6, theirs / collection / 1e6, second * 1e6 / elapsed, theirs * seconds / second / 1e6
      printf "%-34s %.0f us a second, their threads %.0f%s\n", "  all collectors that are on", all * 1e6 / elapsed, \
        threads / 1e3 / elapsed, fast == "" ? "" : "; in an incident at the end:" fast
    }' "$work/before" "$work/after"
}

extra=$(had $extra)
NEXUS_BENCH_CONFIG=$(printf '[collect.%s]\nenabled = true\n' $extra)
start_agent "$build"
trap finish EXIT
sleep 20 # what a start costs is not a collection
pair "default set" $(had $common)
pair "everything that both have" $(had $common) $extra
