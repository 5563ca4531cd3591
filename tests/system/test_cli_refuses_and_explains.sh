#!/bin/bash
# tests/system/test_cli_refuses_and_explains.sh - wrong input is refused in one
# line that names the thing, with the exit status that says whose fault it is.
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
. "$(dirname "$0")/../lib/daemon.sh"
need jq

usage_error() {
    local part=$1 status=0
    shift
    "$@" >"$dir/out" 2>"$dir/err" || status=$?
    [ $status = 2 ] || fail "exit status $status instead of 2: $*"
    grep -qF -- "$part" "$dir/err" ||
        fail "$*: says \"$(cat "$dir/err")\", not \"$part\""
}

step "usage"
usage_error 'no command "dance": see' lunar dance
usage_error 'attach: VM is missing' lunar attach
usage_error 'one word too many: c' lunar volume add a c
usage_error 'has no option --fast' lunar attach a b --fast
usage_error '--lun: x is not a number' lunar attach a b --lun x
usage_error '--lun needs a value' lunar attach a b --lun
usage_error '--size: 4Q is not a size' lunar disk create a --size 4Q
usage_error '--size is given twice' lunar disk create a --size 1G --size 2G
usage_error '--read-only takes no value' lunar attach a b --read-only=yes
usage_error '--type foo: fixed' lunar disk create a --size 1G --type foo
usage_error 'only vhd is made' lunar disk create a --size 1G --format vhdx
usage_error 'needs --parent' lunar disk create a --type differencing
usage_error '--size is missing' lunar disk create a
usage_error 'URL: is not UTF-8' lunar volume add "file:"$'\xff'
lunar help >/dev/null
lunar help attach | grep -q 'usage: lunar attach VM DISK'
lunar help volume | grep -q 'usage: lunar volume grow NAME'
usage_error 'no command "dance"' lunar help dance

step "every command has help and is in the manual"
lunar help | awk '/^  [a-z]/ { sub(/^  /, ""); print substr($0, 1, 16) }' |
    while read -r command; do
        # shellcheck disable=SC2086 # one or two words
        lunar help $command >/dev/null
        grep -q "lunar $command" "$top/docs/man/lunar.1" ||
            [ "$command" = help ] || fail "lunar.1 does not know $command"
    done

step "no daemon"
expect_fail 'no lunard answers there: start it' lunar status

step "configuration"
printf '[host]\nnmae = x\n' >"$dir/bad.conf"
expect_fail "$dir/bad.conf:2: no key \"nmae\"" lunard --config "$dir/bad.conf"
expect_fail "$dir/none.conf: No such file" lunard --config "$dir/none.conf"
usage_error 'no arguments are taken' lunard serve
write_config
lunard --config "$dir/lunar.conf" --check-config

step "a cluster's key"
key=$dir/cluster.key
printf '[cluster]\nmembership = corosync\nlisten = 127.0.0.1:5678\nkey = %s\n' \
    "$key" >"$dir/cluster.conf"
expect_fail "$key: there is no such file" \
    lunard --config "$dir/cluster.conf" --check-config
expect_fail "$key: there is no such file" lunard --config "$dir/cluster.conf"
expect_fail 'its directory is missing' lunar cluster key "$dir/none/key"
(cd "$dir" && umask 0 && lunar cluster key cluster.key) >"$dir/out"
grep -qF "scp -p $key HOST:$key" "$dir/out"
grep -qF "key = $key" "$dir/out"
expect '600 65' stat -c '%a %s' "$key"
if grep -qf "$key" "$dir/out"; then fail "the key is printed"; fi
expect_fail "$key: there is a key already" lunar cluster key "$key"
lunar --json cluster key "$dir/second.key" |
    jq -e ".path == \"$dir/second.key\"" >/dev/null
if cmp -s "$key" "$dir/second.key"; then fail "two keys are equal"; fi
lunard --config "$dir/cluster.conf" --check-config
chmod 640 "$key"
expect_fail "$key: mode 0640 lets others at the key" \
    lunard --config "$dir/cluster.conf" --check-config

