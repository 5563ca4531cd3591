#!/bin/bash
# bench/run.sh - all figures, side by side with what there is elsewhere.
# Prints; judges nothing.  A part that cannot run here says why.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Usage: bench/run.sh [PART…]
# Parts: fuse vhd guest metadata locks huge wire cluster; all of them
# BENCH_SECONDS, BENCH_ROUNDS, BENCH_DIR: see bench/lib.sh
set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 2
trap 'exit 130' INT TERM HUP # a part cleans up after itself

machine() {
    local cpu
    cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
    echo "$cpu, $(nproc) cores, $(awk '/^MemTotal/ { printf "%.0f GiB",
        $2 / 1048576 }' /proc/meminfo), Linux $(uname -r)"
    echo "$(fio --version 2>&1), $(qemu-img --version 2>&1 | head -n 1)," \
        "load $(cut -d' ' -f1-3 /proc/loadavg)," \
        "lunar $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
}

machine
[ $# -gt 0 ] || set -- fuse vhd guest metadata locks huge wire cluster
skipped=() failed=()
for part; do
    [ -r "bench/$part.sh" ] || { echo "no part $part" >&2; exit 2; }
    echo
    echo "== $part"
    bash "bench/$part.sh"
    case $? in
    0) ;;
    77) skipped+=("$part") ;;
    130) exit 130 ;;
    *) failed+=("$part") ;;
    esac
done
echo
echo "$(($# - ${#skipped[@]} - ${#failed[@]})) of $# parts measured"
[ ${#skipped[@]} = 0 ] || echo "skipped: ${skipped[*]}"
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
