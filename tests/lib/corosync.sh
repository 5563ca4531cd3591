# tests/lib/corosync.sh - hosts with a real corosync, each in namespaces of its
# own, on a bridge; for tests of membership.  Source it after system.sh.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   nodes 3                        hosts 1…3 come up; TOTEM="token: 1000" and
#   nodes 2 "two_node: 1"          QUORUM lines go into corosync.conf
#   on 2 COMMAND…                  in the namespaces of host 2
#   corosync_start 2               after kill_corosync 2
#   unplug 2; plug 2               its cable
#
# Everything is below $dir, named $net…, and gone at the end.
# shellcheck shell=bash disable=SC2154

need_root
need corosync ip nsenter unshare
net=lm$$ # of interfaces: 15 bytes at most with what follows

on() {
    local host=$1
    shift
    nsenter -t "$(cat "$dir/$host/init")" -m -n -- "$@"
}

# begin HOST COMMAND… &: $! is the command itself
begin() {
    local host=$1
    shift
    exec nsenter -t "$(cat "$dir/$host/init")" -m -n -- "$@"
}

make_conf() { # COUNT QUORUM
    local i
    printf 'totem {\nversion: 2\ncluster_name: test\ntransport: knet\n'
    printf 'crypto_cipher: none\ncrypto_hash: none\n%s\n}\n' \
        "${TOTEM:-$'token: 1000\ntoken_coefficient: 0'}"
    printf 'quorum {\nprovider: corosync_votequorum\n%s\n}\nnodelist {\n' "$2"
    for ((i = 1; i <= $1; i++)); do
        printf 'node {\nnodeid: %d\nname: h%d\nring0_addr: 10.79.0.%d\n}\n' \
            "$i" "$i" "$i"
    done
    printf '}\nlogging {\nto_stderr: yes\nto_syslog: no\ntimestamp: hires\n}\n'
}

# Interfaces end with their namespace, and that with its first process.
host_start() { # HOST
    local at=$dir/$1 pid
    mkdir -p "$at/lib" "$at/run"
    unshare -m -n sh -c 'mount -t tmpfs none /dev/shm
        mount --bind "$1/lib" /var/lib/corosync
        mount --bind "$1/run" /run
        ip link set lo up
        touch "$1/ready"
        exec sleep infinity' sh "$at" >>"$at/init.log" 2>&1 &
    pid=$!
    disown
    at_exit "kill -9 $pid"
    echo "$pid" >"$at/init"
    wait_for 10 test -e "$at/ready"
    nsenter -t "$bridge" -n ip link add "$net-$1" type veth peer name eth0 \
        netns "$pid"
    nsenter -t "$bridge" -n ip link set "$net-$1" master "$net" up
    on "$1" ip addr add "10.79.0.$1/24" dev eth0
    on "$1" ip link set eth0 up
}

corosync_start() { # HOST
    local at=$dir/$1
    begin "$1" corosync -f -c "$dir/corosync.conf" \
        >>"$dir/corosync$1.log" 2>&1 &
    echo $! >"$at/corosync"
    disown
    at_exit "kill -9 $!"
}

kill_corosync() { # HOST
    kill -9 "$(cat "$dir/$1/corosync")"
    rm -f "$dir/$1"/run/corosync*
}

is_quorate() {
    on "$1" corosync-quorumtool -s 2>/dev/null | grep -q '^Quorate: *Yes'
}

unplug() {
    nsenter -t "$bridge" -n ip link set "$net-$1" down
}

plug() {
    nsenter -t "$bridge" -n ip link set "$net-$1" up
}

nodes() { # COUNT [QUORUM LINES]
    local i
    unshare -n sh -c 'touch "$1/bridge"; exec sleep infinity' sh "$dir" &
    bridge=$!
    disown
    at_exit "kill -9 $bridge"
    wait_for 10 test -e "$dir/bridge"
    nsenter -t "$bridge" -n ip link add "$net" type bridge mcast_snooping 0
    nsenter -t "$bridge" -n ip link set "$net" up
    make_conf "$1" "${2:-}" >"$dir/corosync.conf"
    for ((i = 1; i <= $1; i++)); do
        host_start "$i"
        corosync_start "$i"
    done
    for ((i = 1; i <= $1; i++)); do
        wait_for 60 is_quorate "$i"
    done
}
