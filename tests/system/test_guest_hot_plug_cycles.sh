#!/bin/bash
# tests/system/test_guest_hot_plug_cycles.sh - disks come and go many times
# while the guest uses another one on the same controller; nothing is left.
# SPDX-License-Identifier: LGPL-2.1-or-later
# CYCLES (default 5; 200 is what the promise says)
. "$(dirname "$0")/../lib/daemon.sh"
need fio
export GUEST_PROGRAMS=fio
cycles=${CYCLES:-5}

fds() {
    find "/proc/$lunard_pid/fd" -mindepth 1 | wc -l
}

start_lunard
new_volume alpha 1G
v=$root/alpha
lunar disk create "$v/busy.vhd" --size 128M
lunar disk create "$v/guest.vhd" --size 64M --type fixed
truncate -s 32M "$dir/pass.lun"
start_guest web
lunar attach web "$v/busy.vhd" --lun 0 >/dev/null
guest_has sda

step "a disk is busy meanwhile"
guest 'cd /tmp; fio --name=busy --filename=/dev/sda --size=100m --rw=randrw \
    --bs=4k-64k --direct=1 --ioengine=psync --verify=crc32c --time_based \
    --runtime=100000 >/tmp/fio.out 2>&1 & echo $! >/tmp/fio.pid'

step "$cycles times in and out"
lunar attach web "$v/guest.vhd" --lun 1 >/dev/null # the first one warms up
guest_has sdb
lunar detach web 1
guest_lost sdb
sleep 0.5
before=$(fds)
for ((i = 0; i < cycles; i++)); do
    disk=$v/guest.vhd
    [ $((i % 2)) = 0 ] || disk=file:$dir/pass.lun
    lunar attach web "$disk" --lun $((1 + i % 3)) >/dev/null
    guest_has sdb
    guest "echo cycle $i | dd of=/dev/sdb bs=512 conv=sync,fsync 2>/dev/null"
    lunar detach web $((1 + i % 3))
    guest_lost sdb
done
no_more_fds() { # those of the last command are about to go
    [ "$(fds)" -le "$before" ]
}
wait_for 5 no_more_fds
expect 1 sh -c "command lunar --socket '$dir/control.sock' status --json |
    jq '.disks | length'"

step "what the guest wrote is there; the busy disk saw no error"
guest 'kill "$(cat /tmp/fio.pid)"; sleep 1
    ! grep -i "verify:\|error\|err= *[1-9]" /tmp/fio.out'
guest_is_calm
[ $cycles -lt 2 ] || grep -aq "^cycle [0-9]*[13579]$" "$dir/pass.lun"
grep -aq "^cycle [0-9]*[02468]$" "$v/guest.vhd"
"$top/tests/guest/guest" stop "$dir/guest"
lunar detach web 0
lunar disk check "$v/busy.vhd" >/dev/null
stop_lunard
lunar check "file:$dir/alpha.lun" | grep -q clean