step "LUNs that cannot be"
expect_fail "$dir/none" lunar format "file:$dir/none" --name a
truncate -s 1M "$dir/small"
expect_fail "$dir/small" lunar format "file:$dir/small" --name a
truncate -s 256M "$dir/lun"
expect_fail 'name' lunar format "file:$dir/lun" --name 'a/b'
expect_fail 'a?b' lunar format "file:$dir/lun" --name $'a\nb'
expect_fail 'is not UTF-8' lunar format "file:$dir/lun" --name $'a\xffb'
expect_fail 'ftp' lunar format "ftp://x/y" --name a
expect_fail "$dir/lun" lunar check "file:$dir/lun"
lunar format "file:$dir/lun" --name alpha
expect_fail '--force' lunar format "file:$dir/lun" --name alpha
lunar format "file:$dir/lun" --name alpha --force

step "volumes"
start_lunard
expect_fail "$dir/none" lunar volume add "file:$dir/none"
lunar volume add "file:$dir/lun" | grep -q "volume alpha is at $root/alpha"
lunar volume add "file:$dir/lun" >/dev/null
expect_fail 'use' lunar format "file:$dir/lun" --name beta --force
cp --sparse=always "$dir/lun" "$dir/copy"
expect_fail 'is known already' lunar volume add "file:$dir/copy"
expect_fail 'volume beta: not known' lunar volume remove beta
expect_fail 'beta' lunar volume pause beta
expect_fail 'already in use by a volume or a VM here' \
    lunar volume add "file:$dir/./lun"
lunar volume pause alpha
expect_fail 'is known already' lunar volume add "file:$dir/copy"
lunar check "file:$dir/copy" | grep -q clean # it was let go
lunar vm add guest >/dev/null
expect_fail 'is the LUN of volume alpha' lunar attach guest "file:$dir/lun"
lunar vm remove guest
expect_fail 'is Paused: by the administrator' lunar check alpha
lunar volume resume alpha
exec 5>"$root/alpha/open"
expect_fail 'files on it are open' lunar volume remove alpha
exec 5>&-

step "a name that no volume should have is refused also where it stands already"
rename_volume() { # FILE NAME: in all copies of the superblock, with their CRC
    local at block=$dir/block
    for at in 0 256 $(($(stat -c %s "$1") / 4096 - 1)); do
        dd if="$1" of="$block" bs=4096 skip="$at" count=1 status=none
        printf "$2\0" | dd of="$block" bs=1 seek=56 conv=notrunc status=none
        head -c 4092 "$block" | gzip -c | tail -c 8 | head -c 4 |
            dd of="$block" bs=1 seek=4092 conv=notrunc status=none
        dd if="$block" of="$1" bs=4096 seek="$at" conv=notrunc status=none
    done
}
truncate -s 64M "$dir/odd"
lunar format "file:$dir/odd" --name plain
rename_volume "$dir/odd" 'a\xffb'
expect_fail 'is not UTF-8' lunar volume add "file:$dir/odd"
rename_volume "$dir/odd" 'a\tb'
expect_fail 'control characters are not allowed' \
    lunar volume add "file:$dir/odd"
rename_volume "$dir/odd" 'aéb'
lunar volume add "file:$dir/odd" >/dev/null
lunar volume remove aéb

step "a second daemon, on the same state and on the same LUN"
expect_fail 'another lunard uses it' lunard --config "$dir/lunar.conf"
sed "s,$dir/state,$dir/state2," "$dir/lunar.conf" >"$dir/second.conf"
expect_fail "$root" lunard --config "$dir/second.conf"
mountpoint -q "$root" || fail "the first one's mount is gone"

step "VMs and disks"
expect_fail 'vm a/b: a name has' lunar vm add a/b
expect_fail '1 to 8 controllers' lunar vm add web --controllers 9
expect_fail 'vm web: not known' lunar attach web "$root/alpha/a.vhd"
lunar vm add web --controllers 2 | grep -q "path=$dir/run/web/1.sock"
lunar vm add web >/dev/null
expect_fail 'exists with 2 controllers' lunar vm add web --controllers 3
expect_fail "$root/alpha/a.vhd: no such file" \
    lunar attach web "$root/alpha/a.vhd"
