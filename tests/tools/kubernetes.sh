#!/usr/bin/env bash
# Builds a real Kubernetes API server with its controllers and scheduler from Debian's source package (1.20), once.
#
# usage: kubernetes.sh CACHE_DIR        prints the directory with kube-apiserver, kube-controller-manager, kube-scheduler
#
# About five minutes of one core and 4 GB on disk the first time; only the programs are kept, until this script changes.
# It reads sources of the mirror of this machine's own apt sources through an apt configuration of its own, and changes
# nothing of the machine's. GOFLAGS=-p=1 and GOMAXPROCS=1 in the environment leave the other cores alone.
set -euo pipefail

CACHE=${1:?usage: kubernetes.sh CACHE_DIR}
PACKAGES=(golang-go rsync jq make gcc etcd-server golang-github-modern-go-reflect2-dev dpkg-dev)
PROGRAMS=(kube-apiserver kube-controller-manager kube-scheduler)
VERSION=1.20.2

cd "$(dirname "$0")/../.."
. tests/tools/setup.sh
need_packages "${PACKAGES[@]}" >&2
mkdir -p "$CACHE"
CACHE=$(cd "$CACHE" && pwd)
KEY=$(sha256sum tests/tools/kubernetes.sh | cut -d' ' -f1)
exec 9>"$CACHE/lock"
flock 9
if [[ -f $CACHE/key && $(<"$CACHE/key") == "$KEY" ]]; then
  echo "$CACHE/bin"
  exit 0
fi

mirror=$(apt-get indextargets --format '$(SITE)|$(CODENAME)|$(COMPONENT)|$(CREATED_BY)' |
  awk -F'|' '$2 == "bookworm" && $3 == "main" && $4 == "Packages" && !found++ { print $1 }')
[[ -n $mirror ]] || { echo "kubernetes.sh: no apt source of this machine offers bookworm main" >&2; exit 1; }

BUILD=$CACHE/build
LOG=$CACHE/log
rm -rf --one-file-system "$BUILD" "$CACHE/bin" "$CACHE/key"
mkdir -p "$BUILD/apt/lists/partial" "$BUILD/apt/cache/archives/partial" "$CACHE/bin"
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" >"$BUILD/apt/sources.list"
cat >"$BUILD/apt/apt.conf" <<EOF
Dir::Etc::sourcelist "$BUILD/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$BUILD/apt/lists";
Dir::Cache "$BUILD/apt/cache";
APT::Sandbox::User "root";
EOF
export APT_CONFIG=$BUILD/apt/apt.conf
step() {
  echo "kubernetes.sh: $1" >&2
  shift
  "$@" >>"$LOG" 2>&1 || { echo "kubernetes.sh: failed, see $LOG:" >&2; tail -n 20 "$LOG" >&2; exit 1; }
}
: >"$LOG"
cd "$BUILD"
step "reading the index of sources" apt-get update -q
step "fetching the source package" apt-get source -q --download-only kubernetes
unset APT_CONFIG
step "unpacking it" bash -c "dpkg-source -x kubernetes_*.dsc source"
cd source
# The vendored one crashes under the Go of Debian 12.
rm -rf vendor/github.com/modern-go/reflect2
cp -rL /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/reflect2
# Built where GOPATH says it is: the makefile of this version knows no other way.
mkdir -p .go/src/k8s.io
ln -s "$BUILD/source" .go/src/k8s.io/kubernetes
cd .go/src/k8s.io/kubernetes
export GOPATH=$BUILD/source/.go GOCACHE=$BUILD/gocache CGO_ENABLED=0 GOPROXY=off
export KUBE_GIT_VERSION=v$VERSION KUBE_GIT_COMMIT=debian KUBE_GIT_TREE_STATE=clean KUBE_GIT_MAJOR=1 KUBE_GIT_MINOR=20
step "building ${PROGRAMS[*]}" make WHAT="$(printf 'cmd/%s ' "${PROGRAMS[@]}")"
for program in "${PROGRAMS[@]}"; do
  install -m 755 "$(find _output -type f -name "$program" -path '*bin*' | head -n 1)" "$CACHE/bin/$program"
done
cd "$CACHE"
chmod -R u+w "$BUILD"
rm -rf --one-file-system "$BUILD"
echo "$KEY" >"$CACHE/key"
echo "$CACHE/bin"
