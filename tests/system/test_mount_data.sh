#!/bin/bash
# tests/system/test_mount_data.sh - bytes written through the mount are read
# back: direct, cached, mapped, at any alignment, also after a restart.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/mount.sh"
need fio sha256sum fallocate cmp

verify() {
    fio --directory="$v" --size=16m --rw=randwrite --verify=crc32c \
        --group_reporting --verify_state_save=0 --thread --minimal "$@" \
        >"$dir/fio.log" 2>&1 || fail "fio $*"
    rm -f "$v"/fio*
}

drop_caches() {
    sync "$1"
    [ ! -w /proc/sys/vm/drop_caches ] || echo 1 >/proc/sys/vm/drop_caches
}

serve -f

step "direct I/O, four jobs, 4 KiB to 1 MiB"
verify --name=fio --numjobs=4 --bsrange=4k-1m --ba=4k --direct=1 \
    --ioengine=libaio --iodepth=8
step "cached I/O at any alignment"
verify --name=fio --numjobs=4 --bsrange=1k-1m --bs_unaligned \
    --ioengine=psync
step "a shared mapping"
verify --name=fio --numjobs=2 --bs=4k --ioengine=mmap
step "a shared mapping of a file that is open with O_DIRECT"
verify --name=fio --numjobs=1 --bs=4k --ioengine=mmap --direct=1

step "what direct I/O writes cached I/O sees, and the other way round"
dd if=/dev/urandom of="$dir/a" bs=64k count=16 status=none
dd if=/dev/urandom of="$dir/b" bs=64k count=16 status=none
cp "$dir/a" "$v/mixed"
cat "$v/mixed" >/dev/null
dd if="$dir/b" of="$v/mixed" bs=64k oflag=direct conv=notrunc status=none
cmp "$dir/b" "$v/mixed"
dd if="$dir/a" of="$v/mixed" bs=64k conv=notrunc status=none
dd if="$v/mixed" bs=64k iflag=direct status=none | cmp - "$dir/a"

step "holes: punched, zeroed, found, copied"
cp "$dir/a" "$v/holes"
cp "$dir/a" "$dir/model"
for f in "$v/holes" "$dir/model"; do
    fallocate -p -o 5000 -l 100000 "$f"
    fallocate -z -o 300001 -l 70000 "$f"
    truncate -s 700001 "$f"
    truncate -s 900000 "$f"
    printf x | dd of="$f" bs=1 seek=950000 conv=notrunc status=none
done
cmp "$v/holes" "$dir/model"
drop_caches "$v/holes"
cmp "$v/holes" "$dir/model"
cp --sparse=always "$v/holes" "$v/sparse"
cmp "$v/sparse" "$dir/model"
[ "$(stat -c %b "$v/sparse")" -lt "$(stat -c %b "$v/mixed")" ] ||
    fail "the copy of a file with holes has none"
fallocate -l 100M "$v/allocated"
expect 104857600 stat -c %s "$v/allocated"
cmp -n 104857600 "$v/allocated" /dev/zero
rm "$v/allocated"

step "all of it is there after a restart"
cp "$dir/b" "$v/copied"
before=$(cd "$v" && sha256sum ./*)
unserve
serve
[ "$before" = "$(cd "$v" && sha256sum ./*)" ] || fail "contents differ"

step "a full volume says so, and is usable again"
! dd if=/dev/zero of="$v/big" bs=1M status=none 2>"$dir/err" ||
    fail "there is no end to it"
grep -q 'No space left' "$dir/err"
rm "$v/big"
wait_for 20 cp "$dir/a" "$v/again"
cmp "$dir/a" "$v/again"
unserve
