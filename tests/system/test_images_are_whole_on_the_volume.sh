#!/bin/bash
# tests/system/test_images_are_whole_on_the_volume.sh - disk images that other
# programs make, copy and compare through the mount keep every byte, also over
# a restart of the daemon.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/../lib/daemon.sh"
need qemu-img mke2fs sha256sum

# An image with something real in it: ext4 with this source tree.
truncate -s 96M "$dir/image.raw"
mkdir "$dir/tree"
cp -r "$top/fs" "$top/vhd" "$top/docs" "$dir/tree"
mke2fs -q -F -t ext4 -d "$dir/tree" "$dir/image.raw"
want=$(sha256sum <"$dir/image.raw")

start_lunard
new_volume images 1G
on=$root/images

step "converted onto the volume, each format compares equal"
qemu-img convert -f raw -O raw "$dir/image.raw" "$on/a.raw"
qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on \
    "$dir/image.raw" "$on/a-dynamic.vhd"
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on \
    "$dir/image.raw" "$on/a-fixed.vhd"
qemu-img convert -f raw -O qcow2 "$dir/image.raw" "$on/a.qcow2"
qemu-img convert -f raw -O raw -t none -W -m 8 "$dir/image.raw" "$on/b.raw"

compare_all() {
    expect "$want" sha256sum <"$on/a.raw"
    expect "$want" sha256sum <"$on/b.raw"
    qemu-img compare -f raw -F vpc "$dir/image.raw" "$on/a-dynamic.vhd"
    qemu-img compare -f raw -F vpc "$dir/image.raw" "$on/a-fixed.vhd"
    qemu-img compare -f raw -F qcow2 "$dir/image.raw" "$on/a.qcow2"
    qemu-img compare -f raw -F raw -T none "$dir/image.raw" "$on/a.raw"
    lunar disk check "$on/a-dynamic.vhd"
    lunar disk check "$on/a-fixed.vhd"
} >"$dir/compare.log"
compare_all

step "the same after a restart"
stop_lunard
lunar check "file:$dir/images.lun" >/dev/null
start_lunard
compare_all

step "copied within the volume, sparse and not"
cp --sparse=always "$on/a.raw" "$on/sparse.raw"
cp --sparse=never --reflink=never "$on/a.raw" "$on/full.raw"
expect "$want" sha256sum <"$on/sparse.raw"
expect "$want" sha256sum <"$on/full.raw"
[ "$(stat -c %b "$on/sparse.raw")" -lt "$(stat -c %b "$on/full.raw")" ] ||
    fail "holes of a sparse copy take space"

step "deleted: the space is free again"
rm "$on"/*
sync -f "$on"
wait_for 10 eval '[ "$(df --output=used -m "$on" | tail -1)" -lt 100 ]'
stop_lunard
lunar check "file:$dir/images.lun" >/dev/null
