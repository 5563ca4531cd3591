# tests/lib/mount.sh - what a test of the mount sources: a volume on $m, served
# by fsmount, without a daemon around it.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   . "$(dirname "$0")/../lib/mount.sh"
#   serve -f            # format $dir/lun and serve it; the volume is $v
#   unserve             # stop in an orderly way; serve again without -f
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/system.sh"
need_root
[ -e /dev/fuse ] || skip "there is no /dev/fuse"

fsmount=$top/build/${VARIANT:-release}/tools/fsmount
[ -x "$fsmount" ] || skip "$fsmount is not built: make tools"
m=$dir/mnt v=$dir/mnt/v server=
mkdir "$m"
chmod 755 "$dir" # some come as other users
truncate -s 1G "$dir/lun"

serve() {
    rm -f "$dir/out" # an earlier one has said "ready" there
    "$fsmount" "$@" "file:$dir/lun" "$m" >"$dir/out" 2>>"$dir/fsmount.log" &
    server=$!
    at_exit "kill -9 $server"
    wait_for 20 grep -q ready "$dir/out"
    grep -q " $m fuse.lunar " /proc/mounts || fail "it is not mounted"
}

unserve() {
    rm -f "$dir/out" # an earlier one has said "ready" there
    kill "$server"
    wait "$server" || fail "fsmount ended with status $?"
    ! grep -q " $m " /proc/mounts || fail "it is still mounted"
}
