#!/bin/bash
# tests/system/test_mount_posix.sh - the public POSIX conformance suite gives
# on the mount what it gives on ext4: no failure (docs/posix.md).
# PJDFSTEST names a tree in which it was built; without it the test is skipped.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/mount.sh"
need prove
[ -x "${PJDFSTEST:-}/pjdfstest" ] || skip "PJDFSTEST names no built pjdfstest"

serve -f
mkdir "$v/posix"
cd "$v/posix"
step "pjdfstest"
prove -Q -r "$PJDFSTEST/tests" | tee "$dir/posix.log" | tail -3
grep -q '^Result: PASS' "$dir/posix.log" ||
    fail "$(grep -c '^not ok' "$dir/posix.log") assertions"
cd /
unserve
