#!/bin/bash
# bench/locks.sh - nanoseconds per acquisition and release in the pure cores of
# the lock manager: a cached lock, one at a master in the same process, one that
# two nodes take from each other in turns (all messages, no network); a
# byte-range lock in the table, and the kernel's own for scale.
# Then the same, of fcntl(2) through mounts of three nodes: of a file that one
# node only locks; of one that others lock elsewhere, on the coordinator's host
# and on another; of one byte that two hosts take from each other.
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

command -v tgtd >/dev/null && [ "$(id -u)" = 0 ] || exit 0
. "$(dirname "$0")/../tests/lib/nodes.sh"
node 1 -f
node 2
node 3
for f in own shared; do
    truncate -s 4096 "$dir/1/v/$f"
done
mkfifo "$dir/hold"
"$top/build/${VARIANT:-release}/tools/lockfile" "$dir/3/v/shared" \
    <"$dir/hold" >"$dir/held" &
exec {hold}>"$dir/hold"
echo "posix read 4000 1" >&$hold
wait_for 10 grep -q ok "$dir/held"

printf '\nlocks through the mount: ns per acquisition and release\n'
locked() { "$tools/locks" -m "$bench_ms" "$1"; }
for ((round = 0; round < BENCH_ROUNDS; round++)); do
    echo "alone $(locked "$dir/2/v/own")"
    echo "coordinator $(locked "$dir/1/v/shared")"
    echo "remote $(locked "$dir/2/v/shared")"
    locked "$dir/1/v/shared" >"$dir/one" &
    two=$(locked "$dir/2/v/shared")
    wait $!
    echo "in-turns $(((two + $(cat "$dir/one")) / 2))"
done >>"$dir/samples"
for row in alone coordinator remote in-turns; do
    # shellcheck disable=SC2046 # a list of numbers
    figure "$row" ns "" $(sed -n "s/^$row //p" "$dir/samples")
done
exec {hold}>&-
nodes_end
