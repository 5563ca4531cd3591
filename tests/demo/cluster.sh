#!/bin/bash
# tests/demo/cluster.sh - two hosts on one iSCSI LUN: what one writes the other
# reads, both write directly, and the coordinator is killed meanwhile.
# Runs what was built, in tests/lab/lab; installs and leaves nothing.  Root.
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154
VARIANT=${VARIANT:-release}
. "$(dirname "$0")/../lib/cluster.sh"

step "two hosts, each with corosync and lunard --holder; a LUN on iSCSI"
cluster_up 2 --size 1G --holder

step "a file that h1 writes is read on h2 at once"
at h1 sh -c 'echo "written on h1" >/ClusterStorage/vol/hello'
expect "written on h1" at h2 cat /ClusterStorage/vol/hello
sum=$(at h1 sh -c 'head -c 16M /dev/urandom >/ClusterStorage/vol/data
    sha256sum </ClusterStorage/vol/data')
expect "$sum" at h2 sh -c 'sha256sum </ClusterStorage/vol/data'

step "both write to the LUN directly, make names, take new space"
load_begin h1 a
load_begin h2 b
loads_go_on 20 a b

longest() { # HOST LOAD
    local ms
    load "$2" stalls
    read -r -a ms <<<"${answer#stalls }"
    step "no write failed on $1; the longest took ${ms[0]} ms (direct), \
${ms[1]} ms (name), ${ms[2]} ms (new space)"
}

killed=$(coordinator h1)
step "kill -9 of the coordinator, lunard on $killed"
load a stalls
load b stalls
lab kill "$killed" lunard
loads_go_on 20 a b
step "another host coordinates; on $killed the holder has started lunard again"
longest h1 a
longest h2 b

step "everything that was promised on either host is there, seen from both"
load_stop a
load_stop b
for host in h1 h2; do
    load_verify a $host
    load_verify b $host
    expect "$sum" at $host sh -c 'sha256sum </ClusterStorage/vol/data'
done

step "both hosts end; lunar check finds nothing"
stop_hosts h1 h2
check_lun 1
echo "demo: all is well with two hosts"
