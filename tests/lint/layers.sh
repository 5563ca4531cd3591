#!/bin/sh
# tests/lint/layers.sh - every #include follows the arrows of docs/layers.txt.
# Looks at nothing but #include lines and the names of files.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Usage: layers.sh [ROOT]
#   - a path is spelled from the root of the tree, and the file is there
#   - a layer sees only the layers that its row names
#   - from outside, a layer is seen as LAYER/LAYER.h; base is open to all
#   - a unit test sees the insides of its own layer, tests/lib and base
#   - tools, fuzzers and benches see what they like, a layer never sees them
#   - every layer has its header, and it starts with a map of the folder
set -u
cd "${1:-$(dirname "$0")/../..}" || exit 2

layers=$(sed -n 's/^\([a-z]*\) *:.*/\1/p' docs/layers.txt)
bad=0

# shellcheck disable=SC2086 # a list of words
find $layers tests bench -name '*.[ch]' 2>/dev/null | sort |
    xargs grep -Hn '^ *# *include *"' /dev/null |
    awk -F'[:"]' '
    BEGIN {
        while ((getline line < "docs/layers.txt") > 0) {
            if (line ~ /^#/ || split(line, half, ":") < 2)
                continue
            gsub(/ /, "", half[1])
            layer[half[1]] = 1
            n = split(half[2], dep, " ")
            for (i = 1; i <= n; i++)
                ok[half[1], dep[i]] = 1
        }
    }
    function complain(what) {
        print $1 ":" $2 ": " what
        bad = 1
    }
    function exists(path,   line, answer) {
        if (!(path in seen)) {
            answer = getline line < path
            close(path)
            seen[path] = answer >= 0
        }
        return seen[path]
    }
    {
        path = $4
        split($1, me, "/")
        to = path
        sub(/\/.*/, "", to)
        generated = path ~ /^(fs|lunard)\/[a-z_]*\.h$/ && \
            exists(substr(path, 1, length(path) - 1) "x")
    }
    !generated && !exists(path) {
        complain("no file " path " (paths start at the root of the tree)")
        next
    }
    !(me[1] in layer) {                 # tests, bench
        if (me[2] == "unit" && to in layer && to != me[3] && to != "base" &&
            path != to "/" to ".h")
            complain("a test of " me[3] " sees " to " as " to "/" to ".h")
        next
    }
    me[1] == to { next }
    !(to in layer) {
        complain("a layer may not include " path)
        next
    }
    !((me[1], to) in ok) {
        complain(me[1] " may not include " to)
        next
    }
    to != "base" && path != to "/" to ".h" {
        complain("outside of " to " it is " to "/" to ".h")
    }
    END { exit bad }' || bad=1

for layer in $layers; do
    ls "$layer"/*.c >/dev/null 2>&1 || continue
    header=$layer/$layer.h
    if [ ! -e "$header" ]; then
        echo "$layer: no $header, the one header that others include"
        bad=1
    elif ! sed -n '2,12p' "$header" | grep -q '^ \*   '; then
        echo "$header:2: does not start with a map of the folder"
        bad=1
    fi
done
exit $bad
