#!/bin/bash
# tests/system/test_cluster_drained_host_takes_no_part.sh - drain moves what a
# host coordinates and closes its volumes, over restarts; what is in the way is
# named and then nothing changes; undrain makes it take part again.
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/cluster.sh"

node_state() { # NODE, as h1 sees it
    at h1 lunar status --json | jq -r ".nodes[] | select(.name == \"$1\").state"
}

is_node() { # NODE STATE
    [ "$(node_state "$1")" = "$2" ]
}

state_on() { # HOST: of the volume there
    volume_field "$1" 'nodes[0] | .state + ": " + .reason'
}

coordinates() { # HOST
    [ "$(volume_field h1 coordinator)" = "$1" ]
}

cluster_up 3

step "VMs with disks and open files are in the way, and named"
at h2 lunar vm add web >/dev/null
at h2 lunar disk create /ClusterStorage/vol/web.vhd --size 16M
at h2 lunar attach web /ClusterStorage/vol/web.vhd >/dev/null
expect_fail "vm web has /ClusterStorage/vol/web.vhd attached" \
    at h1 lunar drain h2
is_node h2 up || fail "h2 is not up"
expect "Direct: " state_on h2
at h2 lunar detach web 0 --force
at h2 lunar vm remove web
exec 5<"$(root_of h2)/ClusterStorage/vol/web.vhd"
expect_fail "files on it are open" at h1 lunar drain h2
wait_for 20 is_node h2 up
wait_for 30 sees_volume h2
exec 5<&-
expect_fail "node h7: is not in the cluster" at h1 lunar drain h7

step "the coordinator is drained while others write: no operation fails"
if ! coordinates h2; then
    at h1 lunar volume move vol --to h2
    wait_for 30 coordinates h2
fi
load_begin h1 a
load_begin h3 b
loads_go_on 5 a b
at h3 lunar drain h2
! coordinates h2 || fail "h2 coordinates"
is_node h2 drained || fail "h2 is not drained"
expect "Maintenance: drained by h3" state_on h2
! sees_volume h2 || fail "the volume is open on h2"
loads_go_on 5 a b
expect_fail "node h2: is drained" at h1 lunar volume move vol --to h2
expect_fail "this host is drained" at h2 lunar volume resume vol
at h1 lunar drain h2 # is, already

step "it starts again: still drained, and coordinates nothing"
stop_hosts h2
lab start h2
wait_for 30 is_node h2 drained
expect "Maintenance: drained by h3" state_on h2
loads_go_on 5 a b
load_stop a
load_stop b
load_verify a h3
load_verify b h1

step "who is the last one is not drained"
at h1 lunar drain h3
expect_fail "no other host could coordinate it" at h2 lunar drain h1
is_node h1 up || fail "h1 is not up"
at h1 sh -c 'echo on >/ClusterStorage/vol/file'

step "undrained: it has its volumes, and may coordinate them"
at h1 lunar undrain h2
at h2 lunar undrain h3
wait_for 30 is_node h2 up
wait_for 30 sees_volume h2
wait_for 30 sees_volume h3
expect on at h2 cat /ClusterStorage/vol/file
at h1 lunar volume move vol --to h2
wait_for 30 coordinates h2
stop_hosts h1 h2 h3
check_lun 1
