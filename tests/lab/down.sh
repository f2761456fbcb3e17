#!/bin/bash
# down.sh WORK: ends the lab in WORK: its processes, and with the last of them its network. Files stay, for reading; up.sh deletes them.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 1 ] || usage
open_lab "$1"
if [ -e "$W/parts/kubelet" ] && alive holder; then # a container outlives what started it
  stop kubelet KILL
  alive containerd || { start containerd; (wait_for 10 containerd "${inside[@]}" ctr version) || true; }
  { "${inside[@]}" ctr -n k8s.io tasks ls -q | xargs -r -P4 -n1 "${inside[@]}" ctr -n k8s.io tasks rm -f; } >>"$W/logs/down.log" 2>&1 || true
  rmdir /sys/fs/cgroup/{,*/}k8s.io 2>/dev/null || true
fi
for file in "$W"/parts/*; do [ ! -e "$file" ] || stop "${file##*/}" KILL & done; wait
stop holder KILL
