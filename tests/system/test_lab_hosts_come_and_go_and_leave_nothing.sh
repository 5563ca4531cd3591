#!/bin/bash
# tests/system/test_lab_hosts_come_and_go_and_leave_nothing.sh - the lab: three
# hosts with quorum and a LUN; cables cut and healed; processes and hosts
# stopped, killed and started; nothing is left, also after kill -9 of `lab`.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/lab.sh"

# Processes that came from here, but for ours: with $dir in their environment.
# Those of a host are among them, for hosts are seen from outside.
processes() {
    local env
    for env in /proc/[0-9]*/environ; do
        ! grep -qzxF "LUNAR_LAB=$LAB_DIR" "$env" || echo "${env//[!0-9]/}"
    done 2>/dev/null
}

# Note the namespaces of these, and how late it is.
look() {
    local pid
    for pid in $(processes); do
        readlink "/proc/$pid"/ns/{net,mnt,pid,uts} || :
    done 2>/dev/null | sort -u | grep -vxF -f "$dir/ours" >"$dir/seen"
    [ "$(wc -l <"$dir/seen")" -gt "$1" ] || fail "few namespaces: $(processes)"
    awk '{ print int($1 * 100) }' /proc/uptime >"$dir/ticks"
}

# Is nobody in one of them who was there then?  (Their numbers are used again.)
all_left() {
    local pid start
    { find /proc/[0-9]*/ns -printf '%p %l\n' | grep -wF -f "$dir/seen" || :; } \
        2>/dev/null | cut -d/ -f3 | sort -u | while read -r pid; do
        start=$(sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f20) || continue
        [ "$start" -gt "$(cat "$dir/ticks")" ] || echo "$pid"
    done 2>/dev/null | awk 'END { exit NR > 0 }'
}

outside() {
    ip -br link | awk '{ print $1 }'
    awk '{ print $5 }' /proc/self/mountinfo | sort
    ls -d /ClusterStorage /etc/lunar 2>&1 || :
}

# What was there before is there now, and nothing else.
nothing_is_left() {
    expect "" processes
    wait_for 5 all_left
    [ ! -e "$LAB_DIR" ] || fail "$LAB_DIR is still there"
    outside | diff "$dir/before" - || fail "not as before"
}
readlink /proc/self/ns/{net,mnt,pid,uts} >"$dir/ours"
outside >"$dir/before"

step "lab up is killed half way: lab down leaves nothing"
"$top/tests/lab/lab" up 3 &
up=$!
wait_for 10 test -e "$LAB_DIR/h2/pid"
look 8
kill -9 $up
lab down
nothing_is_left

step "the same, interrupted: it cleans up by itself"
status=0
"$top/tests/lab/lab" up 3 &
up=$!
wait_for 10 test -e "$LAB_DIR/h1/pid"
kill -TERM $up
wait $up || status=$?
[ $status = 130 ] || fail "exit status $status"
nothing_is_left

step "killed half way once more: the next lab up works"
"$top/tests/lab/lab" up 3 &
up=$!
wait_for 10 test -e "$LAB_DIR/san/pid"
kill -9 $up
lab up 3 --solo
expect_fail "is up: lab down" lab up 3

step "quorum and lunard on three hosts, each with a mount of its own"
for host in h1 h2 h3; do
    wait_for 20 shows $host up up yes 1,2,3 running /ClusterStorage
done

step "a volume of the LUN on one host"
url=$(lab url 1)
on h1 lunar format "$url" --name alpha
on h1 lunar volume add "$url"
on h1 sh -c 'echo kept >/ClusterStorage/alpha/file'
expect kept on h1 cat /ClusterStorage/alpha/file
expect "" on h2 ls /ClusterStorage
[ ! -e /ClusterStorage ] || fail "the machine has a /ClusterStorage"

step "cluster cable cut: quorum lost there, and back"
lab cut h2 net
wait_for 20 shows h2 cut up no 2
wait_for 20 shows h1 up up yes 1,3
lab heal h2 net
wait_for 20 shows h2 up up yes 1,2,3

step "SAN cable cut: a write waits, and goes on when it is back"
lab cut h1 san
wait_for 20 shows h1 up cut yes 1,2,3
on h1 sh -c 'echo more >>/ClusterStorage/alpha/file
    sync /ClusterStorage/alpha/file' &
write=$!
sleep 1 # so long, at least, it has not landed
kill -0 $write || fail "the write did not wait"
lab heal h1 san
wait $write
expect "kept
more" on h1 cat /ClusterStorage/alpha/file

step "lunard stopped and continued"
lab stop h1 lunard
wait_for 20 shows h1 up up yes 1,2,3 stopped
! on h1 timeout 1 lunar status >/dev/null || fail "it answered"
lab cont h1 lunard
on h1 lunar status >/dev/null

step "a whole host stopped and continued: the others go on without it"
lab stop h3
wait_for 20 shows h1 up up yes 1,2
lab cont h3
wait_for 20 shows h1 up up yes 1,2,3 running

step "lunard killed and started"
lab kill h1 lunard
wait_for 20 shows h1 up up yes 1,2,3 - /ClusterStorage
lab start h1
wait_for 10 on h1 grep -q more /ClusterStorage/alpha/file

step "a power cut of a host, and of the one with the volume"
lab kill h3
shows h3 down || fail "$(lab status)"
wait_for 20 shows h1 up up yes 1,2
expect_fail "h3 is down" on h3 true
lab kill h1
lab start h3
lab start h1
wait_for 20 shows h1 up up yes 1,2,3 running /ClusterStorage
wait_for 10 on h1 grep -q more /ClusterStorage/alpha/file

step "words that make no sense"
expect_fail "has no host" lab kill h4
expect_fail "no tgtd is running" lab kill h1 tgtd

step "lab down: nothing is left"
{ on h2 sleep 1000 || :; } &
look 16
lab down
nothing_is_left
lab down # and it may be called again
