# tests/lib/crashload.sh - what a test that kills lunard under load sources: a
# volume "crash", and a load on it that knows what must be there after.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   . "$(dirname "$0")/../lib/crashload.sh"  sources daemon.sh, too
#   new_crash_volume              once lunard runs
#   load_start WORKERS [firm]     tests/tools/crashload; firm: what is written
#                                 and not synced must be there, too
#   say COMMAND; $answer          start, stop, wait, verify
#   load_end
# KILLS and SEED in the environment say how often, and which load.
# shellcheck shell=bash disable=SC2154

. "$(dirname "${BASH_SOURCE[0]}")/daemon.sh"

seed=${SEED:-$$}
load=$top/build/${VARIANT:-release}/tools/crashload
[ -x "$load" ] || fail "$load is missing: make tools"

new_crash_volume() {
    new_volume crash 1G
    mkdir "$root/crash/load"
}

load_start() {
    coproc crash { exec "$load" "$root/crash/load" "$seed" "$@" \
        2>"$dir/load.log"; }
    load_pid=$crash_PID
    at_exit 'kill "$load_pid"'
}

# What it says before its answer is shown.
say() {
    echo "$1" >&"${crash[1]}"
    while read -r -t 60 answer <&"${crash[0]}"; do
        case $answer in
        started | stopped* | verified* | failed*) return ;;
        esac
        echo "  $answer"
    done
    fail "crashload does not answer to $1"
}

load_end() {
    kill "$load_pid"
    wait "$load_pid" || true
}
