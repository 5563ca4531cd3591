#!/bin/bash
# bench/wire.sh - messages between two hosts over loopback: the transport with
# TLS beside plain TCP with the same frames, both ends in one program, each on
# a thread of its own.  What plain TCP is faster by is the price of TLS.
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$(dirname "$0")/lib.sh"

# sample LOAD BYTES: prints "ROW VALUE".
sample_tls() { echo "$1-$2 $("$tools/wire" tls "$1" "$2" "$bench_ms")"; }
sample_plain() { echo "$1-$2 $("$tools/wire" plain "$1" "$2" "$bench_ms")"; }

title "round trips of one message" tls plain
for bytes in 64 4096 65536; do
    rounds "1/s" trips $bytes
done

title "messages in one direction" tls plain
for bytes in 256 4096 65536 1048576 4194304; do
    rounds "MB/s" stream $bytes
done
