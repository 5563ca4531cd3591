#!/bin/bash
# tests/system/test_cluster_ping_pong.sh - ping_pong, the public test of locks
# between hosts, on one, two and three of them: byte-range locks go round, and
# under a lock each sees what the others wrote (-rw); through mappings (-rwm) on
# one host only.  Prints locks a second; asserts none.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# It is in Debian's ctdb, which brings much along, and needs libc only:
# PING_PONG names the program.  PING_PONG=fetch (check-full) takes it out of the
# package.
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/cluster.sh"
need stdbuf

fetch() {
    cd "$dir"
    apt-get -qq download ctdb 2>/dev/null && dpkg-deb -x ctdb_*.deb ctdb ||
        skip "ctdb cannot be had from Debian's archive"
    cd "$top"
    PING_PONG=$dir/ctdb/usr/bin/ping_pong
}

[ "${PING_PONG:-}" != fetch ] || fetch
[ -x "${PING_PONG:-}" ] || skip "PING_PONG names no program (see ctdb)"

# How much a byte had grown when it was our turn again: as many as there are.
increments() { # HOST N
    [ "$(tr '\r' '\n' <"$dir/$1.out" |
        sed -n 's/^data increment = //p' | tail -n 1)" = "$2" ]
}

says_rates() { # HOST COUNT
    [ "$(tr '\r' '\n' <"$dir/$1.out" | grep -c locks/sec)" -ge "$2" ]
}

rate() { # HOST: the last three
    tr '\r' '\n' <"$dir/$1.out" | awk '/locks\/sec/ { r[++n] = $1 }
        END { print int((r[n] + r[n - 1] + r[n - 2]) / 3) }'
}

game() { # N OPTION…
    local i n=$1 pids=() rates=
    shift
    at h1 rm -f /ClusterStorage/vol/ping
    rm -f "$dir"/h?.out # or the last game's were read
    for ((i = 1; i <= n; i++)); do
        stdbuf -o0 "$PING_PONG" "$@" \
            "$(root_of "h$i")/ClusterStorage/vol/ping" $((n + 1)) \
            >"$dir/h$i.out" 2>&1 &
        pids+=($!)
        at_exit "kill -9 $!"
    done
    for ((i = 1; i <= n; i++)); do
        [ $# = 0 ] || wait_for 60 increments "h$i" "$n"
        wait_for 60 says_rates "h$i" 4
        rates="$rates $(rate "h$i")"
    done
    if [ $# != 0 ]; then
        for ((i = 1; i <= n; i++)); do
            increments "h$i" "$n" || fail "ping_pong $* on h$i: \
$(tr '\r' '\n' <"$dir/h$i.out" | grep increment | tail -n 1), not $n"
        done
    fi
    kill "${pids[@]}"
    wait "${pids[@]}" 2>/dev/null || :
    ! grep -i "fail\|error" "$dir"/h?.out || fail "ping_pong $*"
    step "ping_pong $* on $n: locks a second on each:$rates"
}

cluster_up 3
for n in 1 2 3; do
    game $n
    game $n -rw
    # A mapping sees what another host writes later, or not (docs/cluster.md).
    [ $n != 1 ] || game $n -rwm
done
