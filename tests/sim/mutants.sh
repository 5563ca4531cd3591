#!/bin/bash
# tests/sim/mutants.sh - the simulator finds what it is for: each rule of a
# core is broken in a copy of the tree, and a scenario must notice, or where
# none comes to it in reasonable time a unit test.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Usage: mutants.sh [PART OF A NAME]
#   MUTANT_SEEDS=N  seeds that a mutant may take (2000)
# A row: name ; file ; sed script ; scenario, or "unit PART OF A NAME".  It must
# change the file.
set -u
cd "$(dirname "$0")/../.." || exit 2

rows() {
    sed -e '/^#/d' -e '/^$/d' tests/sim/mutants.txt
}

copy=$(mktemp -d "${TMPDIR:-/tmp}/lunar-mutants.XXXXXX") || exit 2
trap 'rm -rf "$copy"' EXIT
made="build/release/sim build/release/tests/unit_lockmgr"
# shellcheck disable=SC2086 # a list of paths
make -s -j"$(nproc)" $made || exit 1
git ls-files | tar -cf - -T - | tar -xf - -C "$copy" || exit 2
mkdir -p "$copy/build"
cp -a build/release "$copy/build/"
find "$copy" -type f -exec touch -h -d '2000-01-01' {} + # nothing is stale

notices() { # SCENARIO
    case $1 in
    unit\ *)
        ! "$copy/build/release/tests/unit_lockmgr" "${1#unit }" \
            >"$copy/log" 2>&1
        ;;
    *)
        ! "$copy/build/release/sim" --scenario "$1" \
            --seeds "${MUTANT_SEEDS:-2000}" >"$copy/log" 2>&1
        ;;
    esac
}

bad=0 count=0
while IFS=';' read -r name file script scenario; do
    name=$(echo $name) file=$(echo $file) scenario=$(echo $scenario)
    case $name in *"${1:-}"*) ;; *) continue ;; esac
    count=$((count + 1))
    cp -p "$copy/$file" "$copy/kept"
    sed -i -e "$script" "$copy/$file"
    if cmp -s "$copy/$file" "$copy/kept"; then
        echo "FAIL  $name: the script changes nothing in $file"
        bad=1
    elif ! make -s -C "$copy" $made >"$copy/log" 2>&1; then
        echo "FAIL  $name: does not compile"
        tail -n 5 "$copy/log"
        bad=1
    elif ! notices "$scenario"; then
        echo "FAIL  $name: $scenario finds nothing"
        bad=1
    else
        printf 'ok    %-28s %s\n' "$name" \
            "$(grep -e '^sim: ' -e '^FAIL' "$copy/log" | head -n 1 |
                cut -c 1-150)"
    fi
    mv "$copy/kept" "$copy/$file"
    touch "$copy/$file" # and what was made of the mutant is
done < <(rows)
[ $count -gt 0 ] || { echo "no mutant \"${1:-}\""; exit 2; }
exit $bad
