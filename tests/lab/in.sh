#!/bin/bash
# in.sh WORK COMMAND...: runs COMMAND in the lab's network, with the lab's kubectl (and ctr, crane) on PATH, KUBECONFIG for its administrator,
# and LAB_WORK, LAB_ADDRESS and LAB_SECOND_ADDRESS saying where it is.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -ge 2 ] || usage
open_lab "$1"; shift
exec "${inside[@]}" "$@"
