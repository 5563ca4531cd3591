#!/bin/bash
# tests/system/test_nodes_share_a_volume.sh - one LUN of a real target, three
# processes with a mount each, TLS between them: the same files everywhere, at
# once, and direct I/O from all.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/nodes.sh"
need fio sha256sum

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

step "who opens a file that another makes just now, opens it"
for i in $(seq 40); do
    for n in 1 2 3; do
        echo "$n" >>"$dir/$n/v/d1/new$i" 2>>"$dir/errors" &
        writers[n]=$!
    done
    for n in 1 2 3; do
        wait "${writers[n]}" || fail "node $n: $(cat "$dir/errors")"
    done
done

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
nodes_end
