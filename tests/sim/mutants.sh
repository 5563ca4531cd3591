#!/bin/bash
# tests/sim/mutants.sh - the simulator finds what it is for: each rule of a
# core is broken in a copy of the tree, and a scenario must notice.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Usage: mutants.sh [PART OF A NAME]
#   MUTANT_SEEDS=N  seeds that a mutant may take (2000)
# A row: name ; file ; sed script ; scenario.  It must change the file.
set -u
cd "$(dirname "$0")/../.." || exit 2

rows() {
    sed -e '/^#/d' -e '/^$/d' tests/sim/mutants.txt
}

copy=$(mktemp -d "${TMPDIR:-/tmp}/lunar-mutants.XXXXXX") || exit 2
trap 'rm -rf "$copy"' EXIT
make -s -j"$(nproc)" build/release/sim || exit 1
git ls-files | tar -cf - -T - | tar -xf - -C "$copy" || exit 2
mkdir -p "$copy/build"
cp -a build/release "$copy/build/"
find "$copy" -type f -exec touch -h -d '2000-01-01' {} + # nothing is stale

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
    elif ! make -s -C "$copy" build/release/sim >"$copy/log" 2>&1; then
        echo "FAIL  $name: does not compile"
        tail -n 5 "$copy/log"
        bad=1
    elif "$copy/build/release/sim" --scenario "$scenario" \
        --seeds "${MUTANT_SEEDS:-2000}" >"$copy/log" 2>&1; then
        echo "FAIL  $name: $scenario finds nothing"
        bad=1
    else
        printf 'ok    %-28s %s\n' "$name" \
            "$(grep -e '^sim: ' "$copy/log" | tail -n 1 | cut -c 1-150)"
    fi
    mv "$copy/kept" "$copy/$file"
    touch "$copy/$file" # and what was made of the mutant is
done < <(rows)
[ $count -gt 0 ] || { echo "no mutant \"${1:-}\""; exit 2; }
exit $bad
