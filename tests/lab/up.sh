#!/bin/bash
# up.sh WORK [--node]: starts a lab in the folder WORK, anew: what an earlier lab left there is deleted, logs too.
# etcd, kube-apiserver and kube-controller-manager, in a network namespace of their own that has no way out. Its `lo` carries
# 10.77.0.1, where the API server listens (port 443), and 10.77.0.2, for whatever else a test starts.
# With --node a node, too: kube-scheduler, kubelet, containerd, a DNS server for its pods, and a registry, registry.lab.test:5000,
# for user `puller` with the password `pull`, whose certificate is of the lab's CA, which containerd trusts. What they write is in
# WORK/var.
# Needs root, or, without a node, a kernel that lets a user make namespaces; iproute2, util-linux, openssl.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 1 ] || { [ $# = 2 ] && [ "$2" = --node ]; } || usage
node=${2-}
for tool in ip unshare nsenter openssl; do
  command -v "$tool" >/dev/null || fail "needs $tool (packages iproute2, util-linux, openssl)"
done
[ -z "$node" ] || [ "$(id -u)" = 0 ] || fail "a node needs root"
mkdir -p "$1"; W=$(cd "$1" && pwd)
case $node$W/ in --node/run/* | --node/var/lib/* | --node/var/log/*) fail "the node's own files cover $W; take another folder" ;; esac
for file in "$W"/pids/*.born; do
  part=${file##*/}; part=${part%.born}
  [ ! -e "$file" ] || ! alive "$part" || fail "a lab runs in $W; down.sh ends it"
done
BIN=$("$here/build.sh" $node)
export PATH="$BIN:$PATH"

address=10.77.0.1 second=10.77.0.2 services=10.96.0
rm -rf "$W"/{etcd,logs,node,parts,pids,pki,registry,var,env,*.kubeconfig,kubeconfig}
mkdir -p "$W"/{logs,parts,pids,pki}
printf '%s=%q\n' BIN "$BIN" LAB_ADDRESS "$address" LAB_SECOND_ADDRESS "$second" >"$W/env"

# --- the network namespace lives as long as this process
as_root=(); [ "$(id -u)" = 0 ] || as_root=(--user --map-root-user)
setsid unshare "${as_root[@]}" --net --mount sleep infinity </dev/null >"$W/logs/holder.log" 2>&1 &
remember holder $!
entered() { [ "$(readlink "/proc/$(<"$W/pids/holder")/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
namespace() { wait_for 5 "a network namespace" entered; }
(namespace) 2>/dev/null || fail "no network namespace could be made ($(head -c 300 "$W/logs/holder.log")): run as root, or allow user namespaces"
set_inside
"${inside[@]}" ip link set lo up
addresses=("$address" "$second") bind=$address
# Pods reach the API server by its Service: without kube-proxy, the Service's address is one of its own.
[ -z "$node" ] || { addresses+=("$services.1"); bind=0.0.0.0; }
for a in "${addresses[@]}"; do "${inside[@]}" ip addr add "$a/32" dev lo; done

# --- keys and certificates
cd "$W/pki"
key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
certificate() { # NAME SUBJECT-ALTERNATIVE-NAMES
  openssl req "${key[@]}" -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 365 \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$2") 2>/dev/null
}
openssl req -x509 "${key[@]}" -keyout ca.key -out ca.crt -days 365 -subj "/CN=lab CA" \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
certificate apiserver "DNS:kubernetes.default.svc,IP:$address,IP:$services.1"
openssl ecparam -name prime256v1 -genkey -noout -out sa.key; openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
cd "$W"

# --- users: an administrator, and the parts under their own names
user() { # FILE NAME GROUP
  local token; token=$(openssl rand -hex 16)
  echo "$token,$2,$2,\"$3\"" >>"$W/pki/tokens.csv"
  cat >"$W/$1" <<END
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://$address", certificate-authority-data: $(base64 -w0 "$W/pki/ca.crt")}}]
users: [{name: lab, user: {token: $token}}]
contexts: [{name: lab, context: {cluster: lab, user: lab}}]
current-context: lab
END
}
user kubeconfig admin system:masters
user kcm.kubeconfig system:kube-controller-manager system:lab
user scheduler.kubeconfig system:kube-scheduler system:lab
user kubelet.kubeconfig system:node:lab system:nodes
export KUBECONFIG="$W/kubeconfig"

# --- the control plane
etcd=http://127.0.0.1:2379 peer=http://127.0.0.1:2380
define etcd etcd --data-dir "$W/etcd" --unsafe-no-fsync --log-level warn --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
  --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer"
define apiserver kube-apiserver --etcd-servers="$etcd" --bind-address="$bind" --secure-port=443 --advertise-address="$address" \
  --endpoint-reconciler-type=none --tls-cert-file="$W/pki/apiserver.crt" --tls-private-key-file="$W/pki/apiserver.key" \
  --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$W/pki/sa.pub" --service-account-signing-key-file="$W/pki/sa.key" \
  --service-cluster-ip-range="$services.0/24" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --token-auth-file="$W/pki/tokens.csv" \
  --allow-privileged=true --enable-aggregator-routing=true --kubelet-preferred-address-types=InternalIP \
  --audit-policy-file="$here/audit.yaml" --audit-log-path="$W/logs/audit.json" --audit-log-mode=blocking
define kcm kube-controller-manager --kubeconfig="$W/kcm.kubeconfig" --leader-elect=false --secure-port=0 --use-service-account-credentials \
  --service-account-private-key-file="$W/pki/sa.key" --root-ca-file="$W/pki/ca.crt"
start etcd
start apiserver
wait_for 120 "the API server" "${inside[@]}" kubectl get --raw /readyz
start kcm
wait_for 60 "the default service account" "${inside[@]}" kubectl get serviceaccount default
[ -z "$node" ] || . "$here/node.sh"
echo "up: https://$address in a network namespace of its own; $here/in.sh $W kubectl ..." >&2
