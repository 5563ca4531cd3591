#!/bin/bash
# tests/system/test_cli_survives_restarts.sh - volumes, VMs and disks are there
# again after an orderly end, a kill -9 and a LUN that was away.
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
. "$(dirname "$0")/../lib/daemon.sh"
need jq

volume_state() {
    lunar status --json | jq -r ".volumes[] | select(.name == \"$1\") | .state"
}

disk_state() {
    lunar status --json | jq -r ".disks[] | select(.path == \"$1\") | .state"
}

step "an orderly end leaves nothing behind"
start_lunard
new_volume alpha 512M
new_volume beta 256M
echo kept >"$root/alpha/file"
lunar disk create "$root/alpha/a.vhd" --size 64M
lunar disk create "$root/beta/b.vhd" --size 16M --type fixed
lunar vm add web --controllers 2 >/dev/null
lunar attach web "$root/alpha/a.vhd" --lun 5 >/dev/null
lunar attach web "$root/beta/b.vhd" --controller 1 --read-only >/dev/null
stop_lunard
[ ! -e "$dir/control.sock" ] || fail "the control socket is there still"
[ ! -e "$dir/run/web" ] || fail "the controllers' sockets are there still"
! mountpoint -q "$root" || fail "$root is mounted still"
lunar check "file:$dir/alpha.lun" | grep -q clean

step "after a restart all is as it was"
incarnation=$(jq .incarnation "$dir/state/host.json")
start_lunard
expect kept cat "$root/alpha/file"
expect attached disk_state "$root/alpha/a.vhd"
expect attached disk_state "$root/beta/b.vhd"
lunar status --json | jq -e '.disks[] | select(.lun == 5) |
    .controller == 0 and .mode == "EX" and .kind == "vhd"' >/dev/null
[ -S "$dir/run/web/1.sock" ] || fail "no socket of controller 1"
expect $((incarnation + 1)) jq .incarnation "$dir/state/host.json"

step "kill -9, and again"
echo more >"$root/alpha/more"
kill_lunard
start_lunard
expect kept cat "$root/alpha/file"
expect attached disk_state "$root/alpha/a.vhd"
stop_lunard
lunar check "file:$dir/alpha.lun" | grep -q clean

step "a LUN that is away is Offline with a reason, its disks failed"
mv "$dir/beta.lun" "$dir/away"
start_lunard
expect Direct volume_state alpha
expect Offline volume_state beta
lunar volume list | grep -A1 '^beta' | grep -q "beta.lun.*No such file"
expect failed disk_state "$root/beta/b.vhd"
lunar status --json | jq -e '.disks[] | select(.state == "failed") |
    .reason | contains("volume beta")' >/dev/null
expect_fail 'beta.lun' lunar volume resume beta
mv "$dir/away" "$dir/beta.lun"
lunar volume resume beta
expect Direct volume_state beta
expect attached disk_state "$root/beta/b.vhd"

step "another volume on the LUN is not taken for the one that was"
lunar detach web 0 --controller 1
lunar volume pause beta
expect Paused volume_state beta
[ ! -e "$root/beta" ] || fail "a paused volume is to be seen"
lunar check "file:$dir/beta.lun" --repair | grep -q clean
cp "$dir/beta.lun" "$dir/beta.copy"
lunar format "file:$dir/beta.lun" --name beta --force
expect_fail 'another one than was added' lunar volume resume beta
cp "$dir/beta.copy" "$dir/beta.lun"

step "paused stays paused over a restart"
lunar volume resume beta
lunar volume pause beta
stop_lunard
start_lunard
expect Paused volume_state beta
lunar volume resume beta
[ -e "$root/beta/b.vhd" ] || fail "the volume is not back"
lunar volume remove beta
expect '' volume_state beta

step "nothing is done that cannot be remembered"
stop_lunard
cp -r "$dir/state" "$dir/state.copy"
mount -t tmpfs -o size=64k none "$dir/state"
cp "$dir"/state.copy/* "$dir/state"
start_lunard
lunar vm add two >/dev/null
lunar disk create "$root/alpha/c.vhd" --size 16M
dd if=/dev/zero of="$dir/state/full" bs=4096 2>/dev/null || true
full="vms.json.new: No space left on device"
expect_fail "$full" lunar vm add three
expect_fail "$full" lunar vm remove two
expect_fail "$full" lunar attach two "$root/alpha/c.vhd"
expect '' disk_state "$root/alpha/c.vhd"
expect_fail "volumes.json.new: No space" lunar volume add "file:$dir/beta.lun"
expect '' volume_state beta
[ ! -e "$dir/state/vms.json.new" ] || fail "the attempt lies about"
rm "$dir/state/full"
lunar attach two "$root/alpha/c.vhd" >/dev/null
lunar volume add "file:$dir/beta.lun" >/dev/null
dd if=/dev/zero of="$dir/state/full" bs=4096 2>/dev/null || true
expect_fail 'closed, but not forgotten' lunar volume remove beta
expect Offline volume_state beta
expect_fail 'detached, but after a restart as before' lunar detach two 0
rm "$dir/state/full"
lunar volume remove beta
lunar vm remove two
stop_lunard
cp "$dir"/state/* "$dir/state.copy"
umount "$dir/state"
cp "$dir"/state.copy/* "$dir/state"
start_lunard

# Its first incarnation is the time in seconds; of here there were several in
# one second, which nobody does.
clock_is_later() {
    [ "$(date +%s)" -gt "$(jq .incarnation "$dir/state.lost/host.json")" ]
}

step "a host that lost its state is not kept from its disks by its former self"
kill_lunard
mv "$dir/state" "$dir/state.lost"
wait_for 30 clock_is_later
start_lunard
lunar volume add "file:$dir/alpha.lun" >/dev/null
lunar vm add fresh >/dev/null
lunar attach fresh "$root/alpha/a.vhd" >/dev/null
stop_lunard
rm -r "$dir/state"
mv "$dir/state.lost" "$dir/state"
start_lunard

step "state that is damaged is refused, not ignored"
stop_lunard
cp "$dir/state/vms.json" "$dir/vms.json"
refuses_to_start() {
    ! lunard --config "$dir/lunar.conf" 2>"$dir/err" || fail "it started"
    tail -n 1 "$dir/err" | grep -qF "$1" || fail "says $(cat "$dir/err")"
    ! mountpoint -q "$root" || fail "$root is mounted still"
}
echo '{"version": 1, "vms": [{"name": "web"}]}' >"$dir/state/vms.json"
refuses_to_start 'vms.json: a VM without'
echo '{' >"$dir/state/vms.json"
refuses_to_start 'vms.json:'
cp "$dir/vms.json" "$dir/state/vms.json"
start_lunard
expect attached disk_state "$root/alpha/a.vhd"
stop_lunard
