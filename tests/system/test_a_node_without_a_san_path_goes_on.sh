#!/bin/bash
# tests/system/test_a_node_without_a_san_path_goes_on.sh - the cable to the SAN
# is pulled on one of three nodes amid its I/O: nobody sees an error, what it
# writes goes by way of the coordinator, and straight to the LUN when the cable
# is back.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/nodes.sh"
need fio sha256sum
proxy=$top/build/${VARIANT:-release}/tools/tcp_proxy
[ -x "$proxy" ] || skip "$proxy is not built: make tools"

san=$((port + 5000)) # where node 2's cable ends
mkfifo "$dir/cable"
"$proxy" "$san" "$port" <"$dir/cable" >"$dir/cable.log" 2>&1 &
at_exit "kill $!"
exec 7>"$dir/cable"

node 1 -f
node 3
url=iscsi://127.0.0.1:$san/$iqn/1 # for node 2 alone
node 2 -g 1000

# Tell node 2 of its path; $direct and $redirected are what it has done so far.
path() {
    local lines
    lines=$(grep -c ^path "$dir/out2" || true)
    kill "-$1" "${pids[2]}"
    wait_for 5 eval '[ "$(grep -c ^path "$dir/out2")" -gt '"$lines"' ]'
    read -r _ _ _ direct _ redirected < <(tail -1 "$dir/out2")
}

# What all three read is what node 2 reads.
agree() {
    local n
    for n in 1 2 3; do
        (cd "$dir/$n/v" && find . -type f | sort | xargs sha256sum) \
            >"$dir/sums$n"
    done
    cmp "$dir/sums1" "$dir/sums2"
    cmp "$dir/sums3" "$dir/sums2"
}

write_and_verify() { # NAME
    fio --directory="$dir/2/v" --name="$1" --size=24m --rw=randwrite \
        --bsrange=4k-256k --ba=4k --direct=1 --ioengine=libaio --iodepth=8 \
        --fsync=16 --verify=crc32c --verify_state_save=0 --thread \
        --time_based --runtime="$2" >"$dir/fio.$1" 2>&1
}

step "the cable is pulled while node 2 writes and node 3 reads"
write_and_verify pulled 8 &
fio=$!
sleep 2
echo refuse >&7 # first: it logs in again at once
echo cut >&7
sleep 2 # it waits, for nobody has fenced the path
path USR1
[ "$redirected" = 0 ] || fail "$redirected ios were redirected too early"
wait "$fio" || fail "fio: $(cat "$dir/fio.pulled")"
path USR1
[ "$redirected" -gt 100 ] || fail "only $redirected ios were redirected"
agree

step "all that there is to do without a path"
was=$direct
echo "no cable" >"$dir/2/v/hello"
[ "$(cat "$dir/3/v/hello")" = "no cable" ] || fail "node 3 reads another"
truncate -s 5000 "$dir/2/v/hello"
fallocate -p -o 2 -l 3 "$dir/2/v/hello"
truncate -s 7 "$dir/2/v/hello"
truncate -s 100k "$dir/2/v/hello"
printf 'no\0\0\0bl' | cmp -n 7 - "$dir/1/v/hello"
cmp -i 7:0 -n 102393 "$dir/1/v/hello" /dev/zero
dd if=/dev/urandom of="$dir/2/v/big" bs=3M count=4 conv=fsync status=none
echo "by three" >>"$dir/3/v/big"
[ "$(tail -c 9 "$dir/2/v/big")" = "by three" ] || fail "an append is not there"
agree
path USR1
[ "$direct" = "$was" ] || fail "there were direct ios without a path"

step "the cable is back"
before=$(grep -c login "$dir/cable.log")
echo accept >&7
wait_for 60 eval '[ "$(grep -c login "$dir/cable.log")" -gt "$before" ]'
write_and_verify back 4 &
fio=$!
sleep 1
path USR2
was=$redirected
wait "$fio" || fail "fio: $(cat "$dir/fio.back")"
path USR2
[ "$direct" -gt 100 ] || fail "only $direct ios were direct"
agree

nodes_end
