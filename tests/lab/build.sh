#!/bin/bash
# build.sh [--node] [--packaging]: builds what a lab is made of, unless it is there, and prints the folders it is in, as for PATH.
# They lie in MIRRORGATE_LAB_CACHE (~/.cache/mirrorgate-lab): one for each version of Kubernetes and of the sources here (etcd,
# kube-apiserver, kube-controller-manager and kubectl, and what of Kubernetes a node needs), and with --node one for each version of
# containerd, runc, the CNI plugins, registry, crane and the DNS server in names; with --packaging one for helm, and for the CRDs of
# cert-manager and of prometheus-operator, which need not be asked for again: once there they are printed too.
# With KUBEBUILDER_ASSETS set, the first folder has the parts that are found there, and only the others are built
# (setup-envtest brings no kube-controller-manager, and nothing of a node). Needs Go 1.26 where something is built, and for runc
# a C compiler, pkg-config and libseccomp's headers.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
node='' packaging=''
for option; do
  case $option in --node) node=--node ;; --packaging) packaging=yes ;; *) usage ;; esac
done

version=$(sed -n 's/^require k8s.io\/kubernetes v//p' "$here/go.mod")
parts=(etcd kube-apiserver kube-controller-manager kubectl)
of_a_node=(kube-scheduler kubelet pause)
containerd=2.4.2 runc=1.5.2 cni=1.9.1 registry=3.1.2 crane=0.22.1
helm=3.22.0 cert_manager=1.21.2 prometheus_operator=0.85.0

build() { # NAME FOLDER COMMAND...: COMMAND fills the folder that is its last argument.
  local name=$1 folder=$2 t=$SECONDS; shift 2
  command -v go >/dev/null || fail "$name is built with Go 1.26 or newer, which is not on PATH; see https://go.dev/dl"
  echo "building $name for the tests, once: up to some minutes" >&2
  rm -rf "$folder.new"; mkdir -p "$folder.new"
  "$@" "$folder.new"
  rm -rf "$folder"; mv "$folder.new" "$folder"
  echo "built in $((SECONDS - t)) s: $folder" >&2
}

kubernetes() { # FOLDER
  local v=k8s.io/component-base/version c=k8s.io/client-go/pkg/version flags='-s -w' minor=${version#*.} p
  for p in $v $c; do
    flags+=" -X $p.gitVersion=v$version -X $p.gitMajor=1 -X $p.gitMinor=${minor%%.*} -X $p.gitTreeState=clean -X $p.buildDate=2026-01-01T00:00:00Z"
  done
  (cd "$here" && CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$1/kubelab" . && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$1/" ./pause)
  for p in "${parts[@]}" "${of_a_node[@]}"; do [ -e "$1/$p" ] || ln -s kubelab "$1/$p"; done
}

install() { # PACKAGE@VERSION... FOLDER
  CGO_ENABLED=0 GOBIN=${*: -1} go install -trimpath -ldflags '-s -w' "${@:1:$#-1}"
}
# Static, to run wherever the cache is taken. A sandbox needs seccomp.
runc() { # FOLDER
  pkg-config --exists libseccomp 2>/dev/null || fail "runc is built with libseccomp: install libseccomp-dev and pkg-config"
  CGO_ENABLED=1 GOBIN=$1 go install -trimpath -tags 'seccomp netgo osusergo' -ldflags '-s -w -extldflags=-static' "github.com/opencontainers/runc@v$runc"
}
crds() { # MODULE@VERSION FOLDER-OF-THE-MODULE FOLDER
  local module; module=$(go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  [ -d "$module/$2" ] || fail "$1 has no folder $2"
  cp "$module/$2"/*.yaml "$3"
}

names() { # FOLDER
  (cd "$here/names" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$1/" .)
}

mkdir -p "$cache"; cache=$(cd "$cache" && pwd)
bin=$cache/kubernetes-$version-$(cat "$here"/{main.go,pause/main.go,go.mod} | sha256sum | cut -c1-12)
exec 9>"$cache/lock"; flock 9 # one builder at a time
wanted=("${parts[@]}"); [ -z "$node" ] || wanted+=("${of_a_node[@]}")
missing=("${wanted[@]}")
if [ -n "${KUBEBUILDER_ASSETS-}" ]; then
  mixed=$(mktemp -d "$cache/assets.XXXXXX"); missing=(); trap 'rm -rf "$mixed"' EXIT
  for part in "${wanted[@]}"; do
    if [ -x "$KUBEBUILDER_ASSETS/$part" ]; then ln -s "$(realpath "$KUBEBUILDER_ASSETS/$part")" "$mixed/$part"; else missing+=("$part"); fi
  done
fi
[ ${#missing[@]} = 0 ] || [ -x "$bin/kubelab" ] || build "Kubernetes $version" "$bin" kubernetes
if [ -n "${mixed-}" ]; then
  for part in ${missing[@]+"${missing[@]}"}; do ln -s "$bin/$part" "$mixed/$part"; done
  chmod 755 "$mixed"; rm -rf "$cache/assets$node"; mv "$mixed" "$cache/assets$node"; bin=$cache/assets$node
fi
once() { # NAME VERSION COMMAND...
  local name=$1 folder=$cache/$1-$2; shift 2
  [ -d "$folder" ] || build "$name" "$folder" "$@"
  bin+=:$folder
}
if [ -n "$node" ]; then
  once containerd $containerd install github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}@v$containerd
  once runc $runc runc
  once cni $cni install github.com/containernetworking/plugins/plugins/{main/bridge,main/loopback,ipam/host-local}@v$cni
  once registry $registry install github.com/distribution/distribution/v3/cmd/registry@v$registry
  once crane $crane install github.com/google/go-containerregistry/cmd/crane@v$crane
  once names "$(cat "$here"/names/* | sha256sum | cut -c1-12)" names
fi
if [ -n "$packaging" ]; then
  once helm $helm install helm.sh/helm/v3/cmd/helm@v$helm
  once cert-manager $cert_manager crds github.com/cert-manager/cert-manager@v$cert_manager deploy/crds
  once prometheus-operator $prometheus_operator crds github.com/prometheus-operator/prometheus-operator@v$prometheus_operator example/prometheus-operator-crd
else
  for part in helm-$helm cert-manager-$cert_manager prometheus-operator-$prometheus_operator; do
    [ ! -d "$cache/$part" ] || bin+=:$cache/$part
  done
fi
echo "$bin"
