#!/bin/bash
# tests/system/test_install_and_uninstall_leave_nothing_behind.sh - make
# install puts what runs below DESTDIR, make uninstall takes it all away, but
# for what the administrator wrote.
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
. "$(dirname "$0")/../lib/system.sh"

make="make -s -C $top PREFIX=/usr DESTDIR=$dir/root"

step "install"
$make install >"$dir/make.log" 2>&1
"$dir/root/usr/bin/lunar" help >/dev/null
"$dir/root/usr/sbin/lunard" --help >/dev/null
expect 755 stat -c %a "$dir/root/etc/lunar"
expect "" find "$dir/root/etc" -type f
grep -q 'lunard --check-config' "$dir/make.log" || fail "does not say what next"
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

step "what the administrator wrote into /etc/lunar is left alone"
echo "; mine" >"$dir/root/etc/lunar/lunar.conf"
$make install >"$dir/make.log" 2>&1
expect "; mine" cat "$dir/root/etc/lunar/lunar.conf"

step "uninstall"
$make uninstall >"$dir/make.log" 2>&1
expect "$dir/root/etc/lunar/lunar.conf" find "$dir/root" -type f
