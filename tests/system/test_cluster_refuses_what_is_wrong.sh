#!/bin/bash
# tests/system/test_cluster_refuses_what_is_wrong.sh - a host with another key,
# without one, or with an address that is not its own; volumes of others: each
# is refused in plain words, and the others go on.
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/cluster.sh"

others_go_on() {
    at h1 sh -c 'echo one >/ClusterStorage/vol/file'
    expect one at h2 cat /ClusterStorage/vol/file
    at h2 sh -c 'echo two >/ClusterStorage/vol/file'
    expect two at h1 cat /ClusterStorage/vol/file
}

# lunard of h3 as it is set up now: it says that, and ends.
refused() { # TEXT
    local status=0
    on h3 timeout 20 lunard >"$dir/said.log" 2>&1 || status=$?
    [ $status != 0 ] && [ $status != 124 ] || fail "exit status $status"
    grep -qF -- "$1" "$dir/said.log" || fail "does not say \"$1\""
    others_go_on
}

is_without_its_lun() { # HOST
    volume_field "$1" 'state + " " + .reason' | grep -q "^Offline .*login at"
}

cluster_up 3 --luns 3
etc=$LAB_DIR/h3/etc/lunar
stop_hosts h3
cp -p "$etc/cluster.key" "$dir/key"
cp -p "$etc/lunar.conf" "$dir/conf"

step "no key"
rm "$etc/cluster.key"
refused "cluster.key"

step "a key that others can read"
install -m 644 "$dir/key" "$etc/cluster.key"
refused "cluster.key"

step "another key than that of the others"
rm "$etc/cluster.key"
on h3 lunar cluster key >/dev/null
refused "its cluster key is not that of host h"

step "an address that is not this host's"
install -m 600 "$dir/key" "$etc/cluster.key"
sed -i 's/^listen.*/listen = 10.99.0.1:5678/' "$etc/lunar.conf"
refused "10.99.0.1"
cp -p "$dir/conf" "$etc/lunar.conf"

step "back as it was, but without a path: it opens the volume when that is back"
lab cut h3 san
lab start h3
wait_for 40 is_without_its_lun h3
others_go_on
lab heal h3 san
wait_for 30 sees_volume h3

step "a volume of another cluster"
at h1 lunar format "$(lab url 2)" --name foreign --cluster other
expect_fail "belongs to cluster other" at h2 lunar volume add "$(lab url 2)"
others_go_on

step "a LUN that another program has reserved"
at h1 lunar format "$(lab url 3)" --name taken
exercise h3 3 pr register,0,abc reserve,abc,0,6 >/dev/null
expect_fail "another cluster or program uses the LUN" \
    at h1 lunar volume add "$(lab url 3)"
others_go_on
