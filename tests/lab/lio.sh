#!/bin/sh
# tests/lab/lio.sh - runs in the guest that is the SAN of `lab up --san lio`:
# makes its disks LUNs of the kernel's own target.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# lio.sh IQN LUNS      LUN n is the disk with SCSI address 0:0:0:n
set -eux
exec 2>/dev/console # where `lab` looks when there is no answer
iqn=$1
echo 8 >/proc/sys/kernel/printk # to the console, what the target says
mount -t configfs none /sys/kernel/config 2>/dev/null || :
mkdir -p /var/target/pr # where it keeps reservations (APTPL)
ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
route add default gw 10.0.2.2
cd /sys/kernel/config/target
mkdir -p "iscsi/$iqn/tpgt_1"
portal=iscsi/$iqn/tpgt_1

lun=1
while [ "$lun" -le "$2" ]; do
    disk=$(ls "/sys/bus/scsi/devices/0:0:0:$lun/block")
    core=core/iblock_0/lun$lun
    mkdir -p "$core"
    echo "udev_path=/dev/$disk" >"$core/control"
    echo 1 >"$core/enable"
    printf 'lab%05d\n' "$lun" >"$core/wwn/vpd_unit_serial" # hex: for a WWID
    echo 1 >"$core/attrib/emulate_tpu"
    mkdir "$portal/lun/lun_$lun"
    ln -s "$PWD/$core" "$portal/lun/lun_$lun/backend"
    lun=$((lun + 1))
done

mkdir "$portal/np/0.0.0.0:3260"
echo 0 >"$portal/attrib/authentication"
echo 0 >"$portal/attrib/demo_mode_write_protect"
echo 1 >"$portal/attrib/generate_node_acls"
echo 1 >"$portal/attrib/cache_dynamic_acls"
echo 1 >"$portal/enable"
