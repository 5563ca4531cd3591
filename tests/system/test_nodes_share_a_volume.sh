#!/bin/bash
# tests/system/test_nodes_share_a_volume.sh - one LUN of a real target, three
# processes with a mount each, TLS between them: the same files everywhere, at
# once, and direct I/O from all.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/system.sh"
need_root
need tgtd tgtadm fio sha256sum
[ -e /dev/fuse ] || skip "there is no /dev/fuse"
fsnode=$top/build/${VARIANT:-release}/tools/fsnode
[ -x "$fsnode" ] || skip "$fsnode is not built: make tools"

# -- a target, a key, three nodes ------------------------------------------
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

# node N OPTION…: its volume is $dir/N/v.
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
        "${peers[@]}" "$@" "$url" "$dir/$n" >"$dir/out$n" 2>>"$dir/log$n" &
    pids[n]=$!
    at_exit "kill -9 $!"
    wait_for 20 grep -q ready "$dir/out$n"
}

node 1 -f
node 2
node 3

step "a file written on one node is read on the others at once"
for writer in 1 2 3; do
    echo "written on $writer" >"$dir/$writer/v/hello"
    for reader in 1 2 3; do
        [ "$(cat "$dir/$reader/v/hello")" = "written on $writer" ] ||
            fail "node $reader does not read what $writer wrote"
    done
done

step "names, sizes and modes are the same everywhere at once"
for n in 1 2 3; do
    mkdir "$dir/$n/v/d$n"
    for other in 1 2 3; do
        [ -d "$dir/$other/v/d$n" ] || fail "d$n is not on $other"
    done
    truncate -s 12345$n "$dir/$n/v/d1/size"
    chmod 60$n "$dir/$n/v/d1/size"
    for other in 1 2 3; do
        [ "$(stat -c '%s %a' "$dir/$other/v/d1/size")" = "12345$n 60$n" ] ||
            fail "node $other sees other attributes than $n has set"
    done
    mv "$dir/$n/v/d1/size" "$dir/$n/v/d1/moved"
    mv "$dir/$((n % 3 + 1))/v/d1/moved" "$dir/$n/v/d1/size"
done

step "appends from all nodes, one after the other, lose nothing"
for i in $(seq 60); do
    echo "line $i" >>"$dir/$((i % 3 + 1))/v/log"
done
seq -f 'line %g' 60 | cmp - "$dir/2/v/log"

step "fio verifies on all nodes at the same time, each its own files"
for n in 1 2 3; do
    fio --directory="$dir/$n/v/d$n" --name=own --size=12m --rw=randwrite \
        --bsrange=4k-256k --ba=4k --direct=1 --ioengine=libaio --iodepth=8 \
        --numjobs=2 --verify=crc32c --verify_state_save=0 --thread \
        >"$dir/fio$n.log" 2>&1 &
    fios[n]=$!
done
for n in 1 2 3; do
    wait "${fios[n]}" || fail "fio on node $n"
done
for n in 1 2 3; do
    (cd "$dir/$n/v" && find . -type f | sort | xargs sha256sum) >"$dir/sums$n"
    cmp "$dir/sums1" "$dir/sums$n"
done

step "three writers of one file, each its own blocks"
truncate -s 6M "$dir/1/v/shared"
for n in 1 2 3; do
    fio --filename="$dir/$n/v/shared" --name=shared --rw=randwrite --bs=4k \
        --offset=$(((n - 1) * 2))m --size=2m --direct=1 --ioengine=libaio \
        --iodepth=4 --verify=crc32c --verify_state_save=0 --thread \
        --io_size=64k >"$dir/fio$n.log" 2>&1 &
    fios[n]=$!
done
for n in 1 2 3; do
    wait "${fios[n]}" || fail "fio of the shared file on node $n"
done
cmp "$dir/1/v/shared" "$dir/3/v/shared"

step "a node that goes and comes finds everything; the volume is sound"
kill "${pids[2]}"
wait "${pids[2]}" || fail "node 2 ended with status $?"
echo "while two is away" >"$dir/3/v/hello"
node 2
[ "$(cat "$dir/2/v/hello")" = "while two is away" ] || fail "old news on 2"
for n in 3 2 1; do
    kill "${pids[n]}"
    wait "${pids[n]}" || fail "node $n ended with status $?"
done
"$bin/lunar" check "file:$dir/lun" >"$dir/check" || fail "$(cat "$dir/check")"
