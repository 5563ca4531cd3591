#!/bin/bash
# tests/system/test_cluster_hosts_agree.sh - three hosts show one file system:
# random operations on the same names and files, one at a time on any host, give
# what a local ext4 gives; all hosts at once see what one host alone could have
# seen; and so while lunard of the coordinator is killed under its holder.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# OPS=100000 SEED=7 bash tests/system/test_cluster_….sh
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/cluster.sh"
need mkfs.ext4

agree=$top/build/${VARIANT:-release}/tools/agree
[ -x "$agree" ] || fail "$agree is missing: make tools"
ops=${OPS:-3000}
seed=${SEED:-$((RANDOM + 1))}

truncate -s 512M "$dir/ext4.img"
mkfs.ext4 -q "$dir/ext4.img"
mkdir "$dir/ext4"
# It is there to be compared with, not to last.
mount -o loop,barrier=0 "$dir/ext4.img" "$dir/ext4" ||
    skip "no loop devices here"
at_exit "umount $dir/ext4"

# The same new directory as each host has it.
views() { # NAME
    local host
    at h1 mkdir "/ClusterStorage/vol/$1"
    for host in h1 h2 h3; do
        echo "$(root_of $host)/ClusterStorage/vol/$1"
    done
}

# shellcheck disable=SC2046 # three words
agree() { # HOW LOCAL
    mapfile -t seen < <(views "$1")
    "$agree" "$1" "$seed" "$ops" ${2:+"$2"} "${seen[@]}"
}

cluster_up 3 --holder
step "$ops operations in turns, seed $seed"
mkdir "$dir/ext4/turns"
agree turns "$dir/ext4/turns"

step "$ops operations at once, seed $seed"
agree race

# With KILLS (check-full).
killed_amid_it() {
    step "the same, and the coordinator's lunard is killed"
    agree firm >"$dir/firm.out" 2>&1 &
    firm=$!
    at_exit "kill $firm"
    wait_for 300 grep -q '^half' "$dir/firm.out"
    lab kill "$(coordinator h1)" lunard
    wait $firm || fail "$(cat "$dir/firm.out")"
}
[ -z "${KILLS:-}" ] || killed_amid_it

step "every host ends; the volume is sound"
stop_hosts h1 h2 h3
check_lun 1
