#!/bin/bash
# bench/metadata.sh - files made, looked up and removed per second: through
# the mount, beside ext4 on a loop device; and at the coordinator alone.
# For scale only: ext4 makes nothing durable before somebody asks for it, a
# volume answers when the change is committed.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/lib.sh"
need mke2fs
need_root

sample() {
    rm -rf "$1/bench"
    mkdir "$1/bench"
    "$tools/names" "$1/bench" "$2" "$(awk -v seconds="$BENCH_SECONDS" \
        -v threads="$2" 'BEGIN { print int(5000 * seconds / threads) }')"
}
sample_lunar() { sample "$dir/mnt/bench" "$1"; }
sample_ext4() { sample "$dir/ext4" "$1"; }

truncate -s 1G "$dir/ext4.img"
mke2fs -q -t ext4 "$dir/ext4.img"
mkdir "$dir/ext4"
mount -o loop "$dir/ext4.img" "$dir/ext4"
at_exit "umount $dir/ext4"

lunard_start
truncate -s 1G "$dir/lun"
lunar format "file:$dir/lun" --name bench >/dev/null
lunar volume add "file:$dir/lun" >/dev/null

title "names: operations per second, 1 and 4 threads" lunar ext4
rounds 1/s 1
rounds 1/s 4

sample_alone() {
    rm -f "$dir/alone"
    truncate -s 1G "$dir/alone"
    "$tools/commits" "file:$dir/alone" "$1" "$(awk -v s="$BENCH_SECONDS" \
        'BEGIN { print int(10000 * s) }')"
}

title "the coordinator alone: operations and commits, 1 and 32 in flight" alone
rounds 1/s 1
rounds 1/s 32
