#!/bin/bash
# bench/huge.sh - what a volume of 64 TiB costs before anybody uses it.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/lib.sh"
need_root

# rss: MB of the daemon.
rss() {
    awk '/^VmRSS/ { printf "%.1f\n", $2 * 1024 / 1e6 }' "/proc/$daemon/status"
}

# A daemon may be the child of one that holds its descriptors.
serving() {
    local child
    child=$(pgrep -P "$daemon" | head -n 1 || true)
    echo "${child:-$daemon}"
}

lunard_start
daemon_before=$(daemon=$(serving) rss)
format=() add=() memory=()
for ((round = 0; round < BENCH_ROUNDS; round++)); do
    rm -f "$dir/lun"
    truncate -s 64T "$dir/lun"
    format+=("$(took lunar format "file:$dir/lun" --name huge)")
    add+=("$(took lunar volume add "file:$dir/lun")")
    memory+=("$(daemon=$(serving) rss)")
    lunar volume remove huge >/dev/null
done
printf '\na sparse file LUN of 64 TiB on tmpfs\n'
figure format s "< 2 s" "${format[@]}"
figure "volume add" s "< 2 s" "${add[@]}"
figure "daemon before" MB "" "$daemon_before"
figure "daemon with it" MB "< 150 MB" "${memory[@]}"
