#!/bin/bash
# tests/system/test_cluster_sixteen_hosts.sh - HOSTS hosts write to one volume
# for MINUTES, and one after another is killed as soon as the last one is back:
# lunard alone, the whole host in turns.  The others see no error, what the dead
# had is there, and the volume is sound.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# make check-full has 16 hosts for 10 minutes.  All of them share the machine:
# so loads rest between their steps, and corosync's token has longer to come
# round than on machines of their own.
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/cluster.sh"
[ -n "${HOSTS:-}" ] || skip "HOSTS does not say how many (check-full: 16)"
[ "$HOSTS" -ge 3 ] || fail "HOSTS is $HOSTS: less than 3 have no quorum"

export LAB_TOKEN_MS=3000
LOAD_S=180
LOAD_PAUSE_MS=$((HOSTS * 15))
declare -A load_of # HOST: its load
longest=(0 0 0)    # ms: a direct write, a name, new space
count=0            # of kills

all_hosts() {
    seq -f h%g "$HOSTS"
}

note_stalls() { # HOST
    local i ms
    load "${load_of[$1]}" stalls
    read -r -a ms <<<"${answer#stalls }"
    for i in 0 1 2; do
        [ "${ms[i]}" -le "${longest[i]}" ] || longest[i]=${ms[i]}
    done
}

begin() { # HOST
    load_of[$1]=$1.$count
    load_begin "$1" "$1.$count"
}

# After that all others have gone on, without an error.
kill_one() { # HOST lunard|host
    local host other left=()
    for host in $(all_hosts); do
        [ "$host" = "$1" ] || left+=("$host")
    done
    lab kill "$@"
    for host in "${left[@]}"; do
        loads_go_on 3 "${load_of[$host]}"
        note_stalls "$host"
    done
    other=${left[RANDOM % ${#left[@]}]}
    load "${load_of[$1]}" stop
    load_verify "${load_of[$1]}" "$other"
    at "$other" rm -r "/ClusterStorage/vol/${load_of[$1]}"
}

bring_back() { # HOST
    lab start "$1"
    wait_for 120 sees_volume "$1"
    begin "$1"
}

step "$HOSTS hosts write to one volume"
cluster_up "$HOSTS"
for host in $(all_hosts); do
    begin "$host"
done
loads_go_on 3 "${load_of[@]}"
for host in $(all_hosts); do
    load "${load_of[$host]}" stalls # what comes before does not count
done

parts=(lunard host)
end=$((SECONDS + ${MINUTES:-10} * 60))
while [ $SECONDS -lt $end ]; do
    victim=h$((count % HOSTS + 1))
    [ $((count % 3)) != 2 ] || victim=$(coordinator "$victim")
    kill_one "$victim" "${parts[count % 2]}"
    count=$((count + 1))
    bring_back "$victim"
    echo "  $SECONDS s: $victim ${parts[(count - 1) % 2]}; ${longest[*]} ms"
done

step "killed $count: survivors saw no error; longest ${longest[0]} ms (direct \
write), ${longest[1]} ms (name), ${longest[2]} ms (new space)"
for host in $(all_hosts); do
    load_stop "${load_of[$host]}"
    load_verify "${load_of[$host]}" "h$((${host#h} % HOSTS + 1))"
done

step "every host ends; the volume is sound"
# shellcheck disable=SC2046 # a list of words
stop_hosts $(all_hosts)
check_lun 1
