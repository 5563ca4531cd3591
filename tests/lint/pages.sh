#!/bin/sh
# tests/lint/pages.sh - what the pages say is there, is there.
# Checks names, not prose: files, pages and invariants that are cited, targets
# of make.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Usage: pages.sh [ROOT]
set -u
export LC_ALL=C
cd "${1:-$(dirname "$0")/../..}" || exit 2
pages=$(ls README.md docs/*.md 2>/dev/null)
layers=$(sed -n 's/^\([a-z]*\) *:.*/\1/p' docs/layers.txt | tr '\n' ' ')

# "where path" for each link [text](path) of a page, relative to the page
links() {
    for page in $pages; do
        grep -no '](\([^)#]*\)' "$page" | sed 's/:](/ /' |
            while read -r line target; do
                case $target in
                *://* | '') ;;
                *) echo "$page:$line $(dirname "$page")/$target" ;;
                esac
            done
    done
}

# … for each `folder/file` in backquotes of a page, from the root; words in
# capitals are placeholders
quoted() {
    folders=$(echo "$layers tests docs bench" | tr -s ' ' '|')
    # shellcheck disable=SC2086 # a list of paths
    grep -Hnoe "\`[a-z]*/[A-Za-z0-9_./-]*\`" $pages /dev/null |
        tr -d '`' | awk -F: -v folders="^($folders)/" '
            $3 ~ folders && $3 !~ /[A-Z][A-Z][A-Z]/ { print $1 ":" $2, $3 }'
}

# … and for each docs/page that a source file cites
from_sources() {
    # shellcheck disable=SC2086 # a list of folders
    find $layers tests bench -name '*.[chx]' -o -name '*.sh' 2>/dev/null |
        grep -v '^tests/lint/' |
        xargs grep -Hnoe 'docs/[a-z_-]*\.[a-z]*' /dev/null |
        awk -F: '{ print $1 ":" $2, $3 }'
}

# A file or folder, or the name of a suite of unit tests: layer/file.
is_there() {
    [ -e "$1" ] || [ -e "tests/unit/${1%%/*}/test_${1#*/}.c" ]
}

# "where I4" for each invariant that a comment cites
invariants() {
    # shellcheck disable=SC2086 # a list of folders
    find $layers tests -name '*.[chx]' 2>/dev/null |
        xargs grep -Hnow 'I[0-9][0-9]*' /dev/null |
        awk -F: '{ print $1 ":" $2, $3 }'
}

# … and for each `make target`
targets() {
    # shellcheck disable=SC2086 # a list of paths
    grep -Hnoe "\`make [a-z-]*\`" $pages /dev/null | tr -d '`' |
        awk -F: '{ print $1 ":" $2, $3 }'
}

said=$(
    { links && quoted && from_sources; } | while read -r where path; do
        is_there "$path" || echo "$where: there is no $path"
    done
    invariants | while read -r where number; do
        grep -qF "**$number**" docs/invariants.md ||
            echo "$where: $number is not in docs/invariants.md"
    done
    targets | while read -r where make target; do
        grep -q "^$target:" Makefile || echo "$where: no $make $target"
    done
)
[ -z "$said" ] || echo "$said" | sort -u
[ -z "$said" ]
