#!/bin/bash
# bench/cluster.sh - hosts of a lab on one LUN of tgt: I/O under layouts from 1,
# 2 and 3 of them at once, beside as many bare initiators on LUNs of the same
# target; I/O sent through the coordinator; names where the coordinator is and
# elsewhere; how long the longest operation takes when the coordinator dies.
# All hosts, the target and the load share the processors of one machine.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# bench locks has what a lock costs, cached, local, remote, and in turns.
. "$(dirname "$0")/lib.sh"
need_root
need qemu-img jq
# shellcheck disable=SC2154 # of what is sourced
. "$(dirname "$0")/../tests/lib/cluster.sh"
qemu-img --help | grep -qw iscsi ||
    skip "qemu-img has no iscsi driver: apt-get install qemu-block-extra"

HOSTS=3
file_mib=256
count=$(awk -v s="$BENCH_SECONDS" 'BEGIN { printf "%d", 60000 * s }')

# The load of qemu-img bench on a file or URL; its rate goes to $dir/NAME.rate.
load_qemu() { # NAME HOST IMAGE OP BYTES DEPTH COUNT
    local name=$1 host=$2 image=$3 op=$4 bytes=$5 depth=$6 n=$7 native=()
    [[ $image == iscsi:* ]] || native=(-n)
    on "$host" qemu-img bench -f raw -t none "${native[@]}" "$op" \
        -c "$n" -d "$depth" -s "$bytes" -S $((bytes * 37)) "$image" \
        2>"$dir/$name.log" |
        awk -v n="$n" '/completed in/ { print n / $4 }' >"$dir/$name.rate"
}

# From so many hosts at once: prints "ROW OPERATIONS PER SECOND", of all.
from_hosts() { # WHO HOSTS OP BYTES DEPTH
    local who=$1 hosts=$2 op=$3 bytes=$4 depth=$5 n=$count i pids=()
    [ "$depth" != 1 ] || n=$((n / 4))
    [ "$bytes" = 4096 ] || n=$((n / 32))
    for ((i = 1; i <= hosts; i++)); do
        load_qemu "$who$i" "h$i" "$("image_$who" "$i")" "$op" "$bytes" \
            "$depth" "$n" &
        pids+=($!)
    done
    wait "${pids[@]}"
    for ((i = 1; i <= hosts; i++)); do
        cat "$dir/$who$i.rate"
    done | awk -v row="$(row_name "$op" "$bytes" "$depth") x$hosts" '
        { sum += $1 } END { sub(/ /, "-", row); print row, sum }'
}

row_name() { # OP BYTES DEPTH
    local rw=read
    [ "$1" = -U ] || rw="write"
    echo "$rw-$(($2 / 1024))k-$3"
}

image_lunar() { echo "/ClusterStorage/vol/file$1"; }
image_bare() { lab url $((1 + $1)) direct; }
sample_lunar() { from_hosts lunar "$@"; }
sample_bare() { from_hosts bare "$@"; }

fill() { # HOST IMAGE
    on "$1" qemu-img bench -f raw -t none -w -c $file_mib -d 8 \
        -s 1048576 "$2" >/dev/null
}

# -- I/O under layouts ------------------------------------------------------

cluster_up $HOSTS --luns $((1 + HOSTS)) --size 4G
for ((i = 1; i <= HOSTS; i++)); do
    at "h$i" truncate -s ${file_mib}M "$(image_lunar "$i")"
    fill "h$i" "$(image_lunar "$i")"
    fill "h$i" "$(image_bare "$i")"
done

title "direct I/O of 1, 2, 3 hosts beside bare initiators: qemu-img bench" \
    lunar bare
for hosts in 1 2 3; do
    for load in "-U 4096 1" "-w 4096 1" "-U 4096 32" "-w 4096 32" \
        "-U 1048576 8" "-w 1048576 8"; do
        read -r op bytes depth <<<"$load"
        goal "$(row_name "$op" "$bytes" "$depth")-x$hosts" bare 0.9
        rounds 1/s "$hosts" "$op" "$bytes" "$depth"
    done
