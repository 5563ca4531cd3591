#!/bin/bash
# tests/demo/demo.sh - from a LUN to a disk in a running guest, and back.
# Runs what was built; installs nothing and leaves nothing behind, also when
# it is interrupted.  Needs root, for the mount.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   $ROOT      where the volumes appear; else /ClusterStorage, or a directory
#              of the demo's own if that is in use
#   $DEMO_DIR  where the LUNs are made; else a new directory below /tmp

set -euo pipefail
export LC_ALL=C
top=$(cd "$(dirname "$0")/../.." && pwd)
bin=$top/build/${VARIANT:-release}/bin
guest=$top/tests/guest/guest
PATH=$bin:$PATH:/usr/sbin:/sbin

dir=$(mktemp -d "${DEMO_DIR:-/tmp}/lunar-demo.XXXXXX")
vm=$dir/guest
began_ns=$(date +%s%N)
lunard_pid=
made_root=

# -- saying what happens ----------------------------------------------------
step_text='' step_ns=0

ms_since() {
    echo $((($(date +%s%N) - $1) / 1000000))
}

end_step() {
    [ -z "$step_text" ] ||
        printf '%-60s %6d ms\n' "$step_text" "$(ms_since "$step_ns")"
    step_text=
}

step() {
    end_step
    step_text=$* step_ns=$(date +%s%N)
}

note() {
    printf '    %s\n' "$*"
}

die() {
    step_text=
    echo "demo: $*" >&2
    exit 1
}

# -- cleaning up ------------------------------------------------------------
stop_lunard() {
    local pid=$lunard_pid

    [ -n "$pid" ] || return 0
    lunard_pid=
    kill "$pid" 2>/dev/null || true
    wait "$pid"
}

clean_up() {
    local status=$?

    trap '' EXIT INT TERM HUP
    set +e
    if [ $status != 0 ]; then
        [ -z "$step_text" ] || echo "demo: failed: $step_text" >&2
        for log in "$dir/lunard.log" "$vm/console.log" "$vm/qemu.log"; do
            [ -s "$log" ] && echo "--- ${log##*/}" && tail -n 15 "$log"
        done >&2
    fi
    "$guest" stop "$vm" 2>/dev/null
    stop_lunard
    ! mountpoint -q "$root" 2>/dev/null || umount -l "$root"
    [ -z "$made_root" ] || rmdir "$root" 2>/dev/null
    rm -rf --one-file-system "$dir"
    exit $status
}

# -- small words ------------------------------------------------------------
lunar() {
    command lunar --socket "$dir/control.sock" "$@"
}

# wait_for SECONDS COMMAND…: until it succeeds.
wait_for() {
    local end=$(($(date +%s%N) + $1 * 1000000000)) what=${*:2}

    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s%N)" -lt "$end" ] || die "not in time: $what"
        sleep 0.02
    done
}

guest() {
    "$guest" run "$vm" "$@"
}

same() {
    [ "$2" = "$3" ] || die "$1: $2 in the guest, $3 on the host"
    note "$1: $2"
}

choose_root() {
    root=${ROOT:-/ClusterStorage}
    if [ -z "${ROOT:-}" ] && [ -d "$root" ] &&
        { mountpoint -q "$root" || [ -n "$(ls -A "$root")" ]; }; then
        root=$dir/ClusterStorage
    fi
    if [ ! -d "$root" ]; then
        mkdir -p "$root"
        made_root=1
    fi
}

root=
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
[ "$(id -u)" = 0 ] || die "run it as root: it mounts a file system"
[ -x "$bin/lunard" ] || die "no $bin/lunard: run make"
choose_root

# -- the volume -------------------------------------------------------------
step "format: a file of 1 GiB is the LUN"
truncate -s 1G "$dir/lun"
lunar format "file:$dir/lun" --name demo

step "lunard: the volume is at $root/demo"
cat >"$dir/lunar.conf" <<END
[host]
name = demo-host
root = $root
control = $dir/control.sock
state = $dir/state
run = $dir/run
END
lunard --config "$dir/lunar.conf" 2>"$dir/lunard.log" &
lunard_pid=$!
wait_for 10 lunar status
lunar volume add "file:$dir/lun" >/dev/null
mountpoint -q "$root" || die "$root is no mount point"
[ -d "$root/demo" ] || die "no $root/demo"

