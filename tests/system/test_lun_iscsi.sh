#!/bin/bash
# tests/system/test_lun_iscsi.sh - a LUN of a real target (tgt), through a proxy
# that breaks the connection: nothing is lost, and no write goes out again
# before LOGICAL UNIT RESET was sent (I13).
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
. "$(dirname "$0")/../lib/system.sh"

need tgtd tgtadm
tools=$top/build/${VARIANT:-release}/tools
[ -x "$tools/lun_exercise" ] || skip "make tools has not been run"

# -- a target, and a proxy before it -------------------------------------------
port=$((20000 + $$ % 10000))
far=$((port + 10000))
control=$((port % 30000))
iqn=iqn.2026-11.test:lun$$
url=iscsi://127.0.0.1:$port/$iqn/1

tgt() {
    tgtadm -C "$control" --lld iscsi "$@"
}

new_target() { # TID
    tgt --mode target --op new --tid "$1" -T "$iqn$2"
    tgt --mode logicalunit --op new --tid "$1" --lun 1 -b "$dir/lun"
    tgt --mode logicalunit --op update --tid "$1" --lun 1 \
        --params thin_provisioning=1
    tgt --mode target --op bind --tid "$1" -I ALL
}

truncate -s 128M "$dir/lun"
tgtd -f -C "$control" --iscsi portal=127.0.0.1:"$far" >"$dir/tgtd.log" 2>&1 &
at_exit "kill -9 $!" # it does not hear SIGTERM while a target exists
wait_for 5 tgt --mode target --op show
new_target 1 ""

mkfifo "$dir/orders"
"$tools/tcp_proxy" "$port" "$far" <"$dir/orders" >"$dir/pdus" &
at_exit "kill $!"
exec 7>"$dir/orders"
wait_for 5 grep -q listening "$dir/pdus"

order() {
    echo "$1" >&7
}

exercise() {
    timeout 60 "$tools/lun_exercise" "$@"
}

# -- what it is ----------------------------------------------------------------
step "the LUN is described"
exercise "$url" info >"$dir/info"
for line in "name $url" "size 134217728" "block 512" "discard 1" \
    "vendor IET"; do
    grep -qxF "$line" "$dir/info" || fail "not in info: $line"
done

step "errors name the LUN and what is wrong with it"
expect_fail "E_NOENT: iscsi://127.0.0.1:$port/$iqn.not/1: login at" \
    exercise "iscsi://127.0.0.1:$port/$iqn.not/1" info
expect_fail "the target has no such LUN" \
    exercise "iscsi://127.0.0.1:$port/$iqn/9" info
expect_fail "Connection refused" \
    exercise "iscsi://127.0.0.1:$((port + 1))/$iqn/1" info

# -- I/O -----------------------------------------------------------------------
# says TEXT COMMAND…: it prints that, whatever its exit status.
says() {
    local want=$1 got
    shift
    got=$("$@" 2>>"$dir/trouble.log") || true
    [ "$got" = "$want" ] || fail "$*: printed \"$got\", not \"$want\""
}

step "what is written is on the target, also for another session"
says ok exercise "$url" write 4096 7
says ok exercise -s "$url" verify 4096 7
says different exercise -s "$url" verify 4096 8

step "many ios of all kinds from two reactors"
exercise -r 2 -d 16 "$url" churn 3

# -- persistent reservations ---------------------------------------------------
step "persistent reservations"
says "register: ok
reserve: ok
reservation: ok type 6 key aa
keys: ok aa
preempt-abort: E_UNSUPPORTED
register: E_RESERVED
release: ok
reservation: ok type 0 key 0
reset: ok
clear: ok
keys: ok" exercise "$url" pr register,0,aa reserve,aa,0,6 reservation keys \
    preempt-abort,aa,bb,6 register,77,88 release,aa,0,6 reservation reset \
    clear,aa keys

