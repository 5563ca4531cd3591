#!/bin/bash
# tests/lab/init.sh - process 1 of the lab's network, and of each host in it:
# builds the host's root directory, then waits and reaps.  When it dies, the
# kernel ends all that runs below it, and its mounts and links with it.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# init.sh DIR [HOST]    in namespaces made by tests/lab/lab; DIR is the host's
set -eu
dir=$1 host=${2:-}
# /proc is still that of the machine: our number as `lab` knows it.
read -r pid _ </proc/self/stat

# Bind the machine's directories below $PWD, but for those with a place of
# their own in every host.
bind_machine() {
    local at
    for at in /*; do
        at=${at#/}
        case $at in etc | proc | run) continue ;; esac
        if [ -L "/$at" ]; then
            cp -a "/$at" "$at"
        elif [ -d "/$at" ]; then
            mkdir "$at"
            mount --rbind "/$at" "$at"
        fi
    done
}

# /etc is a directory of links, so that the host has files of its own in it
# and nothing is written into the machine's.
build_etc() {
    local file
    mkdir etc .etc
    mount --rbind /etc .etc
    for file in .etc/* .etc/.[!.]*; do
        file=${file##*/}
        case $file in
        lunar | corosync | hosts | hostname | machine-id) ;;
        *) [ ! -e "/etc/$file" ] || echo "../.etc/$file" ;;
        esac
    done | xargs ln -s -t etc
    for file in lunar corosync hosts hostname machine-id; do
        [ ! -e "$dir/etc/$file" ] || ln -s "/lab/etc/$file" etc/
    done
}

build_root() {
    mount -t tmpfs -o mode=755,size=16m "lab-$host" "$dir/root"
    mount --make-unbindable "$dir/root" # its rbinds must not meet itself
    cd "$dir/root"
    bind_machine
    build_etc
    mkdir -p proc run lab ClusterStorage
    mount -t proc proc proc
    mount -t tmpfs -o mode=755 run run
    mkdir -p run/lock
    mount -t tmpfs -o mode=1777 shm dev/shm
    mount --bind "$dir" lab
    if [ -d var/lib/corosync ]; then
        mount --bind "$dir/corosync" var/lib/corosync
    fi
}

if [ -n "$host" ]; then
    hostname "$host"
    build_root
    cd /
    set -- chroot "$dir/root"
    dir=/lab
else
    set --
fi
# Whoever reads the file finds a host that is whole: it has this root already.
# shellcheck disable=SC2016 # the inner shell expands
exec "$@" bash -c '
    rm -f "$1/init"
    mkfifo "$1/init"
    exec 3<>"$1/init"
    echo "$2" >"$1/pid.new"
    mv "$1/pid.new" "$1/pid"
    while :; do read -r -u 3 _ || :; done' init "$dir" "$pid"
