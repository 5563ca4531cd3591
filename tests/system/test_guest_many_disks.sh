#!/bin/bash
# tests/system/test_guest_many_disks.sh - many disks on four controllers of a
# guest with two processors, added at once; then what a guest and its VMM do in
# the middle of I/O: pause, the driver unbound and bound, QEMU killed.
# SPDX-License-Identifier: LGPL-2.1-or-later
# DISKS per controller (default 10, more than there are event buffers; 64 is
# what is promised).
. "$(dirname "$0")/../lib/daemon.sh"
need fio qemu-system-x86_64 cpio
export GUEST_PROGRAMS=fio GUEST_MEMORY=524296k
disks=${DISKS:-10}

start_lunard
new_volume alpha 2G
v=$root/alpha

boot() {
    local options=() i

    for i in 0 1 2 3; do
        options+=(-chardev "socket,id=c$i,path=$dir/run/web/$i.sock"
            -device "vhost-user-scsi-pci,chardev=c$i,num_queues=2")
    done
    rm -f "$dir"/monitor.{in,out}
    mkfifo "$dir"/monitor.{in,out}
    cat "$dir/monitor.out" >"$dir/monitor.log" &
    "$top/tests/guest/guest" start "$dir/guest" -smp 2 "${options[@]}" \
        -chardev "pipe,id=monitor,path=$dir/monitor" -mon chardev=monitor
}

# The guest's processors stop, or go on; its devices drain.
monitor() {
    echo "$1" >"$dir/monitor.in"
}

count_is() {
    [ "$(guest 'ls -d /sys/block/sd* 2>/dev/null | wc -l')" = "$1" ]
}

lunar vm add web --controllers 4 >/dev/null
at_exit '"$top/tests/guest/guest" stop "$dir/guest"'
boot

step "$((4 * disks)) disks, as fast as they can be attached"
for ((i = 0; i < 4 * disks; i++)); do
    lunar disk create "$v/$i.vhd" --size 8M --type fixed >/dev/null
done
for ((i = 0; i < 4 * disks; i++)); do
    lunar attach web "$v/$i.vhd" --controller $((i % 4)) >/dev/null
done
wait_for 60 count_is $((4 * disks))
guest 'for d in /sys/block/sd*; do
        echo "$(cat $d/device/wwid)" > /dev/${d##*/} || exit 1
    done; sync
    for d in /sys/block/sd*; do
        read -r id < /dev/${d##*/}
        [ "$id" = "$(cat $d/device/wwid)" ] || exit 1
    done' 120
guest_is_calm

step "paused and continued, the driver unbound and bound, under load"
guest 'fio --name=load --filename=/dev/sda --rw=randrw --bs=4k --size=7m \
    --offset=64k --iodepth=16 --ioengine=libaio --direct=1 --time_based \
    --runtime=12 --verify=crc32c --verify_backlog=64 >/tmp/fio.out 2>&1 &
    echo started' >/dev/null
for _ in 1 2 3 4 5; do
    monitor stop
    sleep 0.3
    monitor cont
    sleep 0.3
done
guest 'cd /sys/bus/virtio/drivers/virtio_scsi || exit 1
    other=
    for d in virtio*; do
        ls -d $d/host*/target*/*/block/sda >/dev/null 2>&1 || other=$d
    done
    echo $other >unbind && echo $other >bind' 60
wait_for 60 count_is $((4 * disks))
guest 'while pidof fio >/dev/null; do sleep 0.2; done
    ! grep -iE "error|err= *[1-9]|verify:" /tmp/fio.out || cat /tmp/fio.out' 60

step "all out again, sixteen at a time"
for ((i = 0; i < 4 * disks; i += 16)); do # more clients are refused
    going=()
    for ((k = i; k < i + 16 && k < 4 * disks; k++)); do
        lunar detach web $((k / 4)) --controller $((k % 4)) &
        going+=($!)
    done
    for pid in "${going[@]}"; do
        wait "$pid" || fail "a disk stays"
    done
done
wait_for 30 count_is 0
guest_is_calm

step "QEMU killed in the middle of I/O: the next one finds its disks"
lunar attach web "$v/0.vhd" >/dev/null
guest_has sda
guest 'fio --name=load --filename=/dev/sda --rw=randwrite --bs=64k --size=7m \
    --iodepth=32 --ioengine=libaio --direct=1 --time_based --runtime=100 \
    >/tmp/fio.out 2>&1 & sleep 1'
kill -9 "$("$top/tests/guest/guest" pid "$dir/guest")"
"$top/tests/guest/guest" stop "$dir/guest"
boot
guest_has sda
guest 'dd if=/dev/sda of=/dev/null bs=1M 2>/dev/null'
lunar detach web 0
"$top/tests/guest/guest" stop "$dir/guest"
lunar vm remove web
stop_lunard
lunar check "file:$dir/alpha.lun" | grep -q clean
