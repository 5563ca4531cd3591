#!/bin/bash
# bench/guest.sh - a VHD on our controller against the same kind of VHD on
# QEMU's own virtio-scsi and vpc driver, in one guest, from inside of it.
# Under TCG the guest's own CPU is most of what is measured: look at ratios.
# SPDX-License-Identifier: LGPL-2.1-or-later
# The guest is as fast as its one emulated CPU, which differs by half from one
# sample to the next: it takes many pairs to tell two disks apart.
BENCH_ROUNDS=${BENCH_ROUNDS:-15}
. "$(dirname "$0")/lib.sh"
need fio qemu-system-x86_64 qemu-img
need_root

export GUEST_PROGRAMS=fio GUEST_MEMORY=524296k
disk_mib=256
guest=$top/tests/guest/guest

# in_guest COMMAND [SECONDS]
in_guest() { "$guest" run "$dir/guest" "$@"; }

# disk_of VENDOR: its name in the guest.
disk_of() {
    in_guest "for disk in /sys/block/sd*; do
        grep -q '^$1' \$disk/device/vendor && echo /dev/\${disk##*/}
    done; true"
}

sample() {
    local rw size depth
    IFS=- read -r rw size depth <<<"$2"
    in_guest "fio --name=bench --filename=$1 --rw=$rw --bs=$size \
        --iodepth=$depth --ioengine=libaio --direct=1 --thread \
        --runtime=${bench_ms}ms --time_based --randrepeat=0 \
        --norandommap --minimal" | io_rate "$2"
}
sample_lunar() { sample "$ours" "$1"; }
sample_virtio-scsi() { sample "$theirs" "$1"; }

lunard_start
truncate -s $((disk_mib * 3))M "$dir/lun"
lunar format "file:$dir/lun" --name bench >/dev/null
lunar volume add "file:$dir/lun" >/dev/null
lunar disk create "$dir/mnt/bench/disk.vhd" --type dynamic \
    --size ${disk_mib}M >/dev/null
qemu-img create -q -f vpc -o subformat=dynamic,force_size=on \
    "$dir/peer.vhd" ${disk_mib}M

# Its last line is the options of the controller.
controller=$(lunar vm add bench | tail -n 1)
lunar attach bench "$dir/mnt/bench/disk.vhd" >/dev/null
at_exit "$guest stop $dir/guest"
# shellcheck disable=SC2086 # a list of options
"$guest" start "$dir/guest" $controller \
    -object iothread,id=thread \
    -device virtio-scsi-pci,iothread=thread,id=peer \
    -blockdev "driver=file,node-name=file,filename=$dir/peer.vhd" \
    -blockdev driver=vpc,node-name=peer,file=file \
    -device scsi-hd,drive=peer,bus=peer.0
wait_for 20 test -n "$(disk_of LUNAR)"
ours=$(disk_of LUNAR)
theirs=$(disk_of QEMU)
for disk in "$ours" "$theirs"; do
    in_guest "fio --name=fill --filename=$disk --rw=write --bs=1m \
        --direct=1 --thread --minimal >/dev/null" 120
done

title "a dynamic VHD, from inside the guest" lunar virtio-scsi
for row in randread-4k-1 randread-4k-32 randwrite-4k-1 randwrite-4k-32; do
    goal "$row" virtio-scsi 1
    rounds IOPS "$row"
done
