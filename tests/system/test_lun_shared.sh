#!/bin/bash
# tests/system/test_lun_shared.sh - a LUN of a real target (tgt) that many hosts
# use: its I/O waits for whoever admits this host, and no other host's reset,
# preempt or lost answer costs an io, or more than a moment (I13).
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/system.sh"

need tgtd tgtadm
tools=$top/build/${VARIANT:-release}/tools
[ -x "$tools/lun_exercise" ] || skip "make tools has not been run"

# -- a target, a proxy before it for one host, another host --------------------
port=$((20000 + $$ % 10000))
far=$((port + 10000))
control=$((port % 30000))
iqn=iqn.2026-11.test:lun$$
url=iscsi://127.0.0.1:$port/$iqn/1

tgt() {
    tgtadm -C "$control" --lld iscsi "$@"
}

truncate -s 128M "$dir/lun"
tgtd -f -C "$control" --iscsi portal=127.0.0.1:"$far" >"$dir/tgtd.log" 2>&1 &
at_exit "kill -9 $!" # it does not hear SIGTERM while a target exists
wait_for 5 tgt --mode target --op show
tgt --mode target --op new --tid 1 -T "$iqn"
tgt --mode logicalunit --op new --tid 1 --lun 1 -b "$dir/lun"
tgt --mode logicalunit --op update --tid 1 --lun 1 \
    --params thin_provisioning=1
tgt --mode target --op bind --tid 1 -I ALL

mkfifo "$dir/proxy" "$dir/host"
"$tools/tcp_proxy" "$port" "$far" <"$dir/proxy" >"$dir/pdus" &
at_exit "kill $!"
exec 7>"$dir/proxy"
wait_for 5 grep -q listening "$dir/pdus"

proxy() {
    echo "$1" >&7
}

# The other host: its own name, not through the proxy.
other() {
    timeout 20 "$tools/lun_exercise" -s -i iqn.2026-11.test:other \
        "iscsi://127.0.0.1:$far/$iqn/1" pr "$@" >"$dir/other"
}

# -- this host: orders, answers, what its ear heard ----------------------------
begin() { # OPTION…
    : >"$dir/said"
    heard_lines=0
    "$tools/lun_exercise" -i iqn.2026-11.test:this "$@" "$url" share \
        <"$dir/host" >"$dir/said" 2>"$dir/trouble" &
    host=$!
    exec 8>"$dir/host"
    wait_for 10 grep -q open "$dir/said"
}

finish_host() {
    exec 8>&-
    wait "$host"
}

answers() {
    grep -vc '^event ' "$dir/said" || :
}

told() { # COUNT: that many answers are there
    [ "$(answers)" -ge "$1" ]
}

# Give an order; its answer is $said.
order() {
    local before
    before=$(answers)
    echo "$*" >&8
    wait_for 12 told $((before + 1))
    said=$(grep -v '^event ' "$dir/said" | tail -n 1)
}

ask() { # ANSWER ORDER…
    local want=$1
    shift
    order "$@"
    [ "$said" = "$want" ] || fail "$*: said \"$said\", not \"$want\""
}

# What the ear heard is asked for in its order; the rest is passed over.
forget() {
    heard_lines=$(wc -l <"$dir/said")
}

is_heard() {
    local line
    line=$(awk -v after="$heard_lines" -v event="event $1" \
        'NR > after && $0 == event { print NR; exit }' "$dir/said")
    [ "$line" ] && heard_lines=$line
}

heard() {
    wait_for 10 is_heard "$1"
}

# The load ends: nothing failed, nothing is bad, none took long.
rests() { # MS
    order rest
    [[ $said =~ ^[0-9]+\ ios,\ 0\ failed,\ 0\ bad,\ longest\ ([0-9]+)\ ms$ ]] ||
        fail "$said"
    [ "${BASH_REMATCH[1]}" -le "$1" ] || fail "too long: $said"
    echo "  $said"
}

# PDUs that went by since the mark.
mark() {
    proxy "mark $1"
    wait_for 5 grep -q "mark $1" "$dir/pdus"
}

ios="read|write|same|unmap|flush"
since() { # MARK PATTERN
    sed "1,/^mark $1\$/d" "$dir/pdus" | grep -cE "^($2)\$" || :
}

# -- beginning -----------------------------------------------------------------
step "nothing is heard before the start, then up, after a reset"
begin -d 16
mark start
ask "keys: E_LUN_GONE" keys
! grep -q ^event "$dir/said" || fail "$(cat "$dir/said")"
ask ok start
heard up
[ "$(since start reset)" = 1 ] || fail "no LOGICAL UNIT RESET"

step "this host has it once"
expect_fail E_LUN_BUSY "$tools/lun_exercise" -i iqn.2026-11.test:this "$url" \
    info

step "held: ios wait, blocks and reservations do not"
ask ok load
ask "register-ignore: ok" register-ignore,0,aa
ask "keys: ok aa" keys
ask ok put 67108864 5
ask ok get 67108864 5
ask different get 67108864 6
[ "$(since start read)" = 2 ] || fail "an io was sent"
ask ok carry
ask ok progress

