#!/bin/bash
# bench/locks.sh - nanoseconds per acquisition and release in the pure cores of
# the lock manager: a cached lock, one at a master in the same process, one that
# two nodes take from each other in turns (all messages, no network); a
# byte-range lock in the table, and the kernel's own for scale.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/lib.sh"
[ -x "$tools/locks" ] || skip "there is no $tools/locks"

printf '\nlocks: ns per acquisition and release\n'
count=$(awk -v s="$BENCH_SECONDS" 'BEGIN { print int(4000000 * s) }')
for ((round = 0; round < BENCH_ROUNDS; round++)); do
    "$tools/locks" "$count" "$dir/locked" >>"$dir/samples"
done
for row in cached at-the-master contended range range-kernel; do
    # shellcheck disable=SC2046 # a list of numbers
    figure "$row" ns "" $(sed -n "s/^$row //p" "$dir/samples")
done
