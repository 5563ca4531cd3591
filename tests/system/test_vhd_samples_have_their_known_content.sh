#!/bin/bash
# tests/system/test_vhd_samples_have_their_known_content.sh - files of Windows,
# XenServer, VirtualBox and QEMU have the size and content that they are known
# to have, and take our writes and growth.  The samples are no part of this
# tree: VHD_SAMPLES, or ../shared/vhd-samples.
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
# shellcheck disable=SC2154 # $dir, $top: from system.sh
. "$(dirname "$0")/../lib/system.sh"

samples=${VHD_SAMPLES:-$top/../shared/vhd-samples}
[ -d "$samples" ] || skip "no folder of samples at $samples (VHD_SAMPLES)"
need sha256sum gzip
make -s -C "$top" tools
tool=$top/build/${VARIANT:-release}/tools/vhdtool
MiB=1048576

is_sound() {
    "$tool" check "$1" >"$dir/check.txt" ||
        { cat "$dir/check.txt" && false; }
}
has_size() { "$tool" info "$1" | grep -x "size $2" >/dev/null; }

# A write at 3 MiB + 512 changes these bytes and no others.
takes_a_write() {
    local at=$((3 * MiB + 512))
    "$tool" export "$1" >"$dir/before"
    "$tool" write "$1" $at 4096 1
    "$tool" export "$1" >"$dir/after"
    [ "$(od -An -tx8 -j $at -N 8 "$dir/after")" = \
        " $(printf %016x $((1 << 48 ^ at)))" ]
    ! cmp -s "$dir/before" "$dir/after"
    dd if="$dir/after" of="$dir/before" bs=512 skip=$((at / 512)) count=8 \
        seek=$((at / 512)) conv=notrunc status=none
    cmp "$dir/before" "$dir/after"
}

# FILE BYTES: it becomes 5 MiB and a sector longer, zeros, and nothing else.
takes_growth() {
    local bytes=$(($2 + 5 * MiB + 512))
    "$tool" resize "$1" $bytes
    has_size "$1" $bytes
    truncate -s $bytes "$dir/after"
    "$tool" export "$1" | cmp - "$dir/after"
}

for file in "$samples"/*.vhd "$samples"/*.vhd.gz; do
    plain=$dir/$(basename "$file" .gz)
    gzip -dcf <"$file" >"$plain" # as it is, if it is not compressed
done

# A child before its parent, which is written here.
while read -r file bytes sha; do
    step "$file"
    has_size "$dir/$file" "$bytes"
    [[ $("$tool" export "$dir/$file" | sha256sum) == "$sha"* ]]
    is_sound "$dir/$file"
    takes_a_write "$dir/$file"
    is_sound "$dir/$file"
    takes_growth "$dir/$file" "$bytes"
    is_sound "$dir/$file"
done <<END
win8-child.vhd      41943040    80a3721188e40218
win8.vhd            41943040    80a3721188e40218
win8.1-1GB.vhd      1073741824  49bc20df15e412a6
vbox.vhd            41943040    80a3721188e40218
qemu.vhd            41953280    258dd1ab1617727f
xapi.vhd            41943040    80a3721188e40218
fixed.vhd           10485760    459325ab1fcd1d5e
dynamic.vhd         10485760    ecff2ef6615a3cdd
END

step "files with wrong checksums are refused, and it is said why"
for f in bad-checksum-parent bad-checksum-child; do
    expect_fail "checksum is 0x" "$tool" info "$dir/$f.vhd"
done
