# tests/lib/nodes.sh - what a test of many nodes sources: one LUN of a real
# target and fsnode processes with a mount each, TLS between them; no daemon.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   . "$(dirname "$0")/../lib/nodes.sh"
#   node 1 -f            # formats; coordinates; its volume is $dir/1/v
#   node 2               # wait_for the process: ${pids[2]}
# shellcheck shell=bash
declare -F step >/dev/null || . "$(dirname "${BASH_SOURCE[0]}")/system.sh"
need_root
need tgtd tgtadm
[ -e /dev/fuse ] || skip "there is no /dev/fuse"
fsnode=$top/build/${VARIANT:-release}/tools/fsnode
[ -x "$fsnode" ] || skip "$fsnode is not built: make tools"

port=$((20000 + $$ % 10000))
control=$((port % 30000))
iqn=iqn.2026-11.test:nodes$$
url=iscsi://127.0.0.1:$port/$iqn/1
tgt() { tgtadm -C "$control" --lld iscsi "$@"; }

truncate -s 1G "$dir/lun"
tgtd -f -C "$control" --iscsi portal=127.0.0.1:$port >"$dir/tgtd.log" 2>&1 &
at_exit "kill -9 $!" # it does not hear SIGTERM while a target exists
wait_for 5 tgt --mode target --op show
tgt --mode target --op new --tid 1 -T "$iqn"
tgt --mode logicalunit --op new --tid 1 --lun 1 -b "$dir/lun"
tgt --mode target --op bind --tid 1 -I ALL

(umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dir/key")
wire=$((port + 10000)) # and the two after it
pids=()

# node N OPTION…: of three; 1 coordinates, and obeys what is written to $orders.
mkfifo "$dir/orders"
exec {orders}<>"$dir/orders"
node() {
    local n=$1 other peers=()
    shift
    mkdir -p "$dir/$n"
    for other in 1 2 3; do
        [ "$other" = "$n" ] ||
            peers+=(-p "$other=127.0.0.1:$((wire + other))")
    done
    rm -f "$dir/out$n"
    "$fsnode" -n "$n" -c 1 -l "127.0.0.1:$((wire + n))" -k "$dir/key" \
        "${peers[@]}" "$@" "$url" "$dir/$n" \
        <&"$orders" >>"$dir/out$n" 2>>"$dir/node$n.log" &
    pids[n]=$!
    at_exit "kill -9 $!"
    wait_for 20 grep -q ready "$dir/out$n"
}

# End all in good order, and find the volume sound.
nodes_end() {
    local n
    for n in 3 2 1; do
        kill "${pids[n]}"
        wait "${pids[n]}" || fail "node $n ended with status $?"
    done
    "$bin/lunar" check "file:$dir/lun" >"$dir/check" ||
        fail "$(cat "$dir/check")"
}