step "held under load: nothing more is sent"
ask ok hold
sleep 0.3 # what was out ends
mark hold
sleep 0.3
[ "$(since hold "$ios")" = 0 ] || fail "it was sent"
ask ok put 67108864 7
ask ok carry
ask ok progress
rests 5000

# -- the other host ------------------------------------------------------------
step "five resets by another host under load"
ask ok auto aa
ask ok load
for _ in 1 2 3 4 5; do
    ask ok progress
    forget
    other reset
    heard attention
done
ask ok progress

step "after a reset it is held"
ask ok auto 0
other reset
heard attention
mark reset
sleep 0.2
[ "$(since reset "$ios")" = 0 ] || fail "an io was sent"
ask ok auto aa
ask ok carry
ask ok progress
rests 5000

step "a reset that swallows answers: ABORT TASK at once, sent again"
ask ok load
ask ok progress
mark lose
proxy "lose 8"
wait_for 5 eval '[ "$(since lose "all lost")" = 1 ]'
other reset
heard attention
ask ok progress
rests 5000
[ "$(since lose abort)" -ge 8 ] || fail "no ABORT TASK"

step "one that swallows them all: noticed, too"
ask ok load
ask ok progress
mark silent
proxy "lose 16" # each of 16 ios
wait_for 5 eval '[ "$(since silent "all lost")" = 1 ]'
other reset
heard attention
ask ok progress
rests 5000

step "a command of the host meets the reset, or is swallowed: E_AGAIN"
ask ok auto 0
other reset
ask "keys: E_AGAIN" keys
heard attention
ask "keys: ok aa" keys
proxy "lose 1"
(sleep 0.5 && other reset) &
ask "register-ignore: E_AGAIN" register-ignore,0,aa
heard attention
wait $!
ask "register-ignore: ok" register-ignore,0,aa

step "preempted: ios wait, are sent again when registered again"
ask ok carry
ask ok load
ask ok progress
forget
other register,0,bb reserve,bb,0,6 preempt,bb,aa,6 keys
expect "register: ok
reserve: ok
preempt: ok
keys: ok bb" cat "$dir/other"
heard attention
ask "register: E_RESERVED" register,aa,aa
mark preempted
sleep 0.2
[ "$(since preempted "$ios")" = 0 ] || fail "an io was sent"
forget
ask ok carry # too early
heard conflict
ask E_RESERVED put 67108864 8
ask "register-ignore: ok" register-ignore,0,cc
ask ok carry
ask ok progress
rests 5000

# -- REGISTER waits ------------------------------------------------------------
step "a registration waits until nothing is out, and can be cancelled"
ask ok load
ask ok progress
mark alone
proxy "lose 1"
wait_for 5 eval '[ "$(since alone "all lost")" = 1 ]'
ask "register-ignore: E_CANCELED" cancel,register-ignore,0,dd
[ "$(since alone pr)" = 0 ] || fail "it was sent"
ask ok progress # it does not keep others waiting any more
mark waits
echo register-ignore,0,dd >&8
sleep 0.5
[ "$(since waits pr)" = 0 ] || fail "it did not wait"
before=$(answers)
forget
other reset
heard attention
wait_for 5 told $((before + 1))
[ "$(since waits pr)" = 1 ] || fail "it was not sent"
ask "register: ok" register,dd,dd
ask ok carry
ask ok progress
rests 10000

step "failed: what waits and what comes; held again it waits"
ask ok hold
ask ok load
ask ok fail
order rest
[[ $said =~ ^([0-9]+)\ ios,\ ([0-9]+)\ failed,\ 0\ bad ]] || fail "$said"
[ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[2]}" ] || fail "$said"
grep -q "E_FENCED" "$dir/trouble" || fail "$(tail -n 5 "$dir/trouble")"
ask ok hold
ask ok load
ask ok carry
ask ok progress
rests 5000

# -- the connection breaks -----------------------------------------------------
# After each cut with a write under way there is a reset before the first
# command that changes the LUN.
no_write_before_reset() {
    awk '/^cut/ { cut = 1; reset = 0 }
         /^reset/ { reset = 1; resets++ }
         /^(write|same|unmap|pr)/ && cut && !reset { bad++ }
         END { exit bad || !resets }' "$dir/pdus" ||
        fail "a write went out before LOGICAL UNIT RESET"
}

step "three cuts under load: lost, up, nothing fails"
ask ok auto ee
ask ok load
for _ in 1 2 3; do
    ask ok progress
    forget
    proxy cut
    heard lost
    heard up
done
ask ok progress
no_write_before_reset

step "after a loss it is held"
ask ok auto 0
forget
proxy cut
heard lost
heard up
order keys # what comes after it would have been sent
awk -v ios="^($ios)\$" '/^login/ { sent = 0 } $0 ~ ios { sent++ }
    END { exit sent }' "$dir/pdus" || fail "an io was sent"
ask "register-ignore: ok" register-ignore,0,ee
ask ok carry
ask ok progress
rests 10000
finish_host

step "away for longer than it may: ios that are held wait"
begin -d 16 -g 500
ask ok auto ee
ask ok start
heard up
ask ok load
ask ok progress
proxy refuse
proxy cut
heard lost
ask "keys: E_LUN_GONE" keys
sleep 1.5
proxy accept
heard up
ask ok progress
rests 10000
finish_host
