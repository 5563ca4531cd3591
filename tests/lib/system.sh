# tests/lib/system.sh - what a system test sources: words for steps, checks,
# waiting and cleaning up.  Starts nothing by itself.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   #!/bin/bash
#   # tests/system/test_a_volume_survives_a_restart.sh - says what it proves.
#   # SPDX-License-Identifier: LGPL-2.1-or-later
#   . "$(dirname "$0")/../lib/system.sh"
#   need fio qemu-img                   # or the test is skipped (77)
#   at_exit "kill $pid"                 # run at the end, last one first
#   step "the volume is formatted"
#   expect_fail "file:$dir/none: cannot be opened" lunar format …
#   wait_for 10 mountpoint -q "$dir/mnt"
#
# $dir is an empty directory that goes away; $bin is where lunard and lunar
# were built, and is first in PATH.  The test fails where a command fails.
# It may also be run alone: bash tests/system/test_….sh
# shellcheck shell=bash

set -eu -o pipefail
export LC_ALL=C
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=$top/build/${VARIANT:-release}/bin
export PATH="$bin:$PATH"
dir=$(mktemp -d "${TMPDIR:-/tmp}/lunar-system.XXXXXX")
chmod 755 "$dir" # tests act as other users, too
undo=()

at_exit() {
    undo+=("$1")
}

# Everything that was begun ends, in reverse, even if a part of it fails.
finish() {
    local status=$? i
    trap - EXIT ERR
    set +e
    [ $status = 0 ] || [ $status = 77 ] || show_logs
    for ((i = ${#undo[@]} - 1; i >= 0; i--)); do
        eval "${undo[i]}" >/dev/null 2>&1
    done
    awk -v under="$dir/" 'index($2, under) == 1 { print $2 }' /proc/mounts |
        sort -r | while read -r at; do umount -l "$at"; done
    rm -rf --one-file-system "$dir"
    exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM HUP
trap 'echo "FAILED at ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
set -E

# The last lines of each log of the test, when it failed.
show_logs() {
    local log
    for log in "$dir"/*.log; do
        [ -s "$log" ] || continue
        echo "--- ${log##*/}"
        tail -n 20 "$log"
    done >&2
}

step() {
    echo "- $*"
}

fail() {
    echo "FAILED: $*" >&2
    trap - ERR
    exit 1
}

# The test cannot run here; the reason is printed in the summary.
skip() {
    echo "skipped: $*"
    exit 77
}

# Tools the test cannot do without.  Where CI=true a missing one is a failure.
need() {
    local tool
    for tool; do
        command -v "$tool" >/dev/null && continue
        [ "${CI:-}" != true ] || fail "$tool is not installed"
        skip "$tool is not installed"
    done
}

need_root() {
    [ "$(id -u)" = 0 ] && return
    [ "${CI:-}" != true ] || fail "not run as root"
    skip "needs root"
}

# wait_for SECONDS COMMAND…: until it succeeds; fails if it does not.
wait_for() {
    local end=$(($(date +%s%N) / 1000000 + $1 * 1000)) seconds=$1
    shift
    until "$@" >/dev/null 2>&1; do
        [ $(($(date +%s%N) / 1000000)) -lt $end ] ||
            fail "not within $seconds s: $*"
        sleep 0.05
    done
}

# expect_fail PART COMMAND…: it exits 1 and says PART on stderr, in one line.
expect_fail() {
    local part=$1 status=0
    shift
    "$@" >"$dir/out" 2>"$dir/err" || status=$?
    [ $status = 1 ] || fail "exit status $status instead of 1: $*"
    grep -qF -- "$part" "$dir/err" ||
        fail "$*: says \"$(cat "$dir/err")\", not \"$part\""
    [ "$(wc -l <"$dir/err")" = 1 ] || fail "$*: more than one line on stderr"
}

# expect TEXT COMMAND…: its output is exactly that.
expect() {
    local want=$1 got
    shift
    got=$("$@") || fail "$*: exit status $?"
    [ "$got" = "$want" ] || fail "$*: gave \"$got\", not \"$want\""
}
