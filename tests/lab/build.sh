#!/bin/bash
# build.sh: builds etcd, kube-apiserver, kube-controller-manager and kubectl, unless they are there, and prints their folder.
# It is MIRRORGATE_LAB_CACHE (~/.cache/mirrorgate-lab), below it one folder for each version of Kubernetes, main.go and go.mod.
# With KUBEBUILDER_ASSETS set, the folder printed has the parts that are found there, and only the others are built
# (setup-envtest brings no kube-controller-manager). Needs Go 1.26 where something is built.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 0 ] || usage

version=$(sed -n 's/^require k8s.io\/kubernetes v//p' "$here/go.mod")
parts=(etcd kube-apiserver kube-controller-manager kubectl)

build() { # FOLDER
  local v=k8s.io/component-base/version c=k8s.io/client-go/pkg/version flags='-s -w' minor=${version#*.} t=$SECONDS p
  for p in $v $c; do
    flags+=" -X $p.gitVersion=v$version -X $p.gitMajor=1 -X $p.gitMinor=${minor%%.*} -X $p.gitTreeState=clean -X $p.buildDate=2026-01-01T00:00:00Z"
  done
  command -v go >/dev/null || fail "the control plane of Kubernetes $version is built with Go 1.26 or newer, which is not on PATH; see https://go.dev/dl or set KUBEBUILDER_ASSETS"
  echo "building Kubernetes $version for the tests, once: some minutes" >&2
  rm -rf "$1.new"; mkdir -p "$1.new"
  (cd "$here" && CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$1.new/kubelab" .)
  for p in "${parts[@]}"; do ln -s kubelab "$1.new/$p"; done
  rm -rf "$1"; mv "$1.new" "$1"
  echo "built in $((SECONDS - t)) s: $1" >&2
}

mkdir -p "$cache"; cache=$(cd "$cache" && pwd)
bin=$cache/kubernetes-$version-$(cat "$here"/{main.go,go.mod} | sha256sum | cut -c1-12)
exec 9>"$cache/lock"; flock 9 # one builder at a time
missing=("${parts[@]}")
if [ -n "${KUBEBUILDER_ASSETS-}" ]; then
  mixed=$(mktemp -d "$cache/assets.XXXXXX"); missing=(); trap 'rm -rf "$mixed"' EXIT
  for part in "${parts[@]}"; do
    if [ -x "$KUBEBUILDER_ASSETS/$part" ]; then ln -s "$(realpath "$KUBEBUILDER_ASSETS/$part")" "$mixed/$part"; else missing+=("$part"); fi
  done
fi
[ ${#missing[@]} = 0 ] || [ -x "$bin/kubelab" ] || build "$bin"
if [ -n "${mixed-}" ]; then
  for part in ${missing[@]+"${missing[@]}"}; do ln -s "$bin/kubelab" "$mixed/$part"; done
  chmod 755 "$mixed"; rm -rf "$cache/assets"; mv "$mixed" "$cache/assets"; bin=$cache/assets
fi
echo "$bin"
