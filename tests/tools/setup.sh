# Shared by ./run and ./test: packages and builds on a Debian 12. Sourced, with the checkout as working directory.

BUILD_PACKAGES=(g++ cmake ninja-build ccache mold pkg-config git ca-certificates curl
  libboost1.81-dev libboost-json1.81-dev libboost-url1.81-dev libfmt-dev libspdlog-dev libtomlplusplus-dev libcli11-dev
  prometheus-cpp-dev libsystemd-dev libsqlite3-dev libssl-dev libre2-dev libyaml-cpp-dev libcurl4-openssl-dev zlib1g-dev libzstd-dev libisal-dev
  libpq-dev libhiredis-dev libcctz-dev tzdata dpkg-dev fakeroot file
  catch2 libbenchmark-dev)
TEST_PACKAGES=(clang-format-19 python3 debootstrap systemd-container dbus iproute2 nftables util-linux prometheus
  prometheus-node-exporter prometheus-blackbox-exporter prometheus-process-exporter
  prometheus-postgres-exporter prometheus-redis-exporter nginx-light logrotate openssl jq procps
  postgresql-15 redis-server docker.io busybox-static
  dnsmasq-base prometheus-alertmanager python3-aiosmtpd tinyproxy-bin podman runc zstd)

# Installs what is missing of the named packages; no package call when nothing is.
need_packages() {
  local missing=() package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]} == 0)) && return
  if [[ $(id -u) != 0 ]]; then
    echo "these packages are missing and need root to be installed: ${missing[*]}" >&2
    exit 1
  fi
  echo "installing: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # Services of test counterparts (Prometheus, node_exporter) are started by the tests, never by their packages.
  # In a subshell, so that its trap takes our policy away however it ends; one that an earlier run left is ours too.
  (
    policy=/usr/sbin/policy-rc.d
    mark='# of the tests of nexus-agent'
    if [[ ! -e $policy ]] || grep -qF "$mark" "$policy"; then
      trap 'rm -f "$policy"' EXIT
      trap 'exit 130' INT TERM HUP
      printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
      chmod +x "$policy"
    fi
    apt-get update -q
    apt-get install -qy --no-install-recommends "${missing[@]}"
  )
}

# build_preset PRESET [TARGET...]
build_preset() {
  local preset=$1
  shift
  [[ -f build/$preset/build.ninja ]] || cmake --preset "$preset"
  cmake --build --preset "$preset" ${1:+--target "$@"}
}
