#!/bin/sh
# Requests per second on /health/status with wrk: 1 and 500 connections. The agent goes on collecting meanwhile.
#
# "per core" divides by the CPU time that the agent used, because wrk takes the rest of the machine.
#
# usage: bench/versus/http.sh [SECONDS [BUILD_DIR [PATH]]]     needs: wrk, curl, a release build
seconds=${1:-10}
build=${2:-build/release}
path=${3:-/health/status}
. "$(dirname "$0")/agent.sh"
command -v wrk >/dev/null || { echo "wrk is not installed (Debian package wrk)" >&2; exit 1; }

start_agent "$build"
printf '%-24s %10s %12s %14s %9s %9s %7s\n' "GET $path" "requests" "a second" "a second/core" "p50" "p99" "errors"
for connections in 1 500; do
  before=$(agent_ticks)
  wrk -t1 -c"$connections" -d"${seconds}s" --timeout 10s --latency "http://127.0.0.1:$agent_port$path" >"$agent_dir/wrk"
  used=$(($(agent_ticks) - before))
  awk -v name="$connections connections" -v used="$used" -v hz="$(getconf CLK_TCK)" '
    $1 == "50%" { p50 = $2 }
    $1 == "99%" { p99 = $2 }
    $2 == "requests" && $3 == "in" { requests = $1 }
    $1 == "Requests/sec:" { rate = $2 }
    $1 == "Socket" { gsub(",", ""); errors += $4 + $6 + $8 + $10 }
    $1 == "Non-2xx" { errors += $NF }
    END {
      core = used > 0 ? requests * hz / used : 0
      printf "%-24s %10d %12.0f %14.0f %9s %9s %7d\n", name, requests, rate, core, p50, p99, errors
    }' "$agent_dir/wrk"
done
