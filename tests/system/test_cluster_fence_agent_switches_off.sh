#!/bin/bash
# tests/system/test_cluster_fence_agent_switches_off.sh - where the LUN cannot
# fence, or has forgotten who was fenced, the fence agent says that a host is
# off; it is asked until it does, and nothing is served before.
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/cluster.sh"

# An agent that switches nothing off, and says so until it is allowed to say
# that it did.
agent=$dir/fence_lab
cat >"$agent" <<END
#!/bin/sh
cat >$dir/input
echo asked >>$dir/asked
echo "looking at the plug"
[ -e $dir/allowed ]
END
chmod 755 "$agent"

step "a cluster with an agent; its options are checked"
lab up 3
stop_hosts h1 h2 h3
for host in h1 h2 h3; do
    cat >>"$LAB_DIR/$host/etc/lunar/lunar.conf" <<END
fence_agent = $agent
[fence]
login = lab
[fence h3]
port = socket-3
END
    lab start $host
done
sed "s,^fence_agent.*,fence_agent = $dir/none," \
    "$LAB_DIR/h1/etc/lunar/lunar.conf" >"$dir/bad.conf"
expect_fail "bad.conf:$(grep -n ^fence_agent "$dir/bad.conf" | cut -d: -f1): \
fence_agent = $dir/none: No such file" \
    at h1 lunard --check-config --config "$dir/bad.conf"
at h1 lunar format "$(lab url 1)" --name vol
at h1 lunar volume add "$(lab url 1)" >/dev/null
for host in h1 h2 h3; do
    wait_for 30 sees_volume $host
done
coordinates() { # HOST
    [ "$(volume_field h2 coordinator)" = "$1" ]
}
if [ "$(coordinator h1)" != h1 ]; then
    at h1 lunar volume move vol --to h1
fi
wait_for 30 coordinates h1

asked() { # TIMES
    [ -e "$dir/asked" ] && [ "$(wc -l <"$dir/asked")" -ge "$1" ]
}

is_alarmed() {
    [[ $(volume_field h1 reason) == *"confirm-dead 3"* ]]
}

is_well() {
    [ -z "$(volume_field h1 reason)" ]
}

step "a host dies: the LUN fences it, nobody is switched off"
at h1 sh -c 'echo before >/ClusterStorage/vol/file'
lab kill h3
say_once h1 "node 3, incarnation"
fenced() {
    lab log h1 | grep -q "node 3, incarnation .* is fenced"
}
wait_for 30 fenced
expect before at h2 cat /ClusterStorage/vol/file
[ ! -e "$dir/asked" ] || fail "the agent was asked"

step "the host is back, and dies again: PREEMPT fails, the agent is asked"
lab start h3
wait_for 40 sees_volume h3
lab san refuse h1 preempt
lab san refuse h2 preempt
lab kill h3
wait_for 30 asked 1
say_once h1 "node 3 (h3) is not known to be off"
wait_for 30 is_alarmed
on h2 timeout -k 1 100 sh -c 'echo kept >/ClusterStorage/vol/waits' &
writer=$!
touch "$dir/allowed"
say_once h1 "node 3 (h3) is off, says the fence agent"
wait $writer || fail "a write failed"
wait_for 30 is_well
expect kept at h1 cat /ClusterStorage/vol/waits
lab san release h1
lab san release h2
rm "$dir/asked" "$dir/allowed"

step "the host is back, and is fenced by the LUN: the agent is not asked"
lab start h3
wait_for 40 sees_volume h3
lab kill h3
fenced_twice() {
    [ "$(lab log h1 | grep -c "node 3, incarnation .* is fenced")" -ge 3 ]
}
wait_for 30 fenced_twice
expect kept at h2 cat /ClusterStorage/vol/waits
[ ! -e "$dir/asked" ] || fail "the agent was asked"

step "the LUN forgets: the agent is asked, fails, and is asked again"
at h1 lunar volume release "$(lab url 1)" >/dev/null
on h1 timeout -k 1 100 sh -c 'echo during >/ClusterStorage/vol/waits' &
writer=$!
wait_for 30 asked 1
expect "action=off login=lab port=socket-3" sh -c "tr '\n' ' ' <$dir/input |
    sed 's/ \$//'"
say_once h1 "fence agent, node 3 (h3): looking at the plug"
say_once h1 "node 3 (h3) is not known to be off"
wait_for 30 is_alarmed
wait_for 40 asked 2

step "it says that it is off: the volume goes on"
touch "$dir/allowed"
say_once h1 "node 3 (h3) is off, says the fence agent"
wait $writer || fail "a write failed"
expect during at h2 cat /ClusterStorage/vol/waits
at h2 sh -c 'echo after >/ClusterStorage/vol/file'
expect after at h1 cat /ClusterStorage/vol/file
wait_for 30 is_well
times=$(wc -l <"$dir/asked")

step "the host comes back, and is not switched off again"
lab start h3
wait_for 40 sees_volume h3
expect after at h3 cat /ClusterStorage/vol/file
expect "$times" wc -l <"$dir/asked"
stop_hosts h1 h2 h3
check_lun 1
