#!/bin/bash
# tests/system/test_cli_commands_race.sh - clients that attach, detach, resize,
# add, remove and look, all at once and at random, and a stop in the midst of
# it: every request is answered, and nothing is lost, leaked or left behind.
# VARIANT=asan and VARIANT=tsan say what this one does not see.
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
. "$(dirname "$0")/../lib/daemon.sh"
need python3
seconds=${RACE_SECONDS:-5}

step "six disks, one LUN to pass through, four VMs that come and go"
start_lunard
new_volume alpha 512M
truncate -s 16M "$dir/lun"
for i in 0 1 2 3 4 5; do
    lunar disk create "$root/alpha/d$i.vhd" --size 20M
done

cat >"$dir/race.py" <<'END'
import json, random, socket, sys, threading, time

path, root, lun, seconds = sys.argv[1:]
end = time.time() + float(seconds)
answers, wrong = {}, []
MAY_FAIL = {"E_BUSY", "E_HANDLE_HELD", "E_NOENT", "E_EXIST", "E_INVAL",
            "E_LUN_BUSY", "E_TIMEOUT", "E_VOL_OFFLINE"}


def request(r):
    vm = "vm%d" % r.randrange(4)
    disk = r.choice([root + "/alpha/d%d.vhd" % r.randrange(6)] * 5 +
                    ["file:" + lun])
    place = {"vm": vm, "controller": r.randrange(2)}
    return r.choice([
        ("vm add", {"vm": vm, "controllers": 2}),
        ("vm remove", {"vm": vm}),
        ("attach", dict(place, disk=disk)),
        ("attach", dict(place, disk=disk)),
        ("detach", dict(place, lun=r.randrange(4), force=r.random() < 0.5)),
        ("detach", dict(place, lun=r.randrange(4))),
        ("disk resize", {"path": disk,
                         "size": (20 + 2 * r.randrange(8)) << 20}),
        ("volume pause", {"name": "alpha"}),
        ("volume resume", {"name": "alpha"}),
        ("volume check", {"name": "alpha"}),
        ("status", {}), ("vm list", {}), ("volume list", {})])


def client(seed):
    r = random.Random(seed)
    try:
        while time.time() < end:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(60)
            s.connect(path)
            f = s.makefile("rw")
            for _ in range(r.randrange(1, 20)):
                do, args = request(r)
                f.write(json.dumps({"do": do, "args": args}) + "\n")
                f.flush()
                line = f.readline()
                if not line:
                    return  # it is stopping
                answer = json.loads(line)
                error = answer.get("error", "ok")
                answers[do, error] = answers.get((do, error), 0) + 1
                if error != "ok" and error not in MAY_FAIL:
                    wrong.append((do, args, answer))
            f.close()
            s.close()
    except (ConnectionError, FileNotFoundError):
        return
    except Exception as e:
        wrong.append(e)


threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
for t in threads:
    t.start()
for t in threads:
    t.join()
for key in sorted(answers):
    print(*key, answers[key])
for do in ("attach", "detach", "disk resize", "vm remove"):
    assert answers.get((do, "ok")), do + " never succeeded"
assert not wrong, wrong
END

step "eight clients for $seconds s, and SIGTERM while they are at it"
open_before=$(find "/proc/$lunard_pid/fd" | wc -l)
python3 "$dir/race.py" "$dir/control.sock" "$root" "$dir/lun" "$seconds" \
    >"$dir/out"
lunar status --json >"$dir/status"
jq -r '.disks[] | "\(.vm) \(.controller) \(.lun)"' "$dir/status" |
    while read -r vm controller number; do
        lunar detach "$vm" --controller "$controller" --force "$number" || true
    done
for vm in 0 1 2 3; do
    lunar vm remove "vm$vm" 2>/dev/null || true # not all are there
done
expect '[]' jq -c .vms <<<"$(lunar status --json)"
open_after=$(find "/proc/$lunard_pid/fd" | wc -l)
[ "$open_after" -le $((open_before + 8)) ] ||
    fail "$open_after descriptors are open, $open_before were"
python3 "$dir/race.py" "$dir/control.sock" "$root" "$dir/lun" 60 \
    >"$dir/out" &
race=$!
sleep 2
stop_lunard
wait "$race"
lunar check "file:$dir/alpha.lun" | grep -q clean

step "and they are as they were after a restart"
start_lunard
lunar status --json >"$dir/status"
jq -e '[.disks[].state] | all(. == "attached")' "$dir/status" >/dev/null ||
    fail "disks did not come back: $(jq -c .disks "$dir/status")"
jq -e '[.disks[].path] | length == (unique | length)' "$dir/status" >/dev/null
stop_lunard
