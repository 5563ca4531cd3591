#!/bin/bash
# tests/system/test_volume_leaves_while_files_are_opened.sh - a volume is
# removed at the moment somebody opens a file on it: either that is refused or
# this is, and the daemon lives on.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# ROUNDS=500 bash tests/system/test_volume_….sh    as often as that
. "$(dirname "$0")/../lib/daemon.sh"
need perl

rounds=${ROUNDS:-100}

start_lunard
new_volume leaving 64M
for ((i = 0; i < 8; i++)); do
    echo "$i" >"$root/leaving/$i"
done

step "opening without end, and a removal now and then"
perl -e 'while (1) { for my $i (0 .. 7) {
    open(my $f, "<", "$ARGV[0]/$i") or next;
    my $line = <$f>;
    close($f);
} }' "$root/leaving" &
opener=$!
at_exit "kill $opener"
removed=0
for ((round = 0; round < rounds; round++)); do
    kill -STOP "$opener"
    if ((round % 2)); then sleep 0.01; fi
    kill -CONT "$opener"
    if lunar volume remove leaving 2>"$dir/err"; then
        removed=$((removed + 1))
        lunar volume add "file:$dir/leaving.lun" >/dev/null
    else
        grep -q 'files on it are open' "$dir/err" || fail "$(cat "$dir/err")"
    fi
done
kill "$opener"
wait "$opener" || true
[ "$removed" -gt 0 ] || fail "it was never removed"
expect 3 cat "$root/leaving/3"
stop_lunard
lunar check "file:$dir/leaving.lun" >/dev/null
