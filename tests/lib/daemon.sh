# tests/lib/daemon.sh - what a system test with a daemon sources: a lunard of
# its own in $dir, started, stopped, killed.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   . "$(dirname "$0")/../lib/daemon.sh"     sources system.sh, too
#   start_lunard                the mount is $root, `lunar` talks to it
#   new_volume alpha 1G         a file LUN $dir/alpha.lun, formatted, added
#   stop_lunard; kill_lunard    by SIGTERM, and it must succeed; by SIGKILL
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
    lunard --config "$dir/lunar.conf" 2>>"$dir/lunard.log" &
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

new_volume() {
    truncate -s "$2" "$dir/$1.lun"
    lunar format "file:$dir/$1.lun" --name "$1"
    lunar volume add "file:$dir/$1.lun" >/dev/null
}

at_exit '[ -z "$lunard_pid" ] || kill -9 "$lunard_pid"'
