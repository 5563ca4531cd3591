#!/bin/bash
# bench/fuse.sh - a file of a volume through the mount, against the bare LUN
# and against QEMU's FUSE export of a LUN of the same kind.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# BENCH_LUNS="tmpfs loop": on what; a loop device completes its I/O later, as
# a real disk does, a file on tmpfs inside of the system call.
. "$(dirname "$0")/lib.sh"
need fio qemu-storage-daemon
need_root

size_mib=512 # of each file: in memory, three times
four_kib="randread-4k-1 randread-4k-32 randwrite-4k-1 randwrite-4k-32"
one_mib="read-1m-8 write-1m-8"

# make_lun NAME MIB KIND: sets $lun.
make_lun() {
    lun=$dir/$1.lun
    truncate -s "$2M" "$lun"
    [ "$3" = loop ] || return 0
    lun=$(losetup -f --show --direct-io=on "$lun")
    at_exit "losetup -d $lun"
}

# Every block is written before anything is measured.
fill() {
    fio --name=fill --filename="$1" --rw=write --bs=1m --size=${size_mib}m \
        --direct=1 --thread --minimal >/dev/null
}

# export_by_qemu NAME KIND OPTIONS: $dir/NAME shows a LUN of its own.
export_by_qemu() {
    local shown
    make_lun "$1" "$size_mib" "$2"
    fill "$lun"
    : >"$dir/$1"
    shown=type=fuse,id=export,node-name=lun,writable=on,mountpoint=$dir/$1
    qemu-storage-daemon \
        --blockdev "driver=$driver,node-name=lun,filename=$lun,$3" \
        --export "$shown" >"$dir/$1.log" 2>&1 9>&- &
    at_exit "kill $!; wait $!"
    wait_for 10 grep -qF " $dir/$1 fuse" /proc/mounts
}

# The bounds of fio are those of the file.
sample_lunar() { io "$dir/mnt/$volume/file" "$1"; }
sample_raw() { io "$raw" "$1"; }
sample_qsd() { io "$dir/qsd-$kind" "$1"; }
sample_qsd-direct() { io "$dir/qsd-direct-$kind" "$1"; }

compare() {
    local row
    kind=$1 volume=bench-$1 driver=file
    [ "$kind" != loop ] || driver=host_device
    make_lun "raw-$kind" "$size_mib" "$kind"
    raw=$lun
    fill "$raw"
    export_by_qemu "qsd-$kind" "$kind" cache.direct=off,aio=threads
    export_by_qemu "qsd-direct-$kind" "$kind" cache.direct=on,aio=native
    make_lun "lunar-$kind" $((size_mib * 2)) "$kind"
    lunar format "file:$lun" --name "$volume" >/dev/null
    lunar volume add "file:$lun" >/dev/null
    truncate -s ${size_mib}M "$dir/mnt/$volume/file"
    fill "$dir/mnt/$volume/file"

    title "a file through the mount; LUN: $kind" lunar raw qsd qsd-direct
    for row in $four_kib $one_mib; do
        goal "$row" qsd 1
        goal "$row" qsd-direct 1
        case $row in
        *-4k-32)
            goal "$row" qsd 2
            goal "$row" qsd-direct 2
            ;;
        esac
    done
    for row in $four_kib; do
        rounds IOPS "$row"
    done
    for row in $one_mib; do
        rounds MB/s "$row"
    done
}

lunard_start
for kind in ${BENCH_LUNS:-tmpfs}; do
    compare "$kind"
done
