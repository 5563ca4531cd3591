#!/bin/bash
# tests/system/test_iscsi_volume_has_one_host.sh - a volume on a LUN that many
# hosts can reach is used by one: another host, and another lunard here, are
# told who has it; the one that has it comes back after a crash.
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
. "$(dirname "$0")/../lib/daemon.sh"
need tgtd tgtadm

port=$((20000 + $$ % 10000))
control=$((port % 30000))
url=iscsi://127.0.0.1:$port/iqn.2026-11.test:one$$/1

tgt() {
    tgtadm -C "$control" --lld iscsi "$@"
}

truncate -s 512M "$dir/disk"
tgtd -f -C "$control" --iscsi portal=127.0.0.1:"$port" >"$dir/tgtd.log" 2>&1 &
at_exit "kill -9 $!" # it does not hear SIGTERM while a target exists
wait_for 5 tgt --mode target --op show
tgt --mode target --op new --tid 1 -T "iqn.2026-11.test:one$$"
tgt --mode logicalunit --op new --tid 1 --lun 1 -b "$dir/disk"
tgt --mode target --op bind --tid 1 -I ALL

# A second daemon, of that name; `other` is the command for it.
other_pid=
at_exit '[ -z "$other_pid" ] || kill -9 "$other_pid"'
start_other() { # HOST
    mkdir -p "$dir/other"
    sed "s|$dir|$dir/other|; s|host-a|$1|" "$dir/lunar.conf" \
        >"$dir/other/lunar.conf"
    lunard --config "$dir/other/lunar.conf" 2>>"$dir/other.log" &
    other_pid=$!
    wait_for 20 other status
}
stop_other() {
    kill "$other_pid"
    wait "$other_pid" || fail "the other lunard ended with status $?"
    other_pid=
}
other() {
    command lunar --socket "$dir/other/control.sock" "$@"
}

start_lunard
lunar format "$url" --name alpha
lunar volume add "$url"
echo kept >"$root/alpha/file"
sync "$root/alpha/file"

step "a second lunard of this host is refused"
start_other host-a
expect_fail "already in use by a process of this host" other volume add "$url"
stop_other
echo more >>"$root/alpha/file"

step "another host is told who has it, also after a crash of that one"
kill_lunard
start_other host-b
expect_fail 'host "host-a" (node 1) coordinates' other volume add "$url"

step "the host itself comes back, and finds all"
umount -l "$root"
start_lunard
wait_for 10 grep -q kept "$root/alpha/file"
lunar volume remove alpha

step "what was given up is free for the other"
other volume add "$url"
grep -q kept "$dir/other/root/alpha/file"
stop_other
stop_lunard
lunar check "$url" | grep -q clean
