#!/bin/bash
# tests/system/test_lab_proxy_holds_a_late_write.sh - the proxy before the SAN:
# a held write has no answer and no effect, and lands when released; that of a
# dead host lands, too; that of a fenced host is refused by the LUN.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/lab.sh"

says() { # TEXT COMMAND…: prints that, whatever its exit status
    local want=$1 got
    shift
    got=$("$@" 2>>"$dir/trouble.log") || true
    [ "$got" = "$want" ] || fail "$*: printed \"$got\", not \"$want\""
}

held() { # HOST NAME
    lab san pending "$1" | grep -q "^$1 held $2"
}

none_pending() {
    [ -z "$(lab san pending)" ]
}

recorded() { # WORDS
    lab san log | grep -q "$1" || fail "not recorded: $1"
}

# What is at an LBA of the LUN, past all that could keep it.
block() { # LUN LBA
    dd if="$LAB_DIR/san/lun$1" bs=512 skip="$2" count=1 status=none
}

# A direct write of $1 to a file of h2's volume is held: $lba is where.  It is
# not the first one there: opening, and that, write metadata, too.
hold_write() {
    rm -f "$dir/go"
    mkfifo "$dir/go"
    on h2 bash -c 'exec 3<>/ClusterStorage/alpha/disk
        block() {
            yes "$1" | dd bs=4k count=1 iflag=fullblock oflag=direct \
                status=none >&3
        }
        block first
        echo ready
        read -r _
        block "$1"' writer "$1" <"$dir/go" >"$dir/said" || : & # may be killed
    exec 7>"$dir/go"
    wait_for 10 grep -q ready "$dir/said"
    lab san hold h2 write
    echo >&7
    wait_for 10 held h2 "WRITE(16)"
    lba=$(lab san pending h2 | sed -n 's/.* lba=\([0-9]*\) .*/\1/p')
}

landed() { # TEXT
    block 2 "$lba" | grep -qaxF "$1"
}

lab up 2 --luns 2

step "what goes by is recorded"
says ok exercise h1 1 write 4096 1
recorded "h1 done WRITE(16) lba=8 blocks=1 opcode=8a .* status=00 ms="

step "a held write has no answer and no effect, and lands when released"
lab san hold h2 write
exercise h2 1 write 4096 2 >"$dir/wrote" &
write=$!
wait_for 10 held h2 "WRITE(16) lba=8 blocks=1"
before=$(block 1 8 | base64)
sleep 0.2 # it could land now
[ "$(block 1 8 | base64)" = "$before" ] || fail "it has landed"
kill -0 $write || fail "the write was answered"
lab san release h2
wait $write
expect ok cat "$dir/wrote"
says ok exercise h1 1 verify 4096 2
recorded "h2 sent WRITE(16) lba=8"

step "reads of that host, and writes of others, go by a held write"
lab san hold h2 write
on h2 lun_exercise -d 16 "$(lab url 1)" churn 3 >"$dir/churned" &
churn=$!
wait_for 10 held h2 WRITE
says ok exercise h1 2 write 0 1
lab san delay h2 1ms
lab san release h2 write
wait $churn
grep -qE ' 0 failed, 0 bad$' "$dir/churned" || fail "$(cat "$dir/churned")"

step "delayed writes take that long"
lab san delay h1 300ms write
start_ms=$(($(date +%s%N) / 1000000))
says ok exercise h1 1 write 8192 3
[ $(($(date +%s%N) / 1000000 - start_ms)) -ge 300 ] || fail "it was faster"
lab san release all

step "the late write of a host that is dead lands"
on h2 lunar format "$(lab url 2)" --name alpha
on h2 lunar volume add "$(lab url 2)"
on h2 sh -c 'yes old | head -c 1M >/ClusterStorage/alpha/disk
    sync /ClusterStorage/alpha/disk'
hold_write new
lab kill h2
! landed new || fail "it has landed"
lab san release h2
wait_for 10 landed new
lab start h2

step "a connection that was dropped: what was sent on it goes on"
before=$(block 1 24 | base64)
lab san hold h2 write
exercise h2 1 pr keys write,3000,4 >"$dir/wrote" &
write=$!
wait_for 10 held h2 "WRITE(16) lba=24"
lab stop h2 # or it would log in again, which ends the old session
lab san drop h2
lab san release h2
wait_for 10 none_pending
[ "$(block 1 24 | base64)" != "$before" ] || fail "it has not landed"
lab cont h2
wait $write

step "the late write of a host that is fenced is refused"
before=$(block 1 8 | base64)
lab san hold h2 write
{ exercise h2 1 pr register,0,bb write,1000,5 || :; } >"$dir/wrote" &
write=$!
wait_for 10 held h2 "WRITE(16) lba=8"
says "register: ok
reserve: ok
preempt: ok
reset: ok
keys: ok aa" exercise h1 1 pr register,0,aa reserve,aa,0,6 preempt,aa,bb,6 \
    reset keys
lab san release h2
wait $write
expect "register: ok
write: E_RESERVED" cat "$dir/wrote"
recorded "h2 done WRITE(16) lba=8 blocks=1 .* status=18"
[ "$(block 1 8 | base64)" = "$before" ] || fail "it has landed"

step "orders that make no sense, and bytes that are no iSCSI"
expect_fail '"often": a time is like 50ms or 2s' lab san delay h1 often
expect_fail 'a class is read, write' lab san hold h1 writes
expect_fail 'a host is h1' lab san drop x1
on h1 bash -c 'exec 3<>/dev/tcp/10.78.0.254/3261
    echo "GET / HTTP/1.0" >&3; cat <&3' || :
wait_for 10 grep -q 'opcode 0x07: no PDU that an initiator sends' \
    "$LAB_DIR/san/log/sanproxy.log"
