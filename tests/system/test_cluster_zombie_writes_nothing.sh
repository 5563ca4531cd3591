#!/bin/bash
# tests/system/test_cluster_zombie_writes_nothing.sh - lunard of a host is
# stopped while it writes, until others have taken over; when it goes on the LUN
# refuses it, it ends and returns as a new run; nothing of the others is lost.
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/cluster.sh"

run_of() { # HOST [BY]: its incarnation, as BY sees it
    at "${2:-$1}" lunar status --json |
        jq -r ".nodes[] | select(.name == \"$1\" and .state == \"up\") |
            .incarnation"
}

is_without() { # BY HOST
    [ -z "$(run_of "$2" "$1")" ]
}

coordinates_not() { # HOST BY
    local now
    now=$(volume_field "$2" coordinator)
    [ -n "$now" ] && [ "$now" != "$1" ]
}

ended() { # HOST
    lunard_is_off "$1"
}

# Its writes are held where nobody can take them back: what is in flight when
# the host stops arrives after its fence.
zombie() { # HOST ROUND
    local host=$1 before other others=()
    for other in h1 h2 h3; do
        [ "$other" = "$host" ] || others+=("$other")
    done
    load_begin "$host" "z$2"
    load_begin "${others[0]}" "a$2"
    load_begin "${others[1]}" "b$2"
    loads_go_on 5 "z$2" "a$2" "b$2"
    before=$(run_of "$host")

    lab san hold "$host" write
    wait_for 10 holds_writes "$host"
    lab stop "$host" lunard
    wait_for 30 is_without "${others[0]}" "$host"
    wait_for 30 coordinates_not "$host" "${others[0]}"
    loads_go_on 20 "a$2" "b$2"

    done_before=$(writes_done "$host" 00)
    held_blocks "$host" >"$dir/blocks"
    [ -s "$dir/blocks" ] || fail "no write in place is held"
    contents >"$dir/before"
    lab san release "$host"
    lab cont "$host" lunard
    wait_for 30 ended "$host"
    expect "$done_before" writes_done "$host" 00
    contents | cmp - "$dir/before"
    loads_go_on 5 "a$2" "b$2"
    load "z$2" stop
    load_verify "z$2" "${others[0]}"

    lab start "$host"
    wait_for 30 sees_volume "$host"
    [ "$(run_of "$host")" -gt "$before" ] || fail "the same run"
    load_stop "a$2"
    load_stop "b$2"
    load_verify "a$2" "$host"
    load_verify "b$2" "$host"
}

# Among them one in place; and the target waits for no data of others, or it
# would close the connection in the end (Linux' own does).
holds_writes() { # HOST
    [ -n "$(held_blocks "$1")" ] &&
        ! lab san pending "$1" | grep -q " sent WRITE"
}

writes_done() { # HOST STATUS: how many
    lab san log | grep -c "^[0-9.]* $1 done WRITE.* status=$2" || :
}

# The LBAs of 4 KiB writes to files, which nobody else writes.
held_blocks() { # HOST
    lab san pending "$1" | grep " held WRITE.* blocks=8 " |
        sed 's/.* lba=\([0-9]*\) .*/\1/' | awk '$1 >= 139264'
}

contents() { # of what is in $dir/blocks
    local lba
    while read -r lba; do
        dd if="$LAB_DIR/san/lun1" bs=512 skip="$lba" count=8 status=none |
            sha256sum
    done <"$dir/blocks"
}

cluster_up 3
first=$(coordinator h1)
step "the coordinator is stopped, with writes on their way"
zombie "$first" 1

step "another host is"
second=$(coordinator h1)
for host in h1 h2 h3; do
    [ $host = "$second" ] || other=$host
done
zombie "$other" 2

step "every host ends; the volume is sound"
stop_hosts h1 h2 h3
check_lun 1
