#!/bin/bash
# down.sh WORK: ends the lab in WORK: its processes, and with the last of them its network. Files stay, for reading; up.sh deletes them.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 1 ] || usage
open_lab "$1"
for file in "$W"/parts/*; do [ ! -e "$file" ] || stop "${file##*/}" KILL & done; wait
stop holder KILL
