#!/bin/bash
# tests/system/test_cluster_volumes_are_on_all_hosts.sh - a volume that is added
# on one host is on all, as the same, over restarts of one and of all; paused,
# moved and removed as the administrator says.
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/cluster.sh"

hosts="h1 h2 h3"

on_all() { # COMMAND…: its output is the same everywhere
    local host first
    first=$(at h1 "$@")
    for host in h2 h3; do
        expect "$first" at $host "$@"
    done
    echo "$first"
}

has() { # HOST VOLUME…: these, and no others
    [ "$(at "$1" ls /ClusterStorage)" = "$(printf '%s\n' "${@:2}")" ]
}

all_have() { # VOLUME…
    local host
    for host in $hosts; do
        wait_for 30 has $host "$@"
    done
}

step "added on one host, seen on all: names, numbers, contents"
cluster_up 3 --luns 3
at h2 sh -c 'cd /ClusterStorage/vol && echo from h2 >file && mkdir d &&
    head -c 3M /dev/urandom >d/data'
facts() {
    on_all sh -c 'cd /ClusterStorage &&
        stat -c "%n %i %s %y" vol vol/file vol/d vol/d/data &&
        cat vol/file && sha256sum vol/d/data'
}
facts >"$dir/facts"

step "moved there and back while two hosts write: no operation fails"
coordinates() { # HOST
    [ "$(volume_field "$1" coordinator)" = "$1" ]
}
load_begin h1 a
load_begin h2 b
loads_go_on 5 a b
for to in h2 h3 h1 h2; do
    from=$(coordinator h1)
    [ "$from" != $to ] || continue
    at "$from" lunar volume move vol --to $to
    wait_for 30 coordinates $to
    loads_go_on 5 a b
done
load_stop a
load_stop b
load_verify a h2
load_verify b h1
facts >"$dir/facts"

step "one host starts again: the same"
stop_hosts h2
lab start h2
all_have vol
facts | diff "$dir/facts" -

step "all hosts start again: the same"
stop_hosts h1 h2 h3
for host in $hosts; do
    lab start $host
done
all_have vol
facts | diff "$dir/facts" -

step "two hosts add at once: both come, with numbers of their own"
at h1 lunar format "$(lab url 2)" --name beta
at h1 lunar format "$(lab url 3)" --name gamma
at h1 lunar volume add "$(lab url 2)" >/dev/null &
adding=$!
at h3 lunar volume add "$(lab url 3)" >/dev/null
wait $adding
all_have beta gamma vol
numbers=$(on_all stat -c %i /ClusterStorage/{beta,gamma,vol})
[ "$(sort -u <<<"$numbers" | wc -l)" = 3 ] || fail "numbers: $numbers"

step "paused on one host: the others go on"
at h2 lunar volume pause beta
! at h2 test -e /ClusterStorage/beta || fail "it is still there"
at h1 sh -c 'echo on >/ClusterStorage/beta/file'
expect on at h3 cat /ClusterStorage/beta/file
at h2 lunar volume resume beta
wait_for 30 has h2 beta gamma vol
expect on at h2 cat /ClusterStorage/beta/file

step "a volume with open files is removed nowhere"
exec 5<"$(root_of h1)/ClusterStorage/vol/file"
expect_fail "has /ClusterStorage/vol/file open" at h1 lunar volume remove vol
all_have beta gamma vol
at h1 cat /ClusterStorage/vol/file >/dev/null
expect_fail "h1: volume vol: files on it are open" \
    at h3 lunar volume remove vol
all_have beta gamma vol
expect "from h2" cat <&5
exec 5<&-
at h3 lunar volume remove vol
all_have beta gamma

step "removed on one host, gone on all; added again, as it was"
at h2 lunar volume remove beta
all_have gamma
at h3 lunar volume add "$(lab url 1)" >/dev/null
all_have gamma vol
facts | diff "$dir/facts" -

step "two volumes with one number, as of clusters that meet: one gets another"
stop_hosts $hosts
for host in $hosts; do
    table=$LAB_DIR/$host/state/cluster.json
    jq '.volumes |= map(if .removed then . else .number = 7 end)' \
        "$table" >"$dir/table"
    cp "$dir/table" "$table"
done
for host in $hosts; do
    lab start $host
done
all_have gamma vol
numbers=$(on_all stat -c %i /ClusterStorage/{gamma,vol})
[ "$(sort -u <<<"$numbers" | wc -l)" = 2 ] || fail "numbers: $numbers"

step "every host ends; the volumes are sound"
stop_hosts $hosts
for lun in 1 2 3; do
    check_lun $lun
done

step "a LUN that is left reserved is released by hand"
url=$(lab url 1)
expect_fail "lunar volume release" on h1 lunar check "$url"
on h1 lunar volume release "$url"
on h1 lunar check "$url"
