#!/bin/bash
# tests/system/test_mount_names.sh - names, links, modes, extended attributes
# and ACLs through the mount; what the root, which lists volumes, refuses.
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
. "$(dirname "$0")/../lib/mount.sh"
need getfattr setfattr setfacl getfacl

serve -f

step "the root lists the volumes and takes nothing else"
expect v ls "$m"
! mkdir "$m/x" 2>"$dir/err" || fail "a directory beside the volumes"
grep -q 'Operation not permitted' "$dir/err"
! mv "$v" "$m/w" 2>/dev/null || fail "a volume was renamed"
! rmdir "$v" 2>/dev/null || fail "a volume was removed as a directory"
[ "$(df --output=size "$v" | tail -1)" -gt 900000 ]

step "files, directories, links"
mkdir -p "$v/a/b/c"
echo one >"$v/a/file"
ln "$v/a/file" "$v/a/b/hard"
ln -s ../file "$v/a/b/soft"
expect one cat "$v/a/b/soft"
expect 2 stat -c %h "$v/a/file"
expect "$(stat -c %i "$v/a/file")" stat -c %i "$v/a/b/hard"
mv "$v/a/b/hard" "$v/moved"
expect one cat "$v/moved"
echo two >"$v/other"
mv "$v/other" "$v/moved"
expect two cat "$v/moved"
expect 1 stat -c %h "$v/a/file"
! rmdir "$v/a" 2>/dev/null || fail "a directory that is not empty is gone"
mkfifo "$v/fifo"
mknod "$v/null" c 1 3
expect 1:3 stat -c %t:%T "$v/null"

step "a directory of 2000 names is listed whole"
mkdir "$v/many"
(cd "$v/many" && seq -f 'name-%05g' 2000 | xargs touch)
expect 2000 sh -c "ls '$v/many' | wc -l"
expect 2000 sh -c "ls -l '$v/many' | grep -c name"
rm -r "$v/many"

step "an unlinked file lives while it is open"
exec 3<>"$v/gone"
echo text >&3
rm "$v/gone"
expect text cat /proc/self/fd/3 3<&3
exec 3>&-

step "modes, owners, times, set-id bits"
touch -d '2001-02-03 04:05:06.789' "$v/a/file"
expect '2001-02-03 04:05:06.789000000' date -r "$v/a/file" '+%F %T.%N'
cp -p "$v/a/file" "$v/kept"
expect "$(stat -c %y "$v/a/file")" stat -c %y "$v/kept"
chmod 6777 "$v/kept"
setpriv --reuid 65534 --regid 65534 --clear-groups \
    sh -c "echo x >>'$v/kept'"
expect 777 stat -c %a "$v/kept"
nobody() {
    setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
}
for change in 'fallocate -l 8k' 'fallocate -pl 4k' 'truncate -s 99'; do
    chmod 6777 "$v/kept"
    # shellcheck disable=SC2086 # a command and its options
    nobody $change "$v/kept"
    expect 777 stat -c %a "$v/kept"
done
mkdir -m 2775 "$v/group"
chgrp 65534 "$v/group"
touch "$v/group/file"
expect 65534 stat -c %g "$v/group/file"
mkdir -m 1777 "$v/sticky"
touch "$v/sticky/mine"
! setpriv --reuid 65534 --regid 65534 --clear-groups rm -f "$v/sticky/mine" \
    2>/dev/null || fail "a sticky directory does not protect"

step "extended attributes"
setfattr -n user.colour -v blue "$v/a/file"
expect blue getfattr --absolute-names --only-values -n user.colour "$v/a/file"
setfattr -x user.colour "$v/a/file"
! getfattr -n user.colour "$v/a/file" 2>/dev/null || fail "it is still there"
! getfattr -n other.colour "$v/a/file" 2>"$dir/err" || fail "no such class"
grep -q 'not supported' "$dir/err"
setfattr -x system.posix_acl_access "$v/a/file" # there is none: not an error
setfattr -n trusted.secret -v x "$v/a/file"
setfattr -n user.colour -v red "$v/a/file"
getfattr --absolute-names -m - "$v/a/file" | grep -q trusted.secret
nobody getfattr --absolute-names -m - "$v/a/file" >"$dir/names"
grep -q user.colour "$dir/names"
! grep trusted "$dir/names" || fail "somebody sees names that are root's"

step "ACLs are kept, inherited and obeyed"
echo secret >"$v/secret"
chmod 600 "$v/secret"
setfacl -m u:65534:r "$v/secret"
expect secret setpriv --reuid 65534 --regid 65534 --clear-groups \
    cat "$v/secret"
chmod 600 "$v/secret"
! setpriv --reuid 65534 --regid 65534 --clear-groups cat "$v/secret" \
    2>/dev/null || fail "chmod left the mask of the ACL alone"
setfacl -d -m u:65534:rw "$v/a"
umask 077
touch "$v/a/heir"
umask 022
getfacl -n "$v/a/heir" 2>/dev/null | grep -q '^user:65534:rw'

step "all of it is there after a restart"
before=$(cd "$v" && find . -printf '%p %m %U %G %n %s %l %T@\n' | sort)
unserve
serve
expect "$before" sh -c \
    "cd '$v' && find . -printf '%p %m %U %G %n %s %l %T@\n' | sort"
unserve
