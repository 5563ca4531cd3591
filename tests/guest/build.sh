#!/bin/bash
# tests/guest/build.sh - make the Linux guest of the tests: a stock Debian
# cloud kernel and an initramfs with busybox, its disk drivers and an agent.
# Installs nothing on this machine: a kernel that is not in /boot is fetched
# as a package and unpacked beside the result.
#
#   build.sh DIR        leaves DIR/vmlinuz and DIR/initrd; again: does nothing
#
# $GUEST_PROGRAMS names programs of this machine to pack as well ("fio"),
# $GUEST_MODULES drivers; a kernel in $GUEST_KERNEL (DIR/kernel) is used again.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
modules="virtio_pci virtio_console virtio_scsi sd_mod sg ext4
    ${GUEST_MODULES:-}"
# Packed with their libraries; busybox has the rest.
programs="mke2fs e2fsck ${GUEST_PROGRAMS:-}"

die() { echo "guest: $*" >&2; exit 1; }

# Print the root under which boot/ and lib/modules/ of a cloud kernel are.
find_kernel() {
    local vmlinuz

    for vmlinuz in /boot/vmlinuz-*-cloud-amd64; do
        [ -r "$vmlinuz" ] && [ -d "/lib/modules/${vmlinuz#*/vmlinuz-}" ] &&
            { echo /; return; }
    done
    fetch_kernel "${GUEST_KERNEL:-$1/kernel}"
}

fetch_kernel() {
    local root=$1 package

    if ! compgen -G "$root/boot/vmlinuz-*" >/dev/null; then
        package=$(apt-cache depends linux-image-cloud-amd64 |
            awk '$1 == "Depends:" && /cloud-amd64$/ {print $2; exit}')
        [ -n "$package" ] ||
            die "no cloud kernel in the package lists: run apt-get update"
        mkdir -p "$root/deb"
        (cd "$root/deb" && apt-get -qq -o APT::Sandbox::User=root \
            download "$package" >&2) ||
            die "cannot download $package"
        dpkg -x "$root"/deb/*.deb "$root"
        rm -r "$root/deb"
    fi
    depmod -b "$root" "$(basename "$root"/lib/modules/*)"
    echo "$root"
}

# Copy a program and the libraries that it is linked with.
pack_program() {
    local program=$1 into=$2 lib

    mkdir -p "$into/usr/bin"
    cp "$program" "$into/usr/bin/"
    ldd "$program" | grep -o '/[^ ]*' | while read -r lib; do
        mkdir -p "$into$(dirname "$lib")"
        cp -Ln "$lib" "$into$lib"
    done
}

# Copy the modules, numbered in the order in which they must be loaded.
pack_modules() {
    local root=$1 version=$2 into=$3 module path n=100

    mkdir -p "$into/modules"
    for module in $modules; do
        modprobe -d "$root" -S "$version" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' |
        while read -r path; do
            cp "$path" "$into/modules/$n-$(basename "$path")"
            n=$((n + 1))
        done
}

tree=
build() {
    local dir=$1 root vmlinuz version program

    root=$(find_kernel "$dir")
    vmlinuz=$(echo "$root"/boot/vmlinuz-*-cloud-amd64 | tr ' ' '\n' | tail -1)
    version=${vmlinuz##*/vmlinuz-}
    tree=$(mktemp -d "$dir/tree.XXXXXX")
    trap 'rm -rf "$tree"' EXIT

    mkdir -p "$tree"/{bin,dev,proc,sys,tmp,mnt,etc}
    cp "$(command -v busybox)" "$tree/bin/busybox"
    "$tree/bin/busybox" true || die "busybox does not run"
    ln -s busybox "$tree/bin/sh"
    cp "$here/init" "$tree/init"
    chmod 755 "$tree/init"
    for program in $programs; do
        program=$(command -v "$program") || die "no such program: run make deps"
        pack_program "$program" "$tree"
    done
    # Under names that busybox, which prefers its own programs, does not have.
    ln -s mke2fs "$tree/usr/bin/mkfs.ext4"
    ln -s e2fsck "$tree/usr/bin/fsck.ext4"
    pack_modules "$root" "$version" "$tree"
    (cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) \
        >"$dir/initrd.new"
    cp "$vmlinuz" "$dir/vmlinuz"
    mv "$dir/initrd.new" "$dir/initrd"
}

[ $# = 1 ] || die "usage: build.sh DIR"
PATH=$PATH:/usr/sbin:/sbin
for tool in busybox modprobe cpio gzip; do
    command -v $tool >/dev/null || die "no $tool: run make deps"
done
mkdir -p "$1"
dir=$(cd "$1" && pwd)
exec 9>"$dir/.lock"
flock 9
if [ ! -s "$dir/initrd" ] || [ "$here/init" -nt "$dir/initrd" ] ||
    [ "$here/build.sh" -nt "$dir/initrd" ]; then
    build "$dir"
fi
