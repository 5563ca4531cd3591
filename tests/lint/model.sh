#!/bin/sh
# tests/lint/model.sh - the model and the code have the same states.
# Each state of lockmgr's tables is in tests/model/*.pml, or in names.txt with
# the reason why not; the model has no others.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Usage: model.sh [ROOT]
set -u
export LC_ALL=C
cd "${1:-$(dirname "$0")/../..}" || exit 2
ls tests/model/*.pml >/dev/null 2>&1 || exit 0
headers="lockmgr/nexus.h lockmgr/fence.h lockmgr/takeover.h"
for header in $headers; do
    [ -e "$header" ] && continue
    echo "skipped: there is no $header yet"
    exit 77
done

# shellcheck disable=SC2086 # a list of paths
states() {
    awk '/^#define [A-Z]*_STATES\(X\)/ { on = 1 }
         on && match($0, /X\([A-Z_]+,/) {
             print substr($0, RSTART + 2, RLENGTH - 3) }
         !/\\$/ { on = 0 }' $headers
}

# Without comments: a state is there when it is used.
modelled() {
    sed 's,/\*.*\*/,,' tests/model/*.pml |
        grep -oE '\b(NEXUS|FENCE|TAKEOVER)_[A-Z_]+\b' | sort -u
}

said=$(
    states | while read -r state; do
        in_model=$(modelled | grep -cx "$state")
        reason=$(sed -n "s/^$state  *//p" tests/model/names.txt)
        case $in_model:$reason in
        0:) echo "$state: neither in tests/model/*.pml nor in names.txt" ;;
        1:?*) echo "$state: in the model, and in names.txt as missing" ;;
        esac
    done
    modelled | while read -r name; do
        states | grep -qx "$name" || echo "$name: the code has no such state"
    done
    grep -oE '^[A-Z_]+' tests/model/names.txt | while read -r name; do
        states | grep -qx "$name" ||
            echo "tests/model/names.txt: the code has no $name"
    done
)
[ -z "$said" ] || echo "$said"
[ -z "$said" ]
