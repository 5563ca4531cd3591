#!/bin/bash
# tests/system/test_kill_loses_nothing_that_was_promised.sh - lunard dies by
# SIGKILL at random moments under load, again and again; each time the volume
# checks clean, and all that was synced or acknowledged is there.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# KILLS=100 bash tests/system/test_kill_….sh    as often as that; SEED=N
. "$(dirname "$0")/../lib/daemon.sh"

kills=${KILLS:-8}
seed=${SEED:-$$}
load=$top/build/${VARIANT:-release}/tools/crashload
[ -x "$load" ] || fail "$load is missing: make tools"

# say COMMAND: to crashload, and its answer; what it prints before is shown.
say() {
    echo "$1" >&"${crash[1]}"
    while read -r -t 60 answer <&"${crash[0]}"; do
        case $answer in
        started | stopped* | verified* | failed*) return ;;
        esac
        echo "  $answer"
    done
    fail "crashload does not answer to $1"
}

step "a volume under load, seed $seed"
start_lunard
new_volume crash 1G
mkdir "$root/crash/load"
coproc crash { exec "$load" "$root/crash/load" "$seed" 4 2>"$dir/load.log"; }
load_pid=$crash_PID
at_exit 'kill "$load_pid"'

for ((round = 1; round <= kills; round++)); do
    say start
    [ "$answer" = started ] || fail "round $round: $answer"
    sleep "0.$((RANDOM % 90 + 10))"
    kill_lunard
    say wait
    umount -l "$root" 2>/dev/null || true
    lunar check "file:$dir/crash.lun" >"$dir/check.log" ||
        fail "round $round: the volume does not check clean"
    start_lunard
    say verify
    [ "$answer" = "verified 0" ] || fail "round $round: $answer differences"
done
step "killed $kills times: nothing is missing, nothing is back that was gone"
stop_lunard
