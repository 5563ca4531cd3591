#!/bin/bash
# tests/system/test_kill_under_a_holder_is_not_seen.sh - the daemon dies by
# SIGKILL under load, again and again, and its users meet no error: all that
# was answered is there, synced or not, and the volume checks clean.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# KILLS=100 bash tests/system/test_kill_….sh    as often as that; SEED=N
. "$(dirname "$0")/../lib/crashload.sh"

kills=${KILLS:-6}

# Files that stay open over every kill: one with a name, one without.
open_files() {
    echo "first line" >"$root/crash/named"
    exec 8>>"$root/crash/named"
    exec 9<>"$root/crash/unlinked"
    echo "still here" >&9
    rm "$root/crash/unlinked"
}

check_open_files() {
    echo "round $round" >&8
    [ "$(cat "/proc/$$/fd/9")" = "still here" ] ||
        fail "round $round: the unlinked file lost its content"
    [ "$(stat -Lc %h "/proc/$$/fd/9")" = 0 ] ||
        fail "round $round: the unlinked file has a name"
}

step "a volume under load, seed $seed"
start_lunard --holder
new_crash_volume
open_files
load_start 4 firm

for ((round = 1; round <= kills; round++)); do
    say start
    [ "$answer" = started ] || fail "round $round: $answer"
    # four deaths within ten seconds each are too many for the holder
    for ((i = 0; i < 2; i++)); do
        sleep "0.$((RANDOM % 90 + 10))"
        kill_child
    done
    wait_for 20 lunar status
    sleep "0.$((RANDOM % 90 + 10))"
    say stop
    case $answer in
    stopped*" 0") ;;
    *) fail "round $round: $answer errors: $(tail -3 "$dir/load.log")" ;;
    esac
    say verify
    [ "$answer" = "verified 0" ] || fail "round $round: $answer differences"
    check_open_files
    [ $((round % 2)) = 1 ] || sleep 10 # a long life pardons early deaths
done

step "killed $((2 * kills)) times: nobody saw it"
[ "$(wc -l <"$root/crash/named")" = $((kills + 1)) ] ||
    fail "an open file lost lines"
exec 8>&- 9>&-
load_end
stop_lunard
mountpoint -q "$root" && fail "$root is still mounted"
lunar check "file:$dir/crash.lun" >"$dir/check.log" ||
    fail "the volume does not check clean: $(cat "$dir/check.log")"
