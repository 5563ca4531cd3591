#!/bin/bash
# tests/system/test_the_runner_counts_and_cleans_up.sh - tests/run on a small
# tree: counts, statuses, and what bad tests leave behind.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/system.sh"

tree=$dir/tree
mkdir -p "$tree/tests/system" "$tree/tests/lib"
cp "$top/tests/run" "$tree/tests/"
cp "$top/tests/lib/system.sh" "$tree/tests/lib/"
printf 'all tools:\n\t@true\n' >"$tree/Makefile"

# A system test of that tree; its body is on stdin.
test_file() {
    { echo '. tests/lib/system.sh' && cat; } >"$tree/tests/system/test_$1.sh"
}

# The runner, with its temporary files where we can look.
run_it() {
    mkdir -p "$dir/tmp"
    status=0
    env -u CI TMPDIR="$dir/tmp" "$@" "$tree/tests/run" system \
        >"$dir/said" 2>&1 || status=$?
}

said() {
    grep -qxF -- "$1" "$dir/said" || fail "not said: $1: $(cat "$dir/said")"
}

# Processes that the bad test started.
alive() {
    local env
    for env in /proc/[0-9]*/environ; do
        tr '\0' '\n' 2>/dev/null <"$env" | grep -qxF "LUNAR_MARK=$dir" &&
            echo "${env//[!0-9]/}"
    done 2>/dev/null || true
}

step "a test that passes"
test_file good <<'E'
true
E
run_it
[ $status = 0 ] || fail "status $status"
said "1 passed, 0 failed"

step "one that is skipped, one that fails"
test_file skipped <<'E'
need no-such-tool
E
test_file bad <<'E'
step before
false
step after
E
run_it
[ $status = 1 ] || fail "status $status"
said "skip  system: skipped: no-such-tool is not installed"
said "FAIL  system: bad"
said "      FAILED at test_bad.sh:3: false"
said "1 passed, 1 failed, 1 skipped"
! grep -q after "$dir/said" || fail "a failed test went on"

step "a status of 77 without a reason is a failure"
test_file mute <<'E'
exit 77
E
run_it
said "1 passed, 2 failed, 1 skipped"

step "where CI=true a missing tool is a failure"
status=0
CI=true "$tree/tests/run" system:skipped >"$dir/said" || status=$?
[ $status = 1 ] || fail "status $status"
said "0 passed, 1 failed"
rm "$tree"/tests/system/*

step "one after the other, and beside others who says that it may"
for pair in "one two" "two one"; do
    test_file "${pair% *}" <<E
touch "\$LUNAR_MARK/${pair% *}"
wait_for 3 test -e "\$LUNAR_MARK/${pair#* }"
E
done
run_it LUNAR_MARK="$dir"
said "1 passed, 1 failed"
rm "$dir/one" "$dir/two"
echo "# Runs beside others." >>"$tree/tests/system/test_two.sh"
run_it LUNAR_MARK="$dir"
said "2 passed, 0 failed"
rm "$dir/one" "$dir/two" "$tree"/tests/system/*

step "a test that hangs with a process of another session and a mount"
test_file hangs <<'E'
mkdir "$dir/mount"
[ "$(id -u)" != 0 ] || mount -t tmpfs none "$dir/mount"
setsid sleep 1000 &
touch "$LUNAR_MARK/hangs"
sleep 1000
E
run_it SYSTEM_LIMIT_S=1 LUNAR_MARK="$dir"
said "      not done after 1 s"
said "0 passed, 1 failed"
[ -z "$(alive)" ] || fail "still there: $(alive)"
expect "" ls "$dir/tmp"

step "the same, interrupted"
rm "$dir/hangs"
env -u CI TMPDIR="$dir/tmp" LUNAR_MARK="$dir" "$tree/tests/run" system \
    >"$dir/said" 2>&1 &
runner=$!
at_exit "kill $runner"
wait_for 10 test -e "$dir/hangs"
[ -n "$(alive)" ] || fail "nothing is running"
kill -TERM $runner
status=0
wait $runner || status=$?
[ $status = 130 ] || fail "status $status"
[ -z "$(alive)" ] || fail "still there: $(alive)"
expect "" ls "$dir/tmp"
! grep -q "$dir/tmp" /proc/mounts || fail "still mounted"
