#!/usr/bin/env bash
# Makes the root of the test machine: a minimal Debian 12 with systemd, dbus and the libraries that the agent links.
#
# usage: root.sh BUILD_DIR        prints the path of the root, BUILD_DIR/testbed/root
#
# The root is kept and made anew only when this script changes (its hash stands in BUILD_DIR/testbed/root.key).
# Nothing may write into it: tests boot an overlay of it (nspawn.py). Needs root rights and debootstrap.
set -euo pipefail

BUILD_DIR=${1:?usage: root.sh BUILD_DIR}
PACKAGES=(
  systemd systemd-sysv dbus curl procps ca-certificates iproute2 libpam-systemd
  # What nexus-agent and the test programs link; the sanitizers' libraries for the asan and tsan presets.
  libstdc++6 libfmt9 libspdlog1.10 libsystemd0 libsqlite3-0 libssl3 libre2-9 zlib1g libzstd1 libisal2
  libyaml-cpp0.7 libboost-json1.81.0 libboost-url1.81.0 libboost-container1.81.0 libboost-system1.81.0
  libpq5 libhiredis0.14 libcctz2 tzdata libprometheus-cpp-core1.0 libtomlplusplus3 libasan8 libubsan1 libtsan2
)
# They wait for a network or a console that the machine does not have.
MASKED=(apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
  console-getty.service getty@.service container-getty@.service e2scrub_reap.service)

# The mirror of the machine's own main Debian sources, in deb822 or one-line form.
mirror() {
  local uri
  uri=$(apt-get indextargets --format '$(SITE)|$(CODENAME)|$(COMPONENT)|$(CREATED_BY)' |
    awk -F'|' '$2 == "bookworm" && $3 == "main" && $4 == "Packages" && !found++ { print $1 }')
  if [[ -z $uri ]]; then
    echo "root.sh: no apt source of this machine offers bookworm main (see apt-get indextargets)" >&2
    return 1
  fi
  echo "$uri"
}

umask 022
mkdir -p "$BUILD_DIR/testbed"
BASE=$(cd "$BUILD_DIR/testbed" && pwd)
KEY=$(sha256sum "$0" | cut -d' ' -f1)
exec 9>"$BASE/root.lock"
flock 9
if [[ -f $BASE/root.key && $(<"$BASE/root.key") == "$KEY" && -d $BASE/root/etc ]]; then
  echo "$BASE/root"
  exit 0
fi

[[ $EUID == 0 ]] || { echo "root.sh: needs root rights to make a Debian root" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "root.sh: debootstrap is not installed" >&2; exit 1; }
MIRROR=$(mirror)
NEW=$BASE/root.new
rm -rf --one-file-system "$NEW" "$BASE/root" "$BASE/root.key"
mkdir -p "$BASE/debs"
(IFS=,; debootstrap --variant=minbase --cache-dir="$BASE/debs" --include="${PACKAGES[*]}" \
  bookworm "$NEW" "$MIRROR") >"$BASE/debootstrap.log" 2>&1 || {
  echo "root.sh: debootstrap failed, see $BASE/debootstrap.log:" >&2
  tail -n 20 "$BASE/debootstrap.log" >&2
  exit 1
}
rm -rf "$NEW"/var/cache/apt/archives/*.deb "$NEW"/var/lib/apt/lists/*
systemctl --root="$NEW" mask "${MASKED[@]}" 2>>"$BASE/debootstrap.log"
systemd-machine-id-setup --root="$NEW" 2>>"$BASE/debootstrap.log"
echo nexus-testbed >"$NEW/etc/hostname"
mv "$NEW" "$BASE/root"
echo "$KEY" >"$BASE/root.key"
echo "$BASE/root"
