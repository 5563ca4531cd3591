#!/bin/bash
# tests/model/run.sh - what Spin makes of the model; see docs/model.md.
# Sound rules must hold in every state; each broken rule must be found out.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Usage: run.sh [small | full | long | NAME]   MEMORY_MIB=4096 bounds each run
#   small  what `make check` runs: a minute
#   full   small, and what takes some minutes (the default)
#   long   the rows that take longer, alone
#   NAME   one row; its counter-example is printed step by step
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/lunar-model.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
what=${1:-full}
memory_mib=${MEMORY_MIB:-4096}
held=0 found=0 wrong=0

# rows NAME | KIND | SIZE | WHAT MAY HAPPEN
#   safety    every promise, in every state
#   settles   … and whoever is left and agrees is served: no deadlock
#   progress  … and they get there, if no host is starved for ever
#   broken    a rule is broken: a promise must be, too
rows='
partition  | safety   | small | -DCUTS=2
nexus      | safety   | full  | -DCUTS=1 -DLOSSES=1
crash      | safety   | full  | -DCUTS=1 -DCRASHES=1 -DGRANTS=1
move       | safety   | full  | -DCUTS=1 -DMOVES=1
return     | safety   | long  | -DINCS=2 -DCRASHES=1 -DGRANTS=1
split      | safety   | long  | -DCUTS=2 -DSPLIT_READS
settle     | settles  | small | -DCUTS=1 -DCRASHES=1 -DSETTLES
progress   | progress | small | -DCUTS=1 -DSETTLES -DPROGRESS
name-late  | broken   | small | -DCUTS=1 -DBREAK_NAME_LATE
read       | broken   | small | -DCUTS=1 -DBREAK_READ
read-again | broken   | small | -DCUTS=1 -DMOVES=1 -DBREAK_READ_AGAIN
rivals     | broken   | small | -DCUTS=1 -DMOVES=1 -DBREAK_RIVALS
tie        | broken   | small | -DCUTS=1 -DMOVES=1 -DBREAK_TIE
close      | broken   | small | -DMOVES=1 -DBREAK_CLOSE
carry      | broken   | small | -DINCS=2 -DCUTS=1 -DCRASHES=1 -DBREAK_CARRY
report     | broken   | small | -DCRASHES=1 -DGRANTS=2 -DBREAK_REPORT
strangers  | broken   | small | -DCUTS=1 -DMOVES=1 -DGRANTS=1 -DBREAK_STRANGERS
release    | broken   | small | -DCUTS=1 -DGRANTS=1 -DBREAK_RELEASE
read-twice | broken   | full  | -DCUTS=2 -DSPLIT_READS -DBREAK_READ_TWICE
'

# How pan is compiled and run: a broken rule breadth first, so that the
# counter-example is as short as they come.
pan_flags() {
    case $1 in
    safety | settles) echo "-O1 -DSAFETY -DNOFAIR -DCOLLAPSE" ;;
    progress) echo "-O1 -DNFAIR=3 -DCOLLAPSE" ;;
    broken) echo "-O0 -DSAFETY -DNOFAIR -DBFS" ;;
    esac
}
run_flags() {
    case $1 in
    progress) echo "-a -f -m1000000" ;;
    *) echo "-m1000000" ;;
    esac
}

figure() { # PATTERN: the number in front of it in pan's report
    sed -n "s/^ *\([0-9.e+]*\)[^0-9]*$1.*/\1/p" out | head -n 1
}

complain() {
    wrong=$((wrong + 1))
    echo "FAIL  $1"
    tail -n 20 out | cut -c 1-160
}

steps() {
    ./pan -r lunar.pml.trail 2>/dev/null | grep -a '^hosts\? [0-9]'
}

broken_promise() {
    sed -n 's/^pan:1: assertion violated *\(.*\) (at depth.*/\1/p' out |
        awk '/late_data/ { print "I10"; exit } /fenced/ { print "I11"; exit }
             /held_generation/ { print "I8"; exit } { print "I4" }'
}

one() { # NAME KIND SWITCHES...
    local name=$1 kind=$2 errors
    shift 2
    cd "$work" && rm -f ./*
    # shellcheck disable=SC2046 # lists of words
    spin -a "$@" "$here/lunar.pml" >out 2>&1 &&
        gcc -w $(pan_flags "$kind") -DMEMLIM="$memory_mib" -DVECTORSZ=512 \
            -o pan pan.c >out 2>&1 &&
        ./pan $(run_flags "$kind") >out 2>&1
    errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' out)
    printf '%-12s %9s states  depth %6s  %5.0f MiB  %4.0f s  errors %s' \
        "$name" "$(figure 'states, stored')" \
        "$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' out)" \
        "$(figure 'total actual memory')" \
        "$(sed -n 's/.*elapsed time \([0-9.]*\).*/\1/p' out)" "${errors:-?}"
    case $kind:$errors in
    broken:1)
        found=$((found + 1))
        echo "  breaks $(broken_promise) in $(steps | wc -l) steps"
        [ "$what" != "$name" ] || steps
        ;;
    *:0) # complete only if neither memory nor depth ran out
        if [ "$kind" = broken ] || grep -q -e 'out of memory' \
            -e 'max search depth too small' -e 'Search not completed' out; then
            echo
            complain "$name"
        else
            held=$((held + 1))
            echo
        fi
        ;;
    *)
        echo
        steps
        complain "$name"
        ;;
    esac
}

while IFS='|' read -r name kind size switches; do
    name=${name// /} kind=${kind// /} size=${size// /}
    [ -n "$name" ] || continue
    case $what in
    "$size" | "$name") ;;
    full) [ "$size" != long ] || continue ;;
    *) continue ;;
    esac
    # shellcheck disable=SC2086 # a list of words
    one "$name" "$kind" $switches
done <<<"$rows"

echo "model: $held hold, $found broken rules found out, $wrong wrong"
[ $wrong = 0 ] && [ $((held + found)) -gt 0 ]
