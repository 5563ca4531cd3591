# tests/lib/daemon.sh - what a system test with a daemon sources: a lunard of
# its own in $dir, started, stopped, killed.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   . "$(dirname "$0")/../lib/daemon.sh"     sources system.sh, too
#   start_lunard                the mount is $root, `lunar` talks to it
#   new_volume alpha 1G         a file LUN $dir/alpha.lun, formatted, added
#   start_lunard --holder       lunard_pid is the holder's
#   stop_lunard; kill_lunard    by SIGTERM, and it must succeed; by SIGKILL
#   kill_child                  by SIGKILL the daemon, not its holder
# shellcheck shell=bash disable=SC2154

. "$(dirname "${BASH_SOURCE[0]}")/system.sh"
need_root

root=$dir/root
lunard_pid=

lunar() {
    command lunar --socket "$dir/control.sock" "$@"
}

write_config() {
    cat >"$dir/lunar.conf" <<END
[host]
name = host-a
root = $root
control = $dir/control.sock
state = $dir/state
run = $dir/run
END
}

start_lunard() {
    [ -e "$dir/lunar.conf" ] || write_config
    lunard --config "$dir/lunar.conf" "$@" 2>>"$dir/lunard.log" &
    lunard_pid=$!
    wait_for 20 lunar status
}

stop_lunard() {
    kill "$lunard_pid"
    wait "$lunard_pid" || fail "lunard ended with status $?"
}

kill_lunard() {
    kill -9 "$lunard_pid"
    wait "$lunard_pid" || true
}

kill_child() {
    kill -9 "$(pgrep -P "$lunard_pid")"
}

new_volume() {
    truncate -s "$2" "$dir/$1.lun"
    lunar format "file:$dir/$1.lun" --name "$1"
    lunar volume add "file:$dir/$1.lun" >/dev/null
}

at_exit '[ -z "$lunard_pid" ] || kill -9 "$lunard_pid"'

# -- a guest ------------------------------------------------------------------
#   start_guest web [N]     VM web with N controllers (1), booted
#   guest COMMAND [SECONDS] inside; output and status are the command's
#   guest_has sda; guest_lost sda    wait for the disk to come, to go
#   guest_is_calm           its kernel has said nothing of level err or worse

start_guest() {
    local options=() i

    need qemu-system-x86_64 cpio
    lunar vm add "$1" --controllers "${2:-1}" >/dev/null
    for ((i = 0; i < ${2:-1}; i++)); do
        options+=(-chardev "socket,id=c$i,path=$dir/run/$1/$i.sock"
            -device "vhost-user-scsi-pci,chardev=c$i")
    done
    at_exit '"$top/tests/guest/guest" stop "$dir/guest"'
    "$top/tests/guest/guest" start "$dir/guest" "${options[@]}"
}

guest() {
    "$top/tests/guest/guest" run "$dir/guest" "$@"
}

guest_has() {
    guest "until [ -b /dev/$1 ]; do usleep 10000; done" 15 ||
        fail "the guest has no /dev/$1"
}

guest_lost() {
    guest "while [ -b /dev/$1 ]; do usleep 10000; done" 15 ||
        fail "the guest still has /dev/$1"
}

guest_is_calm() {
    local said
    said=$(guest 'dmesg -r | grep "^<[0-3]>" || true')
    [ -z "$said" ] || fail "the guest's kernel says: $said"
}
