#!/bin/bash
# tests/system/test_install_and_uninstall_leave_nothing_behind.sh - make
# install puts what runs below DESTDIR, make uninstall takes it all away.
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
. "$(dirname "$0")/../lib/system.sh"

make="make -s -C $top PREFIX=/usr DESTDIR=$dir/root"

step "install"
$make install >"$dir/make.log" 2>&1
"$dir/root/usr/bin/lunar" help >/dev/null
"$dir/root/usr/sbin/lunard" --help >/dev/null
for page in "$top"/docs/man/*.[1-8]; do
    name=${page##*/}
    cmp "$page" "$dir/root/usr/share/man/man${name##*.}/$name"
done

step "the unit starts what was installed, also with another PREFIX"
unit=$dir/root/usr/lib/systemd/system/lunard.service
grep -q '^ExecStart=/usr/sbin/lunard' "$unit"
make -s -C "$top" PREFIX=/opt DESTDIR="$dir/opt" install >"$dir/make.log" 2>&1
grep -q '^ExecStart=/opt/sbin/lunard' \
    "$dir/opt/opt/lib/systemd/system/lunard.service"

step "uninstall"
$make uninstall >"$dir/make.log" 2>&1
expect "" find "$dir/root" -type f
