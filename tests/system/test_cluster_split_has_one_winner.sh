#!/bin/bash
# tests/system/test_cluster_split_has_one_winner.sh - two hosts that do not hear
# each other, and one of three that is cut off: exactly one side goes on, the
# other writes nothing from then on, and returns as a new run.
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/cluster.sh"

fenced() { # HOST: somebody says so
    local other
    for other in h1 h2 h3; do
        [ -e "$LAB_DIR/$other" ] || continue
        lab log "$other" | grep -q "node ${1#h}, .* is fenced" && return
    done
    return 1
}

one_is_fenced() {
    fenced h1 || fenced h2
}

writes_done() { # HOST
    lab san log | grep -c "^[0-9.]* $1 done WRITE.* status=00" || :
}

# What was cut off is back, and all is right: its load may have met errors.
heal() { # LOSER WINNER
    wait_for 40 lunard_is_off "$1"
    load "l$1" stop
    [ $hosts != 2 ] || begin_anew_alone "$1" "$2"
    lab heal "$cut_off" net
    wait_for 30 hears_all "$1"
    load_verify "l$1" "$2"
    lab start "$1"
    wait_for 30 sees_volume "$1"
    ! at "$1" lunar status | grep "never met" || fail "the alarm goes on"
    load_stop "l$2"
    load_verify "l$2" "$1"
    load_verify "l$2" "$2"
}

hears_all() { # HOST
    shows "$1" up up yes "$(seq -s , "$(wc -l <"$LAB_DIR/hosts")")"
}

# The coordinator is the one whose cable is pulled: of three it is the one who
# must stop, and has most to say about the others before it does.
# With two_node it has quorum: it must not fence who won while it was away.
begin_anew_alone() { # LOSER WINNER
    lab start "$1"
    say_once "$1" "a run that this one never met"
    loads_go_on 20 "l$2"
    ! fenced "$2" || fail "$2 is fenced by who lost"
}

split() { # N HOST
    local hosts=$1 i loser winner before now cut_off=$2
    cluster_up "$1"
    now=$(coordinator h1)
    [ "$now" = "$2" ] || at "$now" lunar volume move vol --to "$2"
    for ((i = 1; i <= $1; i++)); do
        load_begin "h$i" "lh$i"
    done
    loads_go_on 5 "${!load_in[@]}"
    lab cut "$2" net
    if [ "$1" = 2 ]; then
        wait_for 40 one_is_fenced
    else
        wait_for 40 fenced "$2"
    fi
    loser=$2
    [ "$1" != 2 ] || ! fenced h1 || loser=h1
    winner=h1
    [ $loser != h1 ] || winner=h2
    before=$(writes_done $loser)
    loads_go_on 20 "l$winner"
    expect "$before" writes_done $loser
    ! { fenced h1 && fenced h2; } || fail "both are fenced"
    heal $loser $winner
}

step "two hosts: one wins"
split 2 h2
stop_hosts h1 h2
check_lun 1
lab down
for name in "${!load_in[@]}"; do
    unset "load_in[$name]"
    rm "$dir/$name".*
done

step "three hosts, one cut off: the other two go on"
split 3 h2
! fenced h1 && ! fenced h3 || fail "a host that was not cut off is fenced"
load_stop lh3
load_verify lh3 h2
stop_hosts h1 h2 h3
check_lun 1
