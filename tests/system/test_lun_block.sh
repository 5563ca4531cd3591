#!/bin/bash
# tests/system/test_lun_block.sh - block devices as LUNs: 512-byte and 4 KiB
# blocks, exclusion of a second opener, and a device of 4 KiB blocks.
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
. "$(dirname "$0")/../lib/system.sh"

need_root
need losetup
tools=$top/build/${VARIANT:-release}/tools
[ -x "$tools/lun_exercise" ] || skip "make tools has not been run"

exercise() {
    timeout 60 "$tools/lun_exercise" "$@"
}

attach() { # FILE SECTOR-SIZE
    losetup --find --show --sector-size "$2" --direct-io=off "$1" 2>/dev/null
}

truncate -s 64M "$dir/small" "$dir/large"
dev512=$(attach "$dir/small" 512) || skip "no loop devices here"
at_exit "losetup -d $dev512"
dev4k=$(attach "$dir/large" 4096) || skip "no loop devices of 4 KiB blocks here"
at_exit "losetup -d $dev4k"

step "a device tells its block size"
exercise "$dev512" info >"$dir/info"
grep -qxF "block 512" "$dir/info" || fail "$(cat "$dir/info")"
exercise "$dev4k" info >"$dir/info"
grep -qxF "block 4096" "$dir/info" || fail "$(cat "$dir/info")"
grep -qxF "size 67108864" "$dir/info" || fail "$(cat "$dir/info")"
grep -qxF "product BLOCK DEVICE" "$dir/info" || fail "$(cat "$dir/info")"

step "ios of all kinds, misaligned memory among them"
exercise -r 2 -d 8 "$dev512" churn 2
exercise -r 2 -d 8 "$dev4k" churn 2

step "a second opener is refused and told who has it"
exercise "$dev4k" churn 3 &
load=$!
wait_for 3 sh -c "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q '$dev4k$'"
sleep 0.5
expect_fail "E_LUN_BUSY: $dev4k: already in use by pid" exercise "$dev4k" info
exercise -s "$dev4k" info >/dev/null
wait $load
