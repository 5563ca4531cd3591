#!/bin/bash
# tests/system/test_cluster_coordinator_dies_under_load.sh - lunard of the
# coordinator is killed, again and again, while all write: on the survivors no
# operation fails, none is lost or done twice; what the dead had is there, too.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# KILLS=100 bash tests/system/test_cluster_….sh    half as often as that
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/cluster.sh"

kills=$((${KILLS:-8} / 2))
declare -A load_of # HOST: its load
longest=(0 0 0)    # ms: a direct write, a name, new space

note_stalls() { # NAME
    local i ms
    load "$1" stalls
    read -r -a ms <<<"${answer#stalls }"
    for i in 0 1 2; do
        [ "${ms[i]}" -le "${longest[i]}" ] || longest[i]=${ms[i]}
    done
}

begin() { # HOST ROUND
    load_of[$1]=$1.$2
    load_begin "$1" "$1.$2"
}

survivors() { # HOST: not that one
    local host
    for host in h1 h2 h3; do
        [ "$host" = "$1" ] || echo "$host"
    done
}

step "three hosts write to one volume"
cluster_up 3
for host in h1 h2 h3; do
    begin $host 0
done
loads_go_on 10 "${load_of[@]}"
for host in h1 h2 h3; do
    load "${load_of[$host]}" stalls # what comes before does not count
done

asked=h1
for ((round = 1; round <= kills; round++)); do
    victim=$(coordinator $asked)
    lab kill "$victim" lunard
    for host in $(survivors "$victim"); do
        loads_go_on 20 "${load_of[$host]}"
        note_stalls "${load_of[$host]}"
        asked=$host
    done
    load "${load_of[$victim]}" stop
    load_verify "${load_of[$victim]}" $asked
    lab start "$victim"
    wait_for 30 sees_volume "$victim"
    begin "$victim" $round
done

step "killed $kills times: survivors saw no error; longest ${longest[0]} ms \
(direct write), ${longest[1]} ms (name), ${longest[2]} ms (new space)"
loads_go_on 10 "${load_of[@]}"
for host in h1 h2 h3; do
    load_stop "${load_of[$host]}"
done
load_verify "${load_of[h1]}" h2
load_verify "${load_of[h2]}" h3
load_verify "${load_of[h3]}" h1

step "every host ends; the volume is sound"
stop_hosts h1 h2 h3
check_lun 1
