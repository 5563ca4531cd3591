#!/bin/bash
# tests/lib/deps.sh - installs the Debian packages that a target needs.
# Prints nothing when all is there.  Leaves no service enabled or running that
# it did not find so, and installs no kernel.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Usage: deps.sh GROUP...     groups: build check demo bench full
set -eu
export LC_ALL=C
cd "$(dirname "$0")/../.."

build="gcc libc6-dev rpcsvc-proto zlib1g-dev libaio-dev libfuse3-dev
    libiscsi-dev libjansson-dev libinih-dev libsqlite3-dev libtirpc-dev
    libssl-dev libcpg-dev libquorum-dev
    libvotequorum-dev"
guest="qemu-system-x86 qemu-system-data qemu-utils seabios busybox-static
    kmod cpio fuse3 e2fsprogs procps"
check="$guest libcunit1-dev clang clang-format-14 libclang-rt-14-dev tgt
    libiscsi-bin libvhdi-utils sqlite3 jq fio stress-ng attr acl man-db
    corosync iproute2 util-linux spin"
lab="tgt corosync iproute2 util-linux jq"
bench="$guest $lab fio libiscsi-bin qemu-block-extra"
full="$check valgrind cppcheck shellcheck"

packages=
kernel=
for group; do
    case $group in
    build) packages="$packages $build" ;;
    check) packages="$packages $check" kernel=1 ;;
    demo) packages="$packages $guest $lab" kernel=1 ;;
    bench) packages="$packages $bench" kernel=1 ;;
    full) packages="$packages $full" kernel=1 ;;
    *)
        echo "deps.sh: no group $group" >&2
        exit 2
        ;;
    esac
done

missing() {
    # shellcheck disable=SC2086 # a list of words
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' $packages 2>/dev/null |
        awk -v want="$packages" '
            $1 == "installed" { have[$2] = 1 }
            END { n = split(want, name)
                  for (i = 1; i <= n; i++)
                      if (!have[name[i]]++) printf "%s ", name[i] }'
}

# -- what must be undone, however this ends
work=   # a directory
policy= # the file that forbids starting services, while it is ours
clean_up() {
    if [ -n "$policy" ]; then
        rm -f "$policy"
        [ ! -e "$work/policy-rc.d" ] || mv "$work/policy-rc.d" "$policy"
        policy=
    fi
    [ -z "$work" ] || rm -rf "$work"
    work=
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

need_root() {
    [ "$(id -u)" = 0 ] || {
        echo "missing packages; as root: apt-get install $1" >&2
        exit 1
    }
}

loud_if_failing() {
    "$@" >"$work/log" 2>&1 || {
        tail -n 30 "$work/log" >&2
        echo "deps.sh: failed: $*" >&2
        exit 1
    }
}

apt() {
    DEBIAN_FRONTEND=noninteractive loud_if_failing \
        apt-get -qq -y -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@"
}

# The links that make init start something at boot.
start_links() {
    find /etc/systemd/system /etc/rc[0-9S].d -type l \
        \( -path '*.wants/*' -o -name 'S*' \) 2>/dev/null | sort
}

# From here on maintainer scripts may not start a service.
forbid_services() {
    [ ! -e /usr/sbin/policy-rc.d ] || mv /usr/sbin/policy-rc.d "$work/"
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    start_links >"$work/before"
}

disable_new_services() {
    start_links | comm -13 "$work/before" - | while read -r link; do
        name=${link##*/}
        case $link in
        */rc?.d/*) update-rc.d "${name#S[0-9][0-9]}" disable ;;
        *) systemctl --no-reload disable "$name" || rm -f "$link" ;;
        esac >/dev/null 2>&1 || echo "still starts at boot: $name" >&2
    done
}

install_packages() {
    need_root "$1"
    # shellcheck disable=SC2086 # a list of words
    set -- $1
    echo "installing $# packages: $*"
    forbid_services
    apt update
    apt install --no-install-recommends "$@"
    disable_new_services
}

# tests/guest/build.sh unpacks Debian's cloud kernel when the machine has none
# in /boot, and needs to find it in the package lists.
kernel_known() {
    compgen -G '/boot/vmlinuz-*-cloud-amd64' >/dev/null ||
        apt-cache depends linux-image-cloud-amd64 2>/dev/null | grep -q Depends
}

absent=$(missing)
[ -z "$kernel" ] || ! kernel_known || kernel=
[ -n "$absent$kernel" ] || exit 0

exec 9>/run/lunar-deps.lock 2>/dev/null || exec 9>/dev/null
flock 9 2>/dev/null || :
work=$(mktemp -d)
absent=$(missing) # another one may have been faster
if [ -n "$absent" ]; then
    install_packages "$absent"
elif ! kernel_known; then
    need_root linux-image-cloud-amd64
    apt update
fi
