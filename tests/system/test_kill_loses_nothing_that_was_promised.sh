#!/bin/bash
# tests/system/test_kill_loses_nothing_that_was_promised.sh - lunard dies by
# SIGKILL at random moments under load, again and again; each time the volume
# checks clean, and all that was synced or acknowledged is there.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# KILLS=100 bash tests/system/test_kill_….sh    as often as that; SEED=N
. "$(dirname "$0")/../lib/crashload.sh"

kills=${KILLS:-8}

step "a volume under load, seed $seed"
start_lunard
new_crash_volume
load_start 4

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
