# tests/lib/lab.sh - what a system test with a cluster sources: a lab of its
# own in $dir, down at the end whatever happens.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   . "$(dirname "$0")/../lib/lab.sh"    sources system.sh, too
#   lab up 3 --luns 2                    see tests/lab/lab
#   on h1 lunar status                   a command on a host
#   wait_for 10 shows h2 up up no 2      the host's line of `lab status`
#   exercise h1 2 write 4096 7           lun_exercise on h1 with LUN 2
# shellcheck shell=bash disable=SC2154

. "$(dirname "${BASH_SOURCE[0]}")/system.sh"
need_root
need corosync tgtd nsenter ip

export LAB_DIR=$dir/lab
at_exit 'lab down'

lab() {
    "$top/tests/lab/lab" "$@"
}

on() {
    lab exec "$@"
}

# The first words of a host's line: NAME NET SAN QUORUM MEMBERS LUNARD MOUNT.
shows() {
    local line
    line=$(lab status "$1" | awk -v host="$1" '$1 == host { $1 = $1; print }')
    [[ "$line " == "$* "* ]]
}

exercise() { # HOST LUN WORD…
    on "$1" timeout 60 lun_exercise "$(lab url "$2")" "${@:3}"
}

show_logs() {
    local log
    find "$dir" -name '*.log' -size +0 2>/dev/null | while read -r log; do
        echo "--- ${log#"$dir/"}"
        tail -n 20 "$log"
    done >&2
}
