#!/bin/bash
# tests/system/test_mount_ends_and_starts_again.sh - a mount in use, a mount
# whose server was killed, a mount point that is none.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/mount.sh"

serve -f

step "a mount in use is left by its users with an error, not with a hang"
exec 3>"$v/open"
echo text >&3
unserve
! echo more >&3 2>/dev/null || fail "writing to a mount that is gone"
exec 3>&-
serve
expect text cat "$v/open"

step "it ends while the LUN still works for its users"
truncate -s 1M "$v/busy"
sync "$v/busy"
unserve
serve -d 300
for ((i = 0; i < 20; i++)); do
    dd if=/dev/zero of="$v/busy" bs=4k count=1 seek="$i" oflag=direct \
        conv=notrunc status=none 2>/dev/null &
    dd if="$v/busy" bs=4k count=1 skip="$i" iflag=direct status=none \
        >/dev/null 2>&1 &
done
sleep 0.15
unserve
wait
serve -d 300

step "a file is truncated by its name while it is closed"
head -c 100000 /dev/urandom >"$v/cut"
sync "$v/cut"
exec 3<"$v/cut"
perl -e 'truncate($ARGV[0], 5000) or die "$!"' "$v/cut" 3<&- &
sleep 0.1
exec 3<&-
wait $!
expect 5000 stat -c %s "$v/cut"
unserve
serve

step "what was synced and what was named is there after kill -9"
echo kept >"$v/kept"
sync "$v/kept"
mkdir "$v/dir"
kill -9 "$server"
wait "$server" 2>/dev/null || true
! ls "$m" 2>"$dir/err" || fail "a mount without a server lists something"
grep -q 'not connected' "$dir/err"

step "the dead mount is cleared by the next start"
serve
grep -q 'dead mount' "$dir/fsmount.log"
expect kept cat "$v/kept"
[ -d "$v/dir" ]

step "a second server is refused"
expect_fail "$dir/lun" "$fsmount" "file:$dir/lun" "$m"
unserve

step "mount points that are none"
expect_fail "$dir/none" "$fsmount" "file:$dir/lun" "$dir/none"
touch "$dir/plain"
expect_fail 'not a directory' "$fsmount" "file:$dir/lun" "$dir/plain"
mount -t tmpfs none "$m"
expect_fail 'mounted there already' "$fsmount" "file:$dir/lun" "$m"
umount "$m"
