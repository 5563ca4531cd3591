#!/bin/bash
# tests/system/test_cli_disks.sh - lunar disk makes what others read, through
# the mount and beside it; volumes grow in use.
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
. "$(dirname "$0")/../lib/daemon.sh"
need jq qemu-img

info() {
    lunar disk info "$1" --json | jq -r ".$2"
}

attached_size() {
    lunar status --json | jq '.disks[0].size'
}

start_lunard
new_volume alpha 512M
v=$root/alpha

step "fixed and dynamic, as qemu-img sees them"
lunar disk create "$v/fixed.vhd" --size 16M --type fixed
lunar disk create "$v/dyn.vhd" --size 1G
for name in fixed dyn; do
    lunar disk check "$v/$name.vhd" | grep -q sound
    expect vpc sh -c \
        "qemu-img info --output json -f vpc '$v/$name.vhd' | jq -r .format"
done
expect $((1 << 30)) info "$v/dyn.vhd" size
expect dynamic info "$v/dyn.vhd" type
expect 0 info "$v/dyn.vhd" blocks_allocated
truncate -s 16M "$dir/zeros"
qemu-img compare -q -f vpc -F raw "$v/fixed.vhd" "$dir/zeros"

step "what QEMU writes, we read"
head -c 5M /dev/urandom >"$dir/raw"
truncate -s 64M "$dir/raw"
qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on \
    "$dir/raw" "$v/q.vhd"
lunar disk check "$v/q.vhd" >/dev/null
qemu-img compare -q -f vpc -F raw "$v/q.vhd" "$dir/raw"
expect 3 info "$v/q.vhd" blocks_allocated

step "a differencing disk on it"
lunar disk create "$v/child.vhd" --parent "$v/q.vhd"
expect differencing info "$v/child.vhd" type
expect "$v/q.vhd" info "$v/child.vhd" parent
expect 2 info "$v/child.vhd" chain_files
lunar disk check "$v/child.vhd" >/dev/null
if command -v vhdiinfo >/dev/null; then
    vhdiinfo "$v/child.vhd" | grep 'Differential' >/dev/null
fi

step "a chain is attached, and its parent cannot be taken"
lunar vm add web >/dev/null
lunar vm add other >/dev/null
lunar attach web "$v/child.vhd" >/dev/null
expect_fail 'held by' lunar attach other "$v/q.vhd"
lunar attach other "$v/q.vhd" --read-only >/dev/null
lunar detach other 0

step "not by its own VM either, nor under another name"
expect_fail 'vm web uses it' lunar attach web "$v/q.vhd"
ln "$v/child.vhd" "$v/hard.vhd"
expect_fail 'vm web uses it' lunar attach web "$v/hard.vhd"

step "a parent is held until the last child of the VM lets go of it"
lunar disk create "$v/child2.vhd" --parent "$v/q.vhd"
lunar attach web "$v/child2.vhd" >/dev/null
lunar detach web 0
expect_fail 'held by' lunar attach other "$v/q.vhd"
lunar detach web 1
lunar attach other "$v/q.vhd" >/dev/null
lunar detach other 0
rm "$v/hard.vhd"

step "resize: a file, and a disk that is attached"
lunar disk resize "$v/dyn.vhd" --size 2G
expect $((2 << 30)) info "$v/dyn.vhd" size
lunar attach web "$v/dyn.vhd" >/dev/null
lunar disk resize "$v/dyn.vhd" --size 3G
expect $((3 << 30)) attached_size
expect_fail 'only grows' lunar disk resize "$v/dyn.vhd" --size 1G
lunar detach web 0
expect $((3 << 30)) info "$v/dyn.vhd" size
lunar disk check "$v/dyn.vhd" >/dev/null

step "while a disk is attached nobody else writes its file"
lunar attach web "$v/fixed.vhd" >/dev/null
! echo x 2>/dev/null >>"$v/fixed.vhd" || fail "written under the handle"
! rm "$v/fixed.vhd" 2>/dev/null || fail "unlinked under the handle"
lunar detach web 0
echo x >>"$v/dyn.vhd"

step "a disk beside the mount"
lunar disk create "$dir/out.vhd" --size 8M
lunar disk check "$dir/out.vhd" >/dev/null
expect_fail 'not below' lunar attach web "$dir/out.vhd"
expect_fail "$dir/none.vhd" \
    lunar disk create "$dir/x.vhd" --parent "$dir/none.vhd"
[ ! -e "$dir/x.vhd" ] || fail "a failed create left a file"
expect_fail 'size' lunar disk create "$dir/x.vhd" --size 0
printf 'garbage' | dd of="$dir/out.vhd" conv=notrunc status=none
dd if=/dev/zero of="$dir/out.vhd" bs=512 seek=$(($(stat -c %s \
    "$dir/out.vhd") / 512 - 1)) count=1 conv=notrunc status=none
expect_fail "$dir/out.vhd" lunar disk info "$dir/out.vhd"

step "what cannot grow says why"
lunar disk create "$dir/p.vhd" --size 8M
lunar disk create "$dir/c.vhd" --parent "$dir/p.vhd"
lunar disk resize "$dir/p.vhd" --size 10M
expect_fail 'its parent has 10485760 bytes' \
    lunar disk resize "$dir/c.vhd" --size 12M
expect_fail 'only grows' lunar disk resize "$dir/p.vhd" --size 1M
expect_fail '2040 GiB' lunar disk resize "$dir/p.vhd" --size 3T
lunar disk create "$dir/f.vhd" --size 1M --type fixed
expect_fail 'too many' \
    lunar disk resize "$dir/f.vhd" --size 9223372036854775296
expect $((1 << 20)) info "$dir/f.vhd" size

step "check says what is wrong, to people and programs"
printf x | dd of="$dir/p.vhd" bs=1 seek=20 conv=notrunc status=none
expect_fail 'use --repair' lunar disk check "$dir/p.vhd"
verdict() { # JQ-FILTER [OPTION]: exit status 1 is a verdict, too
    { lunar disk check "$dir/p.vhd" --json "${@:2}" 2>/dev/null || :; } |
        jq -r "$1"
}
expect 'footer at 0: checksum' verdict '.problems[0].text[0:21]'
expect repairable verdict '.problems[0].damage'
expect true verdict .sound --repair
expect '[]' verdict .problems

step "the volume grows in use"
before=$(lunar status --json | jq '.volumes[0].size')
expect_fail 'alpha' lunar volume grow alpha
truncate -s 1G "$dir/alpha.lun"
lunar volume grow alpha
after=$(lunar status --json | jq '.volumes[0].size')
[ "$after" -gt "$before" ] || fail "the volume has $after bytes, as before"
head -c 700M /dev/zero >"$v/large"
stop_lunard
lunar check "file:$dir/alpha.lun" | grep -q clean
