# The node of a lab, which up.sh starts after the control plane; not to be called by itself.
# It is seen from inside only: the mount namespace that goes with the lab's network has the node's own /run, /var/lib, /var/log,
# /etc/hosts and /etc/resolv.conf, and shows the kubelet the sysctls that it would set for the whole machine as it wants them.
host=registry.lab.test:5000
mkdir -p "$W"/node/certs.d/$host "$W"/node/cni "$W"/var/{lib,log} "$W"/registry
sysctls=(vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000)
for sysctl in "${sysctls[@]}"; do
  file=$W/node/sysctl/${sysctl%=*}
  mkdir -p "${file%/*}"; echo "${sysctl#*=}" >"$file"
done
# front.lab.test is for registries that tests start. Every name is there from the start: containerd keeps what it read for 5 s.
# The node reads it as its /etc/hosts; pods ask the DNS server, which reads it for each question.
printf '%s\n' '127.0.0.1 localhost' "$address ${host%:*}" "$second front.lab.test" \
  "$services.1 kubernetes.default.svc.cluster.local kubernetes.default.svc" >"$W/node/hosts"
echo "nameserver $address" >"$W/node/resolv.conf"
"${inside[@]}" bash -euc '
  cd "$0"
  mount --bind var/lib /var/lib; mount --bind var/log /var/log; mount -t tmpfs tmpfs /run; mount --bind node/hosts /etc/hosts
  if [ -L /etc/resolv.conf ] || [ -e /etc/resolv.conf ]; then
    real=$(readlink -m /etc/resolv.conf); mkdir -p "${real%/*}"; touch "$real"; mount --bind node/resolv.conf "$real"
  fi
  for sysctl in "$@"; do mount --bind "node/sysctl/${sysctl%=*}" "/proc/sys/${sysctl%=*}"; done' "$W" "${sysctls[@]}"
define names names "$address:53" "$W/node/hosts"
start names

# --- the registry, and what may pull from it and push to it. The password is `pull`, as bcrypt, the only form that it reads.
(cd "$W/pki" && certificate registry "DNS:${host%:*}")
cp "$W/pki/ca.crt" "$W/node/certs.d/$host/"
echo 'puller:$2y$04$mirrorgatelabmirrorgaukv1qpfoVJykIi3s6.53ZYhaLdnOm0je' >"$W/node/htpasswd"
echo "{\"auths\":{\"$host\":{\"auth\":\"$(printf puller:pull | base64)\"}}}" >"$W/node/config.json"
cat >"$W/node/registry.yaml" <<END
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: "$W/registry"}}
auth: {htpasswd: {realm: lab, path: "$W/node/htpasswd"}}
http: {addr: "$address:${host#*:}", tls: {certificate: "$W/pki/registry.crt", key: "$W/pki/registry.key"}}
END
define registry env OTEL_TRACES_EXPORTER=none registry serve "$W/node/registry.yaml"
start registry

# --- the runtime
cat >"$W/node/cni/10-lab.conflist" <<END
{"cniVersion": "1.0.0", "name": "lab", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.78.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
END
sandbox=$host/lab/pause:1
cat >"$W/node/containerd.toml" <<END
version = 3
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"  # works where WORK is on an overlay, too
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "native"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "$W/node/certs.d"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "$sandbox"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true  # a machine need not let us lower it
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "$(command -v runc)"
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["$(dirname "$(command -v host-local)")"]
  conf_dir = "$W/node/cni"
END
define containerd containerd --config "$W/node/containerd.toml"
start containerd
wait_for 30 "the registry" "$here/push.sh" "$W" "$sandbox"
wait_for 30 "the sandbox image" "${inside[@]}" ctr -n k8s.io images pull --local --snapshotter native --tlscacert "$W/pki/ca.crt" --user puller:pull "$sandbox"

# --- scheduler and kubelet
cat >"$W/node/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
address: $address
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
clusterDNS: ["$address"]
clusterDomain: cluster.local
resolvConf: "$W/node/resolv.conf"
# On any machine, with either version of cgroups, and however full its disk is:
cgroupDriver: cgroupfs
failCgroupV1: false
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
localStorageCapacityIsolation: false
imageGCHighThresholdPercent: 100
evictionHard: {imagefs.available: "0%", nodefs.available: "0%", memory.available: "1Mi"}
END
define scheduler kube-scheduler --kubeconfig="$W/scheduler.kubeconfig" --leader-elect=false --secure-port=0
define kubelet kubelet --config="$W/node/kubelet.yaml" --kubeconfig="$W/kubelet.kubeconfig" --hostname-override=lab --node-ip="$address"
start scheduler
start kubelet
wait_for 60 "the node" "${inside[@]}" kubectl wait --for=condition=Ready node/lab --timeout=1s
