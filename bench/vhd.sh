#!/bin/bash
# bench/vhd.sh - a dynamic VHD under the loads that formats differ in: the
# first touch of a block, writes that hop from block to block, sequences.
# Ours and the bare file by one program of ours, QEMU's vpc driver and its bare
# file by qemu-img bench: the same load, 32 requests in flight.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/lib.sh"
need qemu-img

size=4G
block=2097152
many=$(awk -v s="$BENCH_SECONDS" 'BEGIN { printf "%d", 160000 * s }')

# A load: row, disk (new, or as the load before left it), read or write, bytes,
# step, requests, offset of the first.  "alloc" opens a block with each request,
# "hop" overwrites, each time in another block.
at=$((256 * block))
loads="alloc new -w 4096 $block 1700 $at
hop-write used -w 4096 $((block + 4096)) $many $at
hop-read used -r 4096 $((block + 4096)) $many $at
seq4k-first new -w 4096 4096 $many 0
seq4k-again used -w 4096 4096 $many 0
seq64k new -w 65536 65536 $((many / 10)) 0"

# Each sample: FILE is there, the row's name is $1, the rest is the load.
ours() {
    local format=$1 file=$2 row=$3 op=$5 bytes=$6 step=$7 count=$8 offset=$9
    echo "$row $("$tools/drive" "$format" "$op" "$bytes" "$step" "$count" \
        "$offset" 32 "$file")"
}

qemu() {
    local format=$1 file=$2 row=$3 op=$5 bytes=$6 step=$7 count=$8 offset=$9
    [ "$op" = -w ] || op=-U # shares the file: nothing for a reader
    qemu-img bench -f "$format" "$op" -c "$count" -d 32 -s "$bytes" \
        -S "$step" -o "$offset" "$file" |
        awk -v row="$row" -v count="$count" '
            /completed in/ { print row, count / $4 }'
}

vhd() {
    qemu-img create -q -f vpc -o subformat=dynamic,force_size=on "$1" $size
}
raw() {
    rm -f "$1"
    truncate -s $size "$1"
}

sample_lunar() {
    [ "$2" = used ] || vhd "$dir/lunar.vhd"
    ours vhd "$dir/lunar.vhd" "$@"
}
sample_raw() {
    [ "$2" = used ] || raw "$dir/raw"
    ours raw "$dir/raw" "$@"
}
sample_vpc() {
    [ "$2" = used ] || vhd "$dir/vpc.vhd"
    qemu vpc "$dir/vpc.vhd" "$@"
}
sample_qemu-raw() {
    [ "$2" = used ] || raw "$dir/qemu-raw"
    qemu raw "$dir/qemu-raw" "$@"
}

title "a dynamic VHD of $size on tmpfs" lunar raw vpc qemu-raw
goal alloc vpc 5
goal alloc raw 0.3
goal hop-write raw 0.9
while read -r -a load; do
    rounds 1/s "${load[@]}"
done <<<"$loads"
