#!/bin/bash
# tests/system/test_demo_runs_and_cleans_up.sh - the demo succeeds, twice, and
# leaves nothing behind, also when it is interrupted.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/system.sh"
need_root
need qemu-system-x86_64 qemu-img cpio busybox debugfs

export DEMO_DIR=$dir ROOT=$dir/root

nothing_left() {
    [ -z "$(find "$dir" -maxdepth 1 -name 'lunar-demo.*')" ] ||
        fail "a directory is left"
    ! grep -qF " $dir/" /proc/mounts || fail "a mount is left"
}

for run in first second; do
    step "the $run time"
    "$top/tests/demo/demo.sh" >"$dir/demo.out" 2>&1 ||
        fail "$(tail -n 20 "$dir/demo.out")"
    tail -n 1 "$dir/demo.out" | grep -q 'all is well'
    nothing_left
done

step "interrupted while the guest boots"
"$top/tests/demo/demo.sh" >"$dir/demo.out" 2>&1 &
pid=$!
wait_for 60 grep -q 'a kernel and an initramfs' "$dir/demo.out"
sleep 1
kill -TERM $pid
! wait $pid || fail "the demo says that all is well"
nothing_left
