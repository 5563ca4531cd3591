#!/bin/bash
# tests/system/test_man_pages_say_what_help_says.sh - the same commands with
# the same options in lunar(1) and in the program's help, and lunard's.
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs beside others.
. "$(dirname "$0")/../lib/system.sh"

# A page as plain words: no fonts, no quotes, one line per line of source.
words_of() {
    sed -e 's/\\f[A-Z]//g; s/\\f(..//g; s/\\-/-/g; s/\\&//g; s/"//g' \
        -e 's/^\.[A-Z]* *//' "$1" | tr -s ' '
}

# "COMMAND: --option …" for each, sorted: what the help says …
by_help() {
    local command
    lunar help | sed -n 's/^  \([a-z][a-z -]*[a-z]\)   *[A-Za-z].*/\1/p' |
        while read -r command; do
            # shellcheck disable=SC2086 # two words may be the name
            echo "$command: $(lunar help $command | sed -n '/^usage/,/^$/p' |
                awk '{ while (match($0, /--[a-z-]+/)) {
                           print substr($0, RSTART, RLENGTH)
                           $0 = substr($0, RSTART + RLENGTH) } }' |
                sort -u | tr '\n' ' ')"
        done | sort
}

# … and what the page says: the heads of its paragraphs.
by_page() {
    words_of "$top/docs/man/lunar.1" | sed -n '/^EXAMPLE/q; /^lunar [a-z]/p' |
        awk '{ n = 2
               name = $n
               while ($(n + 1) ~ /^[a-z]+$/ && n < 3) name = name " " $(++n)
               options[name] = options[name]
               for (i = n + 1; i <= NF; i++) {
                   gsub(/[][]/, "", $i)
                   if ($i ~ /^--/ && !seen[name, $i]++)
                       print name, $i
               }
               print name, "" }' | sort -u |
        awk '{ name = $0; option = ""
               if (match($0, / --[a-z-]*$/)) {
                   name = substr($0, 1, RSTART - 1)
                   option = substr($0, RSTART + 1) " " }
               sub(/ $/, "", name)
               all[name] = all[name] option }
             END { for (name in all) print name ": " all[name] }' | sort
}

step "lunar(1) and lunar help"
by_help >"$dir/help"
by_page >"$dir/page"
[ "$(wc -l <"$dir/help")" -gt 10 ] || fail "help lists no commands"
diff -u "$dir/help" "$dir/page" || fail "help (-) and page (+) differ"

step "lunard(8) and lunard --help"
for option in $(lunard --help | grep -o '^  --[a-z-]*'); do
    words_of "$top/docs/man/lunard.8" | grep -q -- "$option" ||
        fail "lunard(8) does not have $option"
done

step "lunar.conf(5) and the keys that are read"
for key in $(sed -n 's/^ *{"[a-z]*", *"\([a-z_]*\)".*/\1/p' \
    "$top/lunard/config.c"); do
    words_of "$top/docs/man/lunar.conf.5" | grep -qw "$key" ||
        fail "lunar.conf(5) does not have $key"
done
