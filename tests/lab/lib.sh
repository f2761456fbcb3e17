# What the scripts here share; they source it. WORK/env, which up.sh writes, says what the lab there is made of.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MIRRORGATE_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mirrorgate-lab}

fail() { echo "$(basename "$0"): $*" >&2; exit 1; }
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

# The lab in $1: sets W and the names in its env, its programs on PATH, and `inside`: the command that puts another where the
# lab's network is, and its mounts.
open_lab() {
  [ -f "$1/env" ] || fail "there is no lab in $1"
  W=$(cd "$1" && pwd); . "$W/env"
  export PATH="$BIN:$PATH" KUBECONFIG="$W/kubeconfig" LAB_WORK="$W" LAB_ADDRESS LAB_SECOND_ADDRESS
  set_inside
}
set_inside() {
  local holder; holder=$(<"$W/pids/holder")
  inside=(env)
  alive holder || return 0
  [ "$(readlink /proc/self/ns/net)" != "$(readlink "/proc/$holder/ns/net")" ] || return 0
  inside=(nsenter --target "$holder" --net --mount --wd="$PWD")
  [ "$(readlink /proc/self/ns/user)" = "$(readlink "/proc/$holder/ns/user")" ] || inside+=(--user --preserve-credentials)
  inside+=(--)
}

# A part is a process of the lab. parts/NAME is its command line, pids/NAME its process, logs/NAME.log what it says.
define() { local name=$1; shift; printf '%q ' "$@" >"$W/parts/$name"; }
start() {
  local name=$1 command
  ! alive "$name" || fail "$name runs already"
  eval "command=($(<"$W/parts/$name"))"
  setsid "${inside[@]}" "${command[@]}" >>"$W/logs/$name.log" 2>&1 </dev/null &
  remember "$name" $!
}
remember() { echo "$2" >"$W/pids/$1"; born "$2" >"$W/pids/$1.born"; }
born() { cut -d' ' -f22 "/proc/$1/stat" 2>/dev/null; }
# Whether the very process that start made is there; not another that got its number.
alive() { [ -f "$W/pids/$1" ] && [ -n "$(born "$(<"$W/pids/$1")")" ] && [ "$(born "$(<"$W/pids/$1")")" = "$(<"$W/pids/$1.born")" ]; }
# stop NAME [SIGNAL]: sends it, waits 10 s, then KILL.
stop() {
  local name=$1 i
  if alive "$name"; then
    kill -"${2:-TERM}" "$(<"$W/pids/$name")"
    for ((i = 0; i < 100; i++)); do alive "$name" || break; sleep 0.1; done
    ! alive "$name" || kill -KILL "$(<"$W/pids/$name")"
  fi
  rm -f "$W/pids/$name" "$W/pids/$name.born"
}

# wait_for SECONDS WHAT CMD...: until CMD succeeds.
wait_for() {
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || fail "waited in vain for $what; see $W/logs"; sleep 0.1; done
}
