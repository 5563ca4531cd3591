#!/bin/sh
# tests/lint/tidy.sh - the habits of docs/style.md that a machine can check.
# Reads text only; what needs a compiler is left to the compilers.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Usage: tidy.sh [ROOT]
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}" || exit 2
bad=0

# -- lines: every file that people read and write
files=$(find . \( -path ./build -o -path ./.git -o -path '*/corpus' -o \
    -path '*/images' \) -prune -o -type f \( -name '*.[chx]' -o -name '*.sh' \
    -o -name Makefile -o -path ./tests/run -o -path ./.ci/run \) -print |
    sed 's,^\./,,' | sort)
# shellcheck disable=SC2086 # a list of paths
awk -f "$here/tidy.awk" $files || bad=1

# -- orphans: files that nothing builds, includes or runs
complain() {
    echo "$1"
    bad=1
}
layers=$(sed -n 's/^\([a-z]*\) *:.*/\1/p' docs/layers.txt)
for file in $files; do
    case $file in
    */*.h)
        folder=${file%/*}
        [ "$file" != "$folder/$folder.h" ] || continue
        # shellcheck disable=SC2086
        echo $files | tr ' ' '\n' | grep '\.[ch]$' |
            xargs grep -lF "#include \"$file\"" >/dev/null ||
            complain "$file: nothing includes it"
        ;;
    tests/lib/*.c | tests/unit/*/*.c | tests/tools/*.c | tests/sim/*.c | \
        bench/*.c) ;;
    tests/fuzz/fuzz_*.c)
        name=${file#tests/fuzz/fuzz_}
        name=${name%.c}
        [ -n "$(ls "tests/fuzz/corpus/$name" 2>/dev/null)" ] ||
            complain "$file: no seeds in tests/fuzz/corpus/$name"
        ;;
    *.c)
        case " $(echo "$layers" | tr '\n' ' ') " in
        *" ${file%/*} "*) ;;
        *) complain "$file: no rule of the Makefile compiles it" ;;
        esac
        ;;
    tests/system/*.sh)
        case $file in
        tests/system/test_*) ;;
        *)
            grep -qrF "${file##*/}" tests/system tests/demo bench \
                --include=*.sh ||
                complain "$file: named neither test_*.sh nor by a script"
            ;;
        esac
        ;;
    esac
done
for corpus in tests/fuzz/corpus/*/; do
    [ -d "$corpus" ] || continue
    name=${corpus#tests/fuzz/corpus/}
    [ -e "tests/fuzz/fuzz_${name%/}.c" ] ||
        complain "$corpus: no tests/fuzz/fuzz_${name%/}.c reads it"
done
exit $bad
