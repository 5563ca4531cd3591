#!/bin/bash
# tests/system/test_locks_are_seen_by_all_nodes.sh - fcntl (POSIX, OFD) and
# flock on three mounts of one volume: everybody sees a lock, waits for it, gets
# it when its owner lets go or dies.  QEMU opens an image
# on one host only.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/nodes.sh"
need flock qemu-io qemu-system-x86_64
lockfile=$top/build/${VARIANT:-release}/tools/lockfile
[ -x "$lockfile" ] || skip "$lockfile is not built: make tools"
PATH=$PATH:$(dirname "${PING_PONG:-/usr/bin/ping_pong}")

# -- programs that lock as they are told -----------------------------------
declare -A pid to from

# locker NAME FILE
locker() {
    local in out
    rm -f "$dir/to" "$dir/from"
    mkfifo "$dir/to" "$dir/from"
    "$lockfile" "$2" <"$dir/to" >"$dir/from" &
    pid[$1]=$!
    at_exit "kill -9 $!"
    exec {in}>"$dir/to" {out}<"$dir/from"
    to[$1]=$in from[$1]=$out
}

tell() {
    echo "$2" >&"${to[$1]}"
}

# hear NAME WHAT: the answer to the first command that has none.
hear() {
    local answer
    read -t 20 -r answer <&"${from[$1]}" || fail "$1 does not answer"
    [ "$answer" = "$2" ] || fail "$1 says \"$answer\", not \"$2\""
}

# ask NAME COMMAND WHAT
ask() {
    tell "$1" "$2"
    hear "$1" "$3"
}

# It is in fcntl(2) or flock(2), and has not answered.
waits() {
    wait_for 10 grep -qE '^(72|73) ' "/proc/${pid[$1]}/syscall"
    ! read -t 0 <&"${from[$1]}" || fail "$1 does not wait"
}

