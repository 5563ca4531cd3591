#!/bin/bash
# tests/system/test_vhd_files_are_exchanged_with_qemu_and_libvhdi.sh - what we
# write they read, what they write we read and change.
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
# shellcheck disable=SC2154 # $dir, $top: from system.sh
. "$(dirname "$0")/../lib/system.sh"

need qemu-img qemu-io vhdiinfo vhdimount fusermount sha256sum
make -s -C "$top" tools
tool=$top/build/${VARIANT:-release}/tools/vhdtool
MiB=1048576

sha_of() { sha256sum | cut -d' ' -f1; }
sha_ours() { "$tool" export "$1" | sha_of; }

# What libvhdi sees; of a chain, the last one is the child.
sha_libvhdi() {
    local at=$dir/mnt last
    mkdir -p "$at"
    vhdimount "$1" "$at" >/dev/null
    last=$(find "$at" -name 'vhdi*' | sort -V | tail -n 1)
    sha_of <"$last"
    fusermount -u "$at"
}

sound() {
    "$tool" check "$1" >"$dir/check.txt" ||
        { cat "$dir/check.txt" && false; }
}
media_size() { # FILE BYTES: so says libvhdi
    vhdiinfo "$1" | grep "Media size.*($2 bytes)" >/dev/null
}

same_for_all() { # FILE RAW: a disk without parents
    sound "$1"
    qemu-img compare -q -f vpc -F raw "$1" "$2"
    [ "$(qemu-img info -f vpc --output json "$1" |
        sed -n '0,/virtual-size/s/.*"virtual-size": \([0-9]*\).*/\1/p')" = \
        "$(stat -c %s "$2")" ]
    media_size "$1" "$(stat -c %s "$2")"
    [ "$(sha_ours "$1")" = "$(sha_of <"$2")" ]
    [ "$(sha_libvhdi "$1")" = "$(sha_of <"$2")" ]
}

# 37 MiB and 3 sectors: no multiple of anything; data, holes, ragged ends.
size=$((37 * MiB + 3 * 512))
truncate -s $size "$dir/a.raw"
for at in 0 5 6 7 21 36; do
    head -c $((MiB - at * 512)) /dev/urandom |
        dd of="$dir/a.raw" bs=512 seek=$((at * 2049)) conv=notrunc status=none
done

for type in fixed dynamic; do
    step "a $type disk of ours is read by QEMU and libvhdi"
    "$tool" create "$dir/$type.vhd" $type $size
    "$tool" import "$dir/$type.vhd" <"$dir/a.raw"
    same_for_all "$dir/$type.vhd" "$dir/a.raw"

    step "QEMU writes into it and we read that"
    cp --sparse=always "$dir/a.raw" "$dir/b.raw"
    for f in "-f raw $dir/b.raw" "-f vpc $dir/$type.vhd"; do
        # shellcheck disable=SC2086 # format and file
        qemu-io -c 'write -q -P 0xa5 11M 3M' -c 'write -q -P 0x5a 512 4k' $f
    done
    same_for_all "$dir/$type.vhd" "$dir/b.raw"

    step "it grows, beyond the room of its block table, and they follow"
    "$tool" resize "$dir/$type.vhd" $((70 << 30))
    "$tool" write "$dir/$type.vhd" $((69 << 30)) $((3 * MiB)) 9
    sound "$dir/$type.vhd"
    truncate -s $((70 << 30)) "$dir/b.raw"
    "$tool" export "$dir/$type.vhd" $((69 << 30)) $((3 * MiB)) |
        dd of="$dir/b.raw" bs=1M seek=$((69 << 10)) conv=notrunc status=none
    [ "$(od -An -tx8 -j $((69 << 30)) -N 8 "$dir/b.raw")" = \
        " 0009001140000000" ]
    qemu-img compare -q -f vpc -F raw "$dir/$type.vhd" "$dir/b.raw"
    media_size "$dir/$type.vhd" $((70 << 30))
done

step "a disk that QEMU made is read, written and grown"
qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on \
    "$dir/a.raw" "$dir/qemu.vhd"
same_for_all "$dir/qemu.vhd" "$dir/a.raw"
cp --sparse=always "$dir/a.raw" "$dir/c.raw"
"$tool" write "$dir/qemu.vhd" $((9 * MiB)) $((5 * MiB)) 3
"$tool" discard "$dir/qemu.vhd" $((5 * MiB)) $((2 * MiB))
"$tool" export "$dir/qemu.vhd" >"$dir/c.raw"
same_for_all "$dir/qemu.vhd" "$dir/c.raw"
"$tool" resize "$dir/qemu.vhd" $((50 * MiB))
truncate -s $((50 * MiB)) "$dir/c.raw"
same_for_all "$dir/qemu.vhd" "$dir/c.raw"
qemu-io -f vpc -c 'write -q -P 0x77 45M 2M' "$dir/qemu.vhd"
qemu-io -f raw -c 'write -q -P 0x77 45M 2M' "$dir/c.raw"
same_for_all "$dir/qemu.vhd" "$dir/c.raw"

# Whole 4 KiB only: libvhdi 20210425 takes eight sectors for the child's when
# one of them is.
step "a chain of three files of ours is read by libvhdi"
mkdir "$dir/sub"
"$tool" create "$dir/base.vhd" dynamic $size
"$tool" import "$dir/base.vhd" <"$dir/a.raw"
"$tool" create "$dir/middle.vhd" differencing 0 "$dir/base.vhd"
"$tool" write "$dir/middle.vhd" $((4 * MiB + 4096)) $((3 * MiB)) 5
"$tool" create "$dir/child.vhd" differencing 0 "$dir/middle.vhd"
"$tool" write "$dir/child.vhd" $((6 * MiB + 4096)) 8192 6
"$tool" zero "$dir/child.vhd" 0 $((2 * MiB + 4096))
for f in base middle child; do sound "$dir/$f.vhd"; done
"$tool" info "$dir/child.vhd" | grep -x 'chain 3' >/dev/null
[ "$(sha_ours "$dir/child.vhd")" = "$(sha_libvhdi "$dir/child.vhd")" ]
[ "$(sha_ours "$dir/child.vhd")" != "$(sha_ours "$dir/middle.vhd")" ]

step "a chain whose folder was moved is still found; a wrong parent is not"
mkdir "$dir/moved"
mv "$dir/base.vhd" "$dir/middle.vhd" "$dir/child.vhd" "$dir/moved"
before=$(sha_ours "$dir/moved/child.vhd")
[ "$before" = "$(sha_libvhdi "$dir/moved/child.vhd")" ]
cp "$dir/dynamic.vhd" "$dir/moved/middle.vhd"
expect_fail "its parent is not to be found" "$tool" info "$dir/moved/child.vhd"
