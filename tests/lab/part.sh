#!/bin/bash
# part.sh WORK start|stop|restart PART [SIGNAL]: one process of the lab (etcd, apiserver, kcm; with a node kubelet, scheduler and more),
# to see what happens without it.
# stop waits until it is gone, start does not wait until it is ready. Works inside the lab's network, too.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -ge 3 ] || usage
open_lab "$1"; part=$3
[ -f "$W/parts/$part" ] || fail "no part of that name; there are: $(cd "$W/parts" && echo *)"
case $2 in
  start) start "$part" ;;
  stop) stop "$part" "${4:-TERM}" ;;
  restart) stop "$part" "${4:-TERM}"; start "$part" ;;
  *) usage ;;
esac
