#!/bin/bash
# push.sh WORK IMAGE [PROGRAM]: pushes an image of a program of the lab, `pause` if none is named, to the registry of its node, under
# the name IMAGE, which makes it another image than every other: registry.lab.test:5000/lib/web:1.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 2 ] || [ $# = 3 ] || usage
open_lab "$1"; program=${3-pause}
layer=$(mktemp "$W/layer.XXXXXX"); trap 'rm -f "$layer"' EXIT
tar --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$(dirname "$(command -v "$program")")" -chf "$layer" "$program"
case $(uname -m) in aarch64) platform=linux/arm64 ;; *) platform=linux/amd64 ;; esac
in_registry() { "${inside[@]}" env SSL_CERT_FILE="$W/pki/ca.crt" DOCKER_CONFIG="$W/node" crane "$@"; }
in_registry append -f "$layer" -t "$2"
in_registry mutate --set-platform $platform --entrypoint "/$program" --label "lab.test/name=$2" -t "$2" "$2"
