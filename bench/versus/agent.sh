# Shared by the scripts here: a release agent on a temporary data directory. Sourced; ends what it started on exit.
#   start_agent BUILD_DIR    sets agent_pid, agent_port and agent_socket once it is ready

set -eu
agent_pid=
agent_dir=

end_agent() {
  if [ -n "$agent_pid" ]; then
    kill -TERM "$agent_pid" 2>/dev/null || true
    wait "$agent_pid" 2>/dev/null || true
  fi
  [ -z "$agent_dir" ] || rm -rf "$agent_dir"
}

start_agent() {
  agent_binary=$1/nexus-agent
  [ -x "$agent_binary" ] || { echo "$agent_binary is not built: ./run --build-only" >&2; exit 1; }
  agent_dir=$(mktemp -d)
  trap end_agent EXIT
  trap 'exit 130' INT TERM
  agent_socket=$agent_dir/agent.sock
  cat >"$agent_dir/agent.toml" <<TEXT
[agent]
data_dir = "$agent_dir/data"
[http]
listen = ["127.0.0.1:0", "unix:$agent_socket"]
max_requests_per_connection = 1000000000
${NEXUS_BENCH_CONFIG:-}
TEXT
  "$agent_binary" run --config "$agent_dir/agent.toml" 2>"$agent_dir/log" &
  agent_pid=$!
  tries=0
  until curl -sf -o /dev/null --unix-socket "$agent_socket" http://localhost/-/ready; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$agent_pid" 2>/dev/null; then
      echo "the agent is not ready:" >&2
      cat "$agent_dir/log" >&2
      exit 1
    fi
    sleep 0.2
  done
  agent_port=$(sed -n 's/.*listening on .*127\.0\.0\.1:\([0-9][0-9]*\).*/\1/p' "$agent_dir/log" | head -n 1)
}

# utime + stime of the agent in clock ticks; the name in field 2 has no blanks.
agent_ticks() { awk '{ print $14 + $15 }' "/proc/$agent_pid/stat"; }

# Of one line of /proc/PID/status, in KiB: VmRSS, VmHWM, ...
agent_memory() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$agent_pid/status"; }
