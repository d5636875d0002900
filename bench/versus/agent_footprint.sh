#!/bin/sh
# CPU and resident memory of the whole agent with its default configuration (1 s interval, vitals, forecasts, anomalies).
#
# One row every tenth of the time: CPU as percent of one core since the row before, so that start-up and what grows are seen;
# the last row is the whole time after the agent was ready.
#
# usage: bench/versus/agent_footprint.sh [SECONDS [BUILD_DIR]]     needs: curl, a release build
seconds=${1:-300}
build=${2:-build/release}
. "$(dirname "$0")/agent.sh"

start_agent "$build"
ticks_per_second=$(getconf CLK_TCK)
now() { cut -d' ' -f1 /proc/uptime; }

row() { # LABEL TICKS SECONDS
  awk -v label="$1" -v ticks="$2" -v hz="$ticks_per_second" -v took="$3" -v rss="$(agent_memory VmRSS)" \
    -v peak="$(agent_memory VmHWM)" -v threads="$(agent_memory Threads)" \
    'BEGIN { printf "%-10s %12.2f %12.1f %12.1f %9d\n", label, 100 * ticks / hz / took, rss / 1024, peak / 1024, threads }'
}

printf '%-10s %12s %12s %12s %9s\n' "seconds" "CPU percent" "RSS MiB" "peak MiB" "threads"
first_ticks=$(agent_ticks)
first_time=$(now)
ticks=$first_ticks
time=$first_time
i=1
while [ "$i" -le 10 ]; do
  sleep "$(awk -v s="$seconds" 'BEGIN { print s / 10 }')"
  new_ticks=$(agent_ticks)
  new_time=$(now)
  elapsed=$(awk -v a="$first_time" -v b="$new_time" 'BEGIN { printf "%.0f", b - a }')
  row "$elapsed" "$((new_ticks - ticks))" "$(awk -v a="$time" -v b="$new_time" 'BEGIN { print b - a }')"
  ticks=$new_ticks
  time=$new_time
  i=$((i + 1))
done
row "all" "$((ticks - first_ticks))" "$(awk -v a="$first_time" -v b="$time" 'BEGIN { print b - a }')"
series=$(curl -sf --unix-socket "$agent_socket" http://localhost/health/status | sed -n 's/.*"metrics_count":\([0-9]*\).*/\1/p')
echo "series in the history: $series; samples on /metrics: $(curl -sf --unix-socket "$agent_socket" http://localhost/metrics | grep -vc '^#')"