step "every session is registered"
says "register: ok
keys: ok aa aa
clear: ok" exercise -r 2 "$url" pr register,0,aa keys clear,aa

step "a host without a key is kept out, and let in again"
says "register: ok
reserve: ok" exercise "$url" pr register,0,aa reserve,aa,0,6
says E_RESERVED exercise -s -i iqn.2026-11.test:other "$url" write 0 1
says "register-ignore: ok
clear: ok" exercise "$url" pr register-ignore,0,bb clear,bb
says ok exercise -s -i iqn.2026-11.test:other "$url" write 0 1

# -- CHAP ----------------------------------------------------------------------
step "CHAP, one way and mutual"
new_target 2 .chap
tgt --mode account --op new --user joe --password secretsecret1
tgt --mode account --op new --user tgt --password secretsecret2
tgt --mode account --op bind --tid 2 --user joe
tgt --mode account --op bind --tid 2 --user tgt --outgoing
chap=127.0.0.1:$port/$iqn.chap/1
exercise "iscsi://joe%secretsecret1@$chap" info >/dev/null
mutual="target_user=tgt&target_password"
exercise "iscsi://joe%secretsecret1@$chap?$mutual=secretsecret2" info \
    >/dev/null
expect_fail "E_ACCESS" exercise "iscsi://joe%wrongwrongwrong@$chap" info
expect_fail "login at" exercise \
    "iscsi://joe%secretsecret1@$chap?$mutual=wrongwrong" info
! grep -q wrong "$dir/err" || fail "a password in a message"

# -- the connection breaks -----------------------------------------------------
# Sequences of the proxy: after a cut with writes under way there is a reset
# before the first command that changes the LUN.
no_write_before_reset() {
    awk '/^cut/ { cut = 1; reset = 0 }
         /^reset/ { reset = 1; resets++ }
         /^(write|same|unmap)/ && cut && !reset { bad++ }
         END { exit bad || !resets }' "$dir/pdus" ||
        fail "a write went out before LOGICAL UNIT RESET"
}

step "five cuts under load: nothing lost, no write before a reset"
exercise -d 8 "$url" churn 6 &
load=$!
for _ in 1 2 3 4 5; do
    sleep 1
    order cut
done
wait $load
no_write_before_reset

step "answers withheld, then cut: written, unanswered, written once more"
exercise -d 8 "$url" churn 4 &
load=$!
sleep 1
order mute
sleep 1
order cut
order resume
wait $load
no_write_before_reset

step "away for two seconds: ios wait"
exercise -g 10000 "$url" churn 5 &
load=$!
sleep 1
order refuse
order cut
sleep 2
order accept
wait $load

step "away for too long: E_LUN_GONE, and works again when it is back"
exercise -g 1000 -e "$url" churn 6 >"$dir/gone" &
load=$!
sleep 1
order refuse
order cut
sleep 3
order accept
wait $load
grep -qE '^[0-9]+ ios, [1-9][0-9]* failed, 0 bad$' "$dir/gone" ||
    fail "expected failures and nothing bad: $(cat "$dir/gone")"

step "a target that has gone silent is noticed"
exercise "$url" churn 14 2>"$dir/silent" &
load=$!
sleep 1
order mute
sleep 11
order resume
wait $load
grep -q "nothing heard from the target for" "$dir/silent" ||
    fail "silence not noticed: $(cat "$dir/silent")"

step "a target that talks but ends no command: aborted, then failed"
exercise -d 4 -g 6000 -e "$url" churn 3 2>"$dir/swallowed" >"$dir/bad" &
load=$!
sleep 1
order swallow
wait $load
order resume
grep -qE "^[a-z ]+ at [0-9]+: E_TIMEOUT" "$dir/swallowed" ||
    fail "it should have timed out: $(cat "$dir/swallowed")"
grep -q " 0 bad$" "$dir/bad" || fail "bad: $(cat "$dir/bad")"