# end NAME [SIGNAL]: without one it exits by itself.
end() {
    local in=${to[$1]} out=${from[$1]}
    if [ $# = 1 ]; then tell "$1" quit; else kill "$2" "${pid[$1]}"; fi
    exec {in}>&- {out}<&-
    wait "${pid[$1]}" || true
}

node 1 -f
node 2
node 3
for f in a b image; do
    truncate -s 1M "$dir/1/v/$f"
done
locker A "$dir/1/v/a"
locker B "$dir/2/v/a"
locker C "$dir/3/v/a"
locker D "$dir/3/v/a"

step "a lock of one keeps all others out, and they see what it is"
ask A "posix write 0 10" ok
for other in B C; do
    ask $other "posix read 9 1" EAGAIN
    ask $other "ofd write 0 0" EAGAIN
    ask $other "posix write 10 10" ok
    ask $other "posix none 10 10" ok
    ask $other "test posix write 0 0" "write 0 10 0"
done
ask C "posix write 100 5" ok
ask D "test posix read 50 0" "write 100 5 ${pid[C]}"
ask A "test ofd read 50 0" "write 100 5 -1"

step "locks are split, lowered and joined, and each piece counts"
ask A "posix none 3 2" ok
ask B "posix write 3 2" ok
ask A "posix read 5 5" ok
ask C "posix read 5 2" ok
ask C "posix write 5 1" EAGAIN
ask C "test posix write 5 1" "read 5 5 0"
ask C "posix none 5 2" ok
ask B "posix none 0 0" ok

step "any close ends a process's locks, the last one those of an open file"
ask B "ofd write 200 10" ok
ask A close ok
ask B close ok
ask C "posix write 0 10" ok
ask C "ofd write 200 10" EAGAIN
tell C "ofd write 200 10 wait"
waits C
end B
hear C ok

step "flock, and it knows nothing of fcntl"
ask A "flock read 0 0" ok
ask D "flock read 0 0" ok
ask A "flock write 0 0" EAGAIN # and what it had is gone, says flock(2)
ask D "flock write 0 0" ok
! flock -n "$dir/2/v/a" true || fail "flock(1) does not see it"
flock "$dir/2/v/a" touch "$dir/got" &
waiter=$!
ask D "flock none 0 0" ok
wait $waiter
[ -e "$dir/got" ]
# The kernel tells of an open file's end after the close: other hosts may wait
# a moment longer.  This host's next request comes behind it.
wait_for 20 flock -n "$dir/1/v/a" true

step "who waits gets it when its owner is killed"
ask A "posix write 300 1" ok
ask A "flock write 0 0" ok
tell C "posix write 300 1 wait"
tell D "flock write 0 0 wait"
waits C
waits D
end A -KILL
hear C ok
hear D ok
locker A "$dir/1/v/a"
locker B "$dir/2/v/a"

step "who is interrupted waits no longer, and never gets it"
tell B "posix write 300 1 wait"
waits B
end B -TERM
ask C "posix none 300 1" ok
ask A "test posix write 300 1" none
locker B "$dir/2/v/a"

step "a circle of those who wait is refused"
ask A "posix write 400 1" ok
ask B "posix write 401 1" ok
ask C "posix write 402 1" ok
tell A "posix write 401 1 wait"
tell B "posix write 402 1 wait"
waits A
waits B
ask C "posix write 400 1 wait" EDEADLK
ask C "posix none 402 1" ok
hear B ok
ask B "posix none 401 2" ok
hear A ok

step "many who wait do not stand in the way of anything else"
ask A "flock none 0 0" ok
ask D "flock write 0 0" ok
crowd=()
for i in $(seq 200); do
    flock -s "$dir/2/v/a" true &
    crowd+=($!)
done
for i in "${crowd[@]}"; do
    wait_for 20 grep -q '^73 ' "/proc/$i/syscall"
done
echo "still served" >"$dir/2/v/b"
[ "$(cat "$dir/2/v/b")" = "still served" ]
kill "${crowd[7]}" # one of them is enough to see that they can be
wait "${crowd[7]}" && fail "it was not waiting"
ask D "flock none 0 0" ok
for i in "${!crowd[@]}"; do
    [ "$i" = 7 ] || wait "${crowd[i]}"
done

step "QEMU opens an image on one host only, also when all try at once"
image() { # N: a VM that does not run, with the image as its disk
    qemu-system-x86_64 -S -display none -nodefaults -m 16 -daemonize \
        -drive "file=$dir/$1/v/image,format=raw,if=virtio" \
        -pidfile "$dir/vm$1" >"$dir/qemu$1" 2>&1
}
# The kernel tells of the last close a moment later, as with flock.
free() {
    qemu-io -f raw -c "write -P $1 0 64k" "$dir/$1/v/image" >"$dir/io" 2>&1
}
for round in 1 2 3 4 5; do
    for n in 1 2 3; do
        (image "$n" || exit 1) &
        vms[n]=$!
    done
    opened=()
    for n in 1 2 3; do
        if wait "${vms[n]}"; then
            opened+=("$n")
            at_exit "kill -9 $(cat "$dir/vm$n")"
        else
            grep -q 'Failed to get ' "$dir/qemu$n" ||
                fail "$(cat "$dir/qemu$n")"
        fi
    done
    [ ${#opened[@]} -le 1 ] || fail "opened on ${opened[*]}"
    if [ ${#opened[@]} = 0 ]; then # each stood in another's way
        wait_for 20 image 1
        opened=(1)
        at_exit "kill -9 $(cat "$dir/vm1")"
    fi
    for n in 1 2 3; do
        ! free $n || fail "qemu-io on $n writes what is open on ${opened[0]}"
    done
    kill "$(cat "$dir/vm${opened[0]}")"
    wait_for 20 free $((round % 3 + 1))
done
qemu-io -f raw -c "read -P 3 0 64k" "$dir/1/v/image" >"$dir/io" 2>&1
! grep -q failed "$dir/io" || fail "$(cat "$dir/io")"

if command -v ping_pong >/dev/null; then
    step "ping_pong on three hosts: each sees each other's byte"
    for n in 1 2 3; do
        stdbuf -oL ping_pong -rw "$dir/$n/v/ping" 4 >"$dir/ping$n" 2>&1 &
        pings[n]=$!
        at_exit "kill -9 $!"
    done
    for n in 1 2 3; do
        wait_for 60 grep -q 'data increment = 3' "$dir/ping$n"
    done
    kill "${pings[@]}"
    wait "${pings[@]}" || true
else
    step "ping_pong is not installed: left out (docs/testing.md)"
fi

step "a process that is killed and starts again takes them back"
locker E "$dir/2/v/a"
ask B "posix write 600 10" ok
ask B "posix read 605 10" ok
ask E "ofd write 620 10" ok
ask E "flock write 0 0" ok
ask A "ofd write 700 1" ok
run=$(sed 's/ready //' "$dir/out2")
: >"$dir/out2"
kill -HUP "${pids[2]}"
tell E "ofd write 700 1 wait" # now, or when the mount is served again
echo "forget 2 $run" >&"$orders"
wait_for 20 grep -q ready "$dir/out2"
for l in A C; do
    ask $l "test posix write 600 5" "write 600 5 0"
    ask $l "test posix write 605 5" "read 605 10 0"
    ask $l "posix write 629 1" EAGAIN
    ask $l "flock read 0 0" EAGAIN
done
ask A "ofd none 700 1" ok
hear E ok
ask B "posix none 605 10" ok
ask C "posix write 605 10" ok
ask C "posix none 605 10" ok
end E
tell C "ofd write 620 10 wait"
tell A "flock write 0 0 wait"
hear C ok
hear A ok
ask A "flock none 0 0" ok
end B
ask C "posix write 600 5" ok
locker B "$dir/2/v/a"

step "a node that leaves leaves no lock behind"
ask B "posix write 500 1" ok
end B
kill "${pids[2]}"
wait "${pids[2]}" || fail "node 2 ended with status $?"
ask C "posix write 500 1" ok
node 2
locker B "$dir/2/v/a"
ask B "posix read 500 1" EAGAIN
for l in A B C D; do
    end $l
done
nodes_end
