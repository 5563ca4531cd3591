#!/bin/bash
# tests/system/test_membership_on_corosync.sh - three hosts with real corosync
# agree who is in, whatever dies, stops or is cut off.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/system.sh"
. "$(dirname "$0")/../lib/corosync.sh"

tool=${bin%/bin}/tools/member
[ -x "$tool" ] || fail "no $tool: make tools"

# start HOST INCARNATION: a member; what it says is in $dir/said-HOST.
start() {
    local host=$1 input
    rm -f "$dir/$host/in"
    mkfifo "$dir/$host/in"
    begin "$host" "$tool" -b 100 -s 1500 test "h$host" "$2" \
        <>"$dir/$host/in" >"$dir/said-$host" 2>>"$dir/member$host.log" &
    echo $! >"$dir/$host/member"
    disown
    at_exit "kill -9 $!"
}

tell() { # HOST WORDS…
    local host=$1
    shift
    echo "$*" >"$dir/$host/in"
}

signal() { # HOST SIGNAL
    kill "-$2" "$(cat "$dir/$1/member")"
}

# The last view, without its number.
view() {
    sed -n 's/^[0-9]* view [0-9]* //p' "$dir/said-$1" | tail -n 1
}

sees() { # HOST VIEW
    [ "$(view "$1")" = "$2" ]
}

said() { # HOST PART
    grep -qF -- "$2" "$dir/said-$1"
}

wait_for_views() { # SECONDS VIEW HOST…
    local seconds=$1 want=$2 host
    shift 2
    for host; do
        wait_for "$seconds" sees "$host" "$want"
    done
}

now_ms() {
    awk '{ printf "%d", $1 * 1000 }' /proc/uptime
}

# since MS HOST VIEW: how long after MS the host had that view, printed.
since() {
    local at
    at=$(grep -F "$3" "$dir/said-$2" | tail -n 1 | cut -d' ' -f1)
    echo "  $((at - $1)) ms: h$2: $3"
}

step "three members join"
nodes 3
for host in 1 2 3; do start $host 100; done
wait_for_views 20 "quorate: h1=1.100 h2=2.100 h3=3.100" 1 2 3

step "messages come to all, in one order"
for host in 1 2 3; do tell $host "send from-$host"; done
for host in 1 2 3; do
    for other in 1 2 3; do wait_for 10 said $host "$other.100 from-$other"; done
    grep -h message "$dir/said-$host" | cut -d' ' -f2- >"$dir/order-$host"
done
cmp "$dir/order-1" "$dir/order-2"
cmp "$dir/order-1" "$dir/order-3"

step "more than corosync takes at once comes, too"
tell 1 "burst 5000 1000"
wait_for 60 said 1 " burst "
echo "  5000 messages of 1000 bytes, and back:" \
    "$(sed -n 's/.* burst //p' "$dir/said-1") us"

step "kill -9: it is missing"
began=$(now_ms)
signal 2 KILL
wait_for_views 10 "quorate: h1=1.100 h3=3.100; missing h2=2.100" 1 3
since "$began" 1 "missing h2=2.100"

step "it comes back as another, which knows whom to fence"
start 2 101
wait_for_views 10 \
    "quorate: h1=1.100 h2=2.101 h3=3.100; missing h2=2.100" 1 2 3
tell 2 "fenced 2 100"
wait_for_views 10 "quorate: h1=1.100 h2=2.101 h3=3.100" 1 2 3

step "SIGSTOP while its corosync goes on: it is accused"
began=$(now_ms)
signal 3 STOP
wait_for_views 20 "quorate: h1=1.100 h2=2.101; missing h3=3.100" 1 2
since "$began" 1 "missing h3=3.100"
signal 3 CONT
wait_for 10 said 3 " expelled "
tell 1 "fenced 3 100"
start 3 101
wait_for_views 10 "quorate: h1=1.100 h2=2.101 h3=3.101" 1 2 3

step "goodbye: nobody misses it"
tell 3 leave
wait_for 10 said 3 " left "
wait_for_views 10 "quorate: h1=1.100 h2=2.101" 1 2
start 3 102
wait_for_views 10 "quorate: h1=1.100 h2=2.101 h3=3.102" 1 2 3

step "corosync dies: no membership, and the others miss that host"
began=$(now_ms)
kill_corosync 2
wait_for 10 grep -q "view [0-9]* outside" "$dir/said-2"
wait_for_views 30 "quorate: h1=1.100 h3=3.102; missing h2=2.101" 1 3
since "$began" 1 "missing h2=2.101"
corosync_start 2
wait_for 30 said 2 " expelled "
tell 1 "fenced 2 101"
start 2 102
wait_for_views 10 "quorate: h1=1.100 h2=2.102 h3=3.102" 1 2 3

step "a cut cable: one side goes on, the other decides nothing"
began=$(now_ms)
unplug 3
wait_for_views 30 "quorate: h1=1.100 h2=2.102; missing h3=3.102" 1 2
since "$began" 1 "missing h3=3.102"
wait_for_views 30 "without quorum: h3=3.102; lost h1=1.100; lost h2=2.102" 3
plug 3
wait_for 60 said 3 " expelled "
sees 1 "quorate: h1=1.100 h2=2.102; missing h3=3.102"

step "all three are cut off and come back as they were"
tell 1 "fenced 3 102"
start 3 103
wait_for_views 10 "quorate: h1=1.100 h2=2.102 h3=3.103" 1 2 3
for host in 1 2 3; do unplug $host; done
wait_for_views 30 "without quorum: h1=1.100; lost h2=2.102; lost h3=3.103" 1
wait_for_views 30 "without quorum: h2=2.102; lost h1=1.100; lost h3=3.103" 2
wait_for_views 30 "without quorum: h3=3.103; lost h1=1.100; lost h2=2.102" 3
began=$(now_ms)
for host in 1 2 3; do plug $host; done
wait_for_views 60 "quorate: h1=1.100 h2=2.102 h3=3.103" 1 2 3
since "$began" 1 "quorate: h1=1.100 h2=2.102 h3=3.103"
