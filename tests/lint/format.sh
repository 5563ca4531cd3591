#!/bin/sh
# tests/lint/format.sh - every C file is as clang-format 14 would write it.
# Generated files are never seen: they are below build/.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Usage: format.sh [--fix] [ROOT]
set -u
mode="--dry-run -Werror"
if [ "${1:-}" = --fix ]; then
    mode=-i
    shift
fi
cd "${1:-$(dirname "$0")/../..}" || exit 2

# One file at a time: version 14 dies of some tables made by macros, and then
# says nothing of the other files.
export mode
# shellcheck disable=SC2016 # the inner shell expands
find . -path ./build -prune -o -name '*.[ch]' -print | sed 's,^\./,,' | sort |
    xargs -P 2 -n 1 sh -c '
        said=$(clang-format-14 --style=file $mode "$1" 2>&1) && exit 0
        case $said in
        *"Stack dump"*) echo "$1: clang-format-14 crashes: put its table" \
            "between /* clang-format off */ and /* clang-format on */" ;;
        *) echo "$said" | grep "error:" | head -n 5 ;;
        esac
        exit 1' sh