done

# -- sent through the coordinator -------------------------------------------

home=$(coordinator h1)
for host in h1 h2 h3; do
    [ "$host" = "$home" ] || elsewhere=$host
done

is_in_state() { # HOST STATE
    [ "$(volume_field "$1" state)" = "$2" ]
}

sample_redirected() { one_file "$elsewhere" "$@"; }
sample_direct() { one_file "$home" "$@"; }
one_file() { # HOST OP BYTES DEPTH
    local n=$((count / 4))
    [ "$3" = 4096 ] || n=$((count / 64))
    load_qemu "$1" "$1" "$(image_lunar "${1#h}")" "$2" "$3" "$4" "$n"
    echo "$(row_name "$2" "$3" "$4") $(cat "$dir/$1.rate")"
}

title "one host redirected, one direct (the coordinator's)" redirected direct
lab cut "$elsewhere" san
wait_for 60 is_in_state "$elsewhere" Redirected
for load in "-U 4096 1" "-w 4096 1" "-U 4096 32" "-w 4096 32" \
    "-U 1048576 8" "-w 1048576 8"; do
    # shellcheck disable=SC2086 # a list of words
    rounds 1/s $load
done
lab heal "$elsewhere" san
wait_for 60 is_in_state "$elsewhere" Direct

# -- names -------------------------------------------------------------------

sample_elsewhere() { names_on "$elsewhere" "$1"; }
sample_coordinator() { names_on "$home" "$1"; }
names_on() { # HOST THREADS
    local at=/ClusterStorage/vol/names.$1
    on "$1" mkdir "$at"
    on "$1" "$tools/names" "$at" "$2" "$((count / 20 / $2))"
    on "$1" rm -r "$at"
}

title "names: on another host, and where the coordinator is; 1, 4 threads" \
    elsewhere coordinator
rounds 1/s 1
rounds 1/s 4

# -- the coordinator dies ----------------------------------------------------

# The longest operation of the survivors, in ms: direct writes, names, space.
stalls() {
    local host ms longest=(0 0 0) i
    for host; do
        load "$host.$round" stalls
        read -r -a ms <<<"${answer#stalls }"
        for i in 0 1 2; do
            [ "${ms[i]}" -le "${longest[i]}" ] || longest[i]=${ms[i]}
        done
        load_stop "$host.$round"
    done
    for i in 0 1 2; do
        echo "${rows[i]} ${longest[i]}" >>"$dir/longest"
    done
}

dies() { # PART
    local victim survivors=() host
    victim=$(coordinator h1)
    for host in h1 h2 h3; do
        [ "$host" = "$victim" ] || survivors+=("$host")
    done
    for host in "${survivors[@]}"; do
        load_begin "$host" "$host.$round"
        load "$host.$round" "more 50"
        load "$host.$round" stalls
    done
    lab kill "$victim" "$1"
    for host in "${survivors[@]}"; do
        loads_go_on 50 "$host.$round"
    done
    stalls "${survivors[@]}"
    lab start "$victim"
    wait_for 30 sees_volume "$victim"
}

printf '\nthe longest operation of 2 survivors while the coordinator dies\n'
round=0
for part in lunard host; do
    rows=("$part-direct-write" "$part-name" "$part-new-space")
    for ((i = 0; i < BENCH_ROUNDS; i++)); do
        round=$((round + 1))
        dies $part
    done
    for row in "${rows[@]}"; do
        # shellcheck disable=SC2046 # a list of numbers
        figure "$row" ms "" $(sed -n "s/^$row //p" "$dir/longest")
    done
done
echo "corosync's own detection of a dead host: token 1000 + coefficient, and"
echo "consensus, 1.2 times that: 3.6 s for three hosts (docs/cluster.md)"
