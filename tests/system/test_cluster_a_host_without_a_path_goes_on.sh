#!/bin/bash
# tests/system/test_cluster_a_host_without_a_path_goes_on.sh - a host's cable to
# the SAN is pulled under fio --verify, with writes of it held on their way: its
# I/O goes on redirected, without an error and as the same run, and is direct
# again when the cable is back.  The same with the coordinator's cable, which
# another takes over from.
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/cluster.sh"
need fio

state_of() { # HOST [BY]: as BY's status has it
    at "${2:-$1}" lunar status --json |
        jq -r ".volumes[] | select(.name == \"vol\") | .nodes[] |
            select(.node == \"$1\") | .state"
}

is() { # STATE HOST [BY]
    [ "$(state_of "$2" "${3:-$2}")" = "$1" ]
}

count_of() { # HOST COUNTER
    volume_field "$1" "nodes[0].$2"
}

incarnations() { # BY [BUT]
    at "$1" lunar status --json |
        jq -c "[.nodes[] | select(.state == \"up\" and .name != \"$2\") |
            [.name, .incarnation]] | sort"
}

# Two jobs: one past the page cache, one through it; to the end of $dir/go.
fio_begin() { # HOST
    : >"$dir/go"
    local path=/ClusterStorage/vol/fio.$1
    (
        while [ -e "$dir/go" ]; do
            on "$1" timeout -k 5 300 fio --directory="$path" \
                --verify=crc32c --verify_state_save=0 --verify_fatal=1 \
                --thread --loops=1 --bsrange=4k-64k --ba=4k --size=8m \
                --rw=randwrite --fsync=16 --time_based --runtime=3 \
                --name=direct --direct=1 --ioengine=libaio --iodepth=8 \
                --name=buffered --direct=0 --ioengine=sync \
                >>"$dir/fio.log" 2>&1 || {
                echo "fio on $1 failed"
                exit 1
            }
        done
    ) &
    fio=$!
}

fio_end() {
    rm -f "$dir/go"
    wait "$fio" || fail "fio: $(tail -n 30 "$dir/fio.log")"
}

goes_redirected() { # HOST MORE: has it done so many more ios this way?
    [ "$(count_of "$1" redirected_ios)" -ge "$2" ]
}

goes_direct() {
    [ "$(count_of "$1" direct_ios)" -ge "$2" ]
}

has_held() {
    lab san pending "$1" | grep -q " held WRITE"
}

writes_done() { # HOST: how many the SAN has carried out
    lab san log | grep -c "^[0-9.]* $1 done WRITE.* status=00" || :
}

# The cable of one host is pulled and plugged in; BY sees it, too.  Meanwhile
# lunard of VICTIM is killed.
cut_and_heal() { # HOST BY [VICTIM]
    local victim=${3:-}
    local before written
    at "$1" mkdir -p "/ClusterStorage/vol/fio.$1"
    before=$(incarnations "$2" "$victim")
    fio_begin "$1"
    wait_for 30 goes_direct "$1" 100
    lab san hold "$1" write # to arrive when it should not any more
    wait_for 20 has_held "$1"
    lab cut "$1" san
    wait_for 60 is Redirected "$1"
    wait_for 30 is Redirected "$1" "$2"
    wait_for 60 goes_redirected "$1" $((200 + $(count_of "$1" redirected_ios)))
    written=$(writes_done "$1")
    lab san release "$1"
    wait_for 20 eval "! has_held $1"
    expect "$written" writes_done "$1" # what was held is refused (I13)
    if [ -n "$victim" ]; then
        lab kill "$victim" lunard
        wait_for 60 goes_redirected "$1" \
            $((200 + $(count_of "$1" redirected_ios)))
        lab start "$victim"
        wait_for 30 sees_volume "$victim"
    fi
    lab heal "$1" san
    wait_for 60 is Direct "$1"
    wait_for 30 is Direct "$1" "$2"
    wait_for 60 goes_direct "$1" $((200 + $(count_of "$1" direct_ios)))
    fio_end
    expect "$before" incarnations "$2" "$victim" # no other run has ended
}

cluster_up 3
first=$(coordinator h1)
hosts=()
for host in h1 h2 h3; do
    [ $host = "$first" ] || hosts+=("$host")
done
for host in h1 h2 h3; do
    load_begin $host "l.$host"
done

step "a host's cable is pulled"
cut_and_heal "${hosts[0]}" "${hosts[1]}"
[ "$(coordinator "${hosts[0]}")" = "$first" ] || fail "another coordinates"

step "the coordinator's cable is pulled"
cut_and_heal "$first" "${hosts[1]}"
[ "$(coordinator "${hosts[1]}")" != "$first" ] || fail "it coordinates still"

for host in h1 h2 h3; do
    load_stop "l.$host"
done
load_verify l.h1 h2
load_verify l.h2 h3
load_verify l.h3 h1

step "the coordinator dies while another host is redirected"
second=$(coordinator h1)
hosts=()
for host in h1 h2 h3; do
    [ $host = "$second" ] || hosts+=("$host")
done
cut_and_heal "${hosts[0]}" "${hosts[1]}" "$second"

step "every host ends; the volume is sound"
stop_hosts h1 h2 h3
check_lun 1