expect_fail 'volume beta: not known' lunar attach web "$root/beta/a.vhd"
expect_fail 'not below' lunar attach web /etc/passwd
expect_fail 'has ".."' lunar attach web "$root/alpha/../../etc/passwd"
expect_fail 'absolute path' lunar attach web a.vhd
echo "no disk" >"$root/alpha/a.vhd"
expect_fail "$root/alpha/a.vhd" lunar attach web "$root/alpha/a.vhd"
rm "$root/alpha/a.vhd"
lunar disk create "$root/alpha/a.vhd" --size 16M
expect_fail 'exist' lunar disk create "$root/alpha/a.vhd" --size 16M
expect_fail 'no controller 2' lunar attach web "$root/alpha/a.vhd" \
    --controller 2
expect_fail 'must be 0…255' lunar attach web "$root/alpha/a.vhd" --lun 256
lunar attach web "$root/alpha/a.vhd" --lun 3 | grep -q 'LUN 3 of controller 0'
lunar attach web "$root/alpha/a.vhd" >/dev/null
expect_fail 'detach it first' lunar attach web "$root/alpha/a.vhd" --lun 4
lunar vm add other >/dev/null
expect_fail 'held by vm web (controller 0, LUN 3, attached)' \
    lunar attach other "$root/alpha/a.vhd"
expect_fail 'has disks' lunar vm remove web
expect_fail "$root/alpha/a.vhd is attached to vm web: detach it first" \
    lunar volume remove alpha
lunar disk info "$root/alpha/a.vhd" | grep -q 'held by  *web EX'
lunar top --count 2 | grep '^web .* waiting  *0  *0 ' >/dev/null
expect_fail "mv: cannot move '$root/alpha/a.vhd'" \
    mv "$root/alpha/a.vhd" "$root/alpha/b.vhd"
expect_fail 'no LUN 7' lunar detach web 7
lunar detach web 3
expect_fail 'no LUN 3' lunar detach web 3
expect_fail 'it has 16777216 bytes and only grows' \
    lunar disk resize "$root/alpha/a.vhd" --size 8M
mv "$root/alpha/a.vhd" "$root/alpha/a \"quoted\".vhd"
lunar --json disk check "$root/alpha/a \"quoted\".vhd" |
    jq -e '.lost == 0 and .problems == []' >/dev/null
lunar vm remove web
expect_fail 'vm web: not known' lunar vm remove web

step "the control socket"
python3 - "$dir/control.sock" <<'END' || skip "no python3"
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
f = s.makefile("rw")
for line in ["hello", "{}", '{"do": "status", "args": {"x": 1}}', "[" * 5000]:
    f.write(line + "\n")
    f.flush()
    assert json.loads(f.readline())["ok"] is False
f.write('{"do": "status"}\n')
f.flush()
assert json.loads(f.readline())["result"]["nodes"][0]["name"] == "host-a"
END

step "clients that do not read, or do not finish their sentence, stop nothing"
python3 - "$dir/control.sock" <<'END' &
import socket, sys, time
deaf, slow = (socket.socket(socket.AF_UNIX) for i in range(2))
deaf.connect(sys.argv[1])
slow.connect(sys.argv[1])
slow.send(b'{"do": "sta')
deaf.settimeout(2)
try:
    while True:
        deaf.send(b'{"do": "status"}\n' * 1000)
except TimeoutError:
    pass
open(sys.argv[1] + ".full", "w")
time.sleep(60)
END
client=$!
at_exit "kill $client"
wait_for 20 [ -e "$dir/control.sock.full" ]
lunar status >/dev/null
began=$SECONDS
stop_lunard
[ $((SECONDS - began)) -lt 30 ] || fail "the end took $((SECONDS - began)) s"
