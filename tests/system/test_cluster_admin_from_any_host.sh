#!/bin/bash
# tests/system/test_cluster_admin_from_any_host.sh - sizes, check, move, grow
# and remove do not ask where a volume is coordinated; and a host that does not
# answer is said to be so, in bounded time.
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/cluster.sh"

coordinates() { # HOST
    [ "$(volume_field h1 coordinator)" = "$1" ]
}

others_than() { # HOST: the first of the others
    local host
    for host in h1 h2 h3; do
        [ $host = "$1" ] || echo $host
    done
}

see_size() { # BYTES: all hosts do
    local host
    for host in h1 h2 h3; do
        [ "$(volume_field $host size)" = "$1" ] || return 1
        [ "$(volume_field $host free)" -gt 0 ] || return 1
    done
}

# A volume of 256 MiB on a LUN of 1 GiB: as if that had been grown.
step "a volume that is smaller than its LUN"
lab up 3 --size 1G
truncate -s 256M "$dir/small"
lunar format "file:$dir/small" --name vol
cp --sparse=always "$dir/small" "$dir/grown"
truncate -s 1G "$dir/grown"
dd if="$dir/grown" of="$LAB_DIR/san/lun1" bs=1M conv=notrunc,sparse status=none
at h1 lunar volume add "$(lab url 1)" >/dev/null
for host in h1 h2 h3; do
    wait_for 30 sees_volume $host
done

step "every host knows how large it is, and how it is elsewhere"
wait_for 30 see_size $((256 << 20))
expect "Direct Direct Direct" volume_field h2 'nodes | map(.state) | join(" ")'
at h3 lunar volume pause vol
at h2 lunar status | grep -q 'on h3: Paused: by the administrator' ||
    fail "h2 does not know that it is paused on h3"
at h3 lunar volume resume vol

step "moved by a host that has nothing to do with it"
at h1 sh -c 'echo on >/ClusterStorage/vol/file'
from=$(coordinator h1)
mapfile -t others < <(others_than "$from")
to=${others[0]} third=${others[1]}
at "$third" lunar volume move vol --to "$to"
wait_for 30 coordinates "$to"

step "checked from elsewhere, with what is found"
at "$third" lunar check vol | grep -q clean || fail "not clean"
[ "$(at "$third" lunar check vol --json | jq .files)" = 1 ] || fail "no files"
expect_fail "nowhere: not known" at "$third" lunar check nowhere

step "grown from elsewhere, and used on a third host"
at "$third" lunar volume grow vol
wait_for 30 see_size $((1 << 30))
expect_fail "uses the whole LUN already" at "$third" lunar volume grow vol
at "$from" sh -c 'head -c 300M /dev/zero >/ClusterStorage/vol/large'

step "in use on two hosts: not removed, each is named, nothing is done"
at h2 lunar vm add web >/dev/null
at h2 lunar disk create /ClusterStorage/vol/web.vhd --size 16M
at h2 lunar attach web /ClusterStorage/vol/web.vhd >/dev/null
exec 5<"$(root_of h3)/ClusterStorage/vol/file"
at h3 sh -c 'sleep 300 </ClusterStorage/vol/file >/dev/null 2>&1 &'
holds_file() {
    at h3 sh -c 'ls -l /proc/[0-9]*/fd 2>/dev/null' | grep -q vol/file
}
wait_for 10 holds_file
expect_fail "h2: vm web has /ClusterStorage/vol/web.vhd attached" \
    at h1 lunar volume remove vol
expect_fail "has /ClusterStorage/vol/file open" at h1 lunar volume remove vol
expect_fail "h3: sleep (pid " at h1 lunar volume remove vol
expect "Direct Direct Direct" volume_field h1 'nodes | map(.state) | join(" ")'
at h1 sh -c 'echo still >/ClusterStorage/vol/file'
at h2 lunar detach web 0 --force
# shellcheck disable=SC2016 # the inner shell expands
at h3 sh -c 'kill $(pidof sleep)'

step "open where /proc does not show it: refused when it is to be closed"
expect_fail "h3: volume vol: files on it are open" \
    at h1 lunar volume remove vol
for host in h1 h2 h3; do
    wait_for 30 sees_volume $host
done
expect still cat <&5
exec 5<&-

step "a coordinator that does not answer: status does, and says so"
host=$(coordinator h1)
mapfile -t others < <(others_than "$host")
other=${others[0]} third=${others[1]}
wait_for 30 see_size $((1 << 30))
lab stop "$host" lunard
at "$other" timeout 10 lunar status >"$dir/said"
grep -q "1 GiB" "$dir/said" || fail "the size is forgotten"
grep -q "on $host: unknown: does not answer" "$dir/said" ||
    fail "does not say that $host is silent"
grep -q "as known .* s ago" "$dir/said" || fail "does not say how old that is"
expect_fail "$host: the connection to it is lost" at "$third" lunar check vol
lab cont "$host" lunard
wait_for 30 lunard_is_off "$host"
lab start "$host"
wait_for 40 sees_volume "$host"
at "$other" lunar check vol | grep -q clean || fail "not clean"

step "removed on all"
at h2 lunar volume remove vol
gone() { # HOST
    ! sees_volume "$1" && [ "$(at "$1" lunar volume list --json |
        jq '.volumes | length')" = 0 ]
}
for host in h1 h2 h3; do
    wait_for 30 gone $host
done
stop_hosts h1 h2 h3
check_lun 1
