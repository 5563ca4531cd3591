#!/bin/bash
# tests/system/test_guest_survives_lunard.sh - lunard is killed under load and
# upgraded; its guests wait, and see no error (lunard --holder).
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/daemon.sh"
need pgrep

child() {
    pgrep -P "$holder_pid"
}

# A child other than $1 answers.
new_child() {
    local pid
    pid=$(child) && [ "$pid" != "$1" ] && lunar status
}

write_config
lunard --config "$dir/lunar.conf" --holder 2>>"$dir/lunard.log" &
holder_pid=$!
at_exit 'kill -9 "$(child)" "$holder_pid"'
wait_for 20 lunar status
new_volume alpha 1G
lunar disk create "$root/alpha/a.vhd" --size 256M
start_guest web
lunar attach web "$root/alpha/a.vhd" >/dev/null
guest_has sda
guest 'set -e
    mkfs.ext4 -q -E nodiscard /dev/sda
    mount -t ext4 /dev/sda /mnt'
guest '(i=0; while [ $i -lt 300 ]; do
        echo line $i >>/mnt/log || echo failed >>/tmp/errors
        sync
        i=$((i + 1))
    done; echo done >/tmp/done) >/dev/null 2>>/tmp/errors &'

for signal in KILL KILL SEGV; do
    step "SIG$signal"
    old=$(child)
    kill -$signal "$old"
    wait_for 20 new_child "$old"
    guest 'wc -l </mnt/log' >/dev/null || fail "the guest is stuck"
done

step "an upgrade: SIGHUP to the holder"
old=$(child)
kill -HUP "$holder_pid"
wait_for 20 new_child "$old"

step "the guest has written everything and noticed nothing"
guest 'until [ -e /tmp/done ]; do sleep 0.2; done' 120
expect 300 guest 'wc -l </mnt/log'
guest '! [ -s /tmp/errors ]'
guest 'umount /mnt && fsck.ext4 -fn /dev/sda >/dev/null'
guest_is_calm
lunar detach web 0
guest_lost sda

step "an orderly end"
"$top/tests/guest/guest" stop "$dir/guest"
kill "$holder_pid"
wait "$holder_pid" || fail "the holder ended with status $?"
lunar check "file:$dir/alpha.lun" | grep -q clean