step "disk: a fixed VHD of 128 MiB on it"
lunar disk create "$root/demo/vm.vhd" --size 128M --type fixed
qemu-img info -f vpc "$root/demo/vm.vhd" | grep -q 'virtual size: 128 MiB' ||
    die "qemu-img sees another size"

# -- the guest --------------------------------------------------------------
step "vm: a controller for the guest"
lunar vm add web >/dev/null

step "guest: a kernel and an initramfs (once)"
"$top/tests/guest/build.sh" "$top/build/guest"

step "guest: Debian's kernel boots, a vhost-user-scsi controller in it"
"$guest" start "$vm" -chardev "socket,id=c0,path=$dir/run/web/0.sock" \
    -device vhost-user-scsi-pci,chardev=c0
note "$(guest 'uname -sr')"

step "hot add: the VHD is /dev/sda in the guest"
lunar attach web "$root/demo/vm.vhd" --lun 0 >/dev/null
guest 'until [ -b /dev/sda ]; do usleep 10000; done' 10
note "$(guest 'tr -s " " </sys/block/sda/device/vendor | tr -d "\n"
               cat /sys/block/sda/device/model'), $(
    # shellcheck disable=SC2016 # the guest's shell expands it
    guest 'echo $(($(cat /sys/block/sda/size) / 2048)) MiB')"

step "guest: makes ext4 on it, writes 16 MiB, syncs"
vhd_sum=$(guest 'set -e
    mkfs.ext4 -q -E nodiscard /dev/sda
    mount -t ext4 /dev/sda /mnt
    dd if=/dev/urandom of=/mnt/data bs=1M count=16 2>/dev/null
    sync
    sha256sum </mnt/data | cut -d" " -f1')

step "hot add: a second LUN, passed through, is /dev/sdb"
truncate -s 16M "$dir/lun2"
lunar attach web "file:$dir/lun2" --lun 1 >/dev/null
guest 'until [ -b /dev/sdb ]; do usleep 10000; done' 10
lun_sum=$(guest 'set -e
    dd if=/dev/urandom of=/dev/sdb bs=1M count=16 conv=fsync 2>/dev/null
    sha256sum </dev/sdb | cut -d" " -f1')

step "guest: unmounts, sums up the whole disk"
guest 'umount /mnt'
whole_sum=$(guest 'sha256sum </dev/sda | cut -d" " -f1' 300)

step "hot remove: both, while the guest runs"
lunar detach web 0
lunar detach web 1
guest 'while [ -b /dev/sda ] || [ -b /dev/sdb ]; do usleep 10000; done' 10
complaints=$(guest 'dmesg -r | grep "^<[0-3]>" || true')
[ -z "$complaints" ] || die "the guest's kernel complains: $complaints"

# -- the verdict, from the host ---------------------------------------------
step "host: qemu-img reads the VHD through $root"
qemu-img convert -f vpc -O raw "$root/demo/vm.vhd" "$dir/raw"
truncate -s 128M "$dir/raw"
qemu-img compare -q -f vpc -F raw "$root/demo/vm.vhd" "$dir/raw" ||
    die "qemu-img compare finds a difference"
same "the whole disk" "$whole_sum" "$(sha256sum <"$dir/raw" | cut -d' ' -f1)"
debugfs -R "dump /data $dir/data" "$dir/raw" 2>/dev/null
same "the file in it" "$vhd_sum" "$(sha256sum <"$dir/data" | cut -d' ' -f1)"
same "the passed LUN" "$lun_sum" "$(sha256sum <"$dir/lun2" | cut -d' ' -f1)"

step "check: the disk, and the volume in use"
lunar disk check "$root/demo/vm.vhd" >/dev/null
lunar check demo >/dev/null

step "guest: switches off"
"$guest" stop "$vm"

step "lunard: SIGTERM, everything is closed"
stop_lunard || die "lunard failed when it stopped"
! mountpoint -q "$root" || die "$root is mounted still"
[ ! -e "$dir/control.sock" ] || die "the control socket is there still"

step "check: the LUN that is left"
lunar check "file:$dir/lun" >/dev/null
end_step
printf '%-60s %6d ms\n' "demo: all is well" "$(ms_since "$began_ns")"
