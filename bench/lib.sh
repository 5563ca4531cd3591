# bench/lib.sh - what a part of the bench sources: contenders measured in
# turns, medians, a table.  Judges nothing: a figure never fails a run.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   #!/bin/bash
#   # bench/fuse.sh - says what is compared with what.
#   # SPDX-License-Identifier: LGPL-2.1-or-later
#   . "$(dirname "$0")/lib.sh"
#   need fio                                  # or the part is skipped
#   sample_lunar() { rate "$1" …; }           # prints lines "ROW VALUE"
#   sample_raw() { …; }
#   title "4 KiB on a file" lunar raw         # first comes ours
#   goal randread raw 0.5                     # shown, not enforced
#   rounds "randread" IOPS                    # lunar raw lunar raw …
#
# A row's ratios are those of samples of the same round, for the machine may
# be twice as fast a minute later; what is shown is their median and, in
# brackets, the smallest and the largest.
#
# BENCH_ROUNDS   turns of each contender (5)
# BENCH_SECONDS  how long one sample takes (0.5)
# BENCH_DIR      where LUNs and disks are made: a tmpfs (/dev/shm)
# shellcheck shell=bash

export TMPDIR=${BENCH_DIR:-/dev/shm}
. "$(dirname "${BASH_SOURCE[0]}")/../tests/lib/system.sh"
BENCH_ROUNDS=${BENCH_ROUNDS:-5}
BENCH_SECONDS=${BENCH_SECONDS:-0.5}
bench_ms=$(awk -v s="$BENCH_SECONDS" 'BEGIN { printf "%d", 1000 * s }')
here=$top/bench
# shellcheck disable=SC2034 # for parts
tools=$top/build/${VARIANT:-release}/bench
contenders=()
goals=

# title TEXT CONTENDER…: what the rows that follow compare.  A contender is a
# function sample_NAME; what it is called with comes from rounds.
title() {
    local text=$1 name line
    shift
    contenders=("$@")
    goals=
    line=$(printf '%-21s %-6s %10s' "" "" "$1")
    shift
    for name; do
        line+=$(printf ' %10s %-22s' "$name" "  ratio")
    done
    printf '\n%s\n%s\n' "$text" "$line"
}

# goal ROW CONTENDER RATIO: ours should be so many times as good.
goal() {
    goals+="$1 $2 $3"$'\n'
}

# rounds UNIT ARGUMENT…: sample all contenders in turns, then show the rows
# that they printed.
rounds() {
    local unit=$1 round name samples=$dir/samples
    shift
    : >"$samples"
    for ((round = 0; round < BENCH_ROUNDS; round++)); do
        for name in "${contenders[@]}"; do
            "sample_$name" "$@" </dev/null 9>&- |
                sed "s/^/$name $round /" >>"$samples"
        done
    done
    rows "$unit" <"$samples"
}

# Lines "CONTENDER ROUND ROW VALUE" -> one line of the table per row.
rows() {
    awk -v unit="$1" -v names="${contenders[*]}" -v goals="$goals" \
        -f "$here/rows.awk"
}

# figure ROW UNIT GOAL VALUE…: a row without a rival.
figure() {
    local row=$1 unit=$2 goal=$3
    shift 3
    printf '%s\n' "$@" | sort -g | awk -v row="$row" -v unit="$unit" \
        -v goal="$goal" '
        { value[NR] = $1 }
        END {
            median = (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2
            printf "%-21s %-6s %10.4g  (%.4g … %.4g)%s\n", row, unit, median,
                value[1], value[NR], goal == "" ? "" : "   goal: " goal
        }'
}

# now: seconds, with a fraction.
now() {
    local us=${EPOCHREALTIME/[.,]/}
    echo "${us:0:-6}.${us: -6}"
}

# took COMMAND…: the seconds that it took.
took() {
    local start
    start=$(now)
    "$@" >/dev/null
    echo "$start $(now)" | awk '{ printf "%.3f\n", $2 - $1 }'
}

# io FILE ROW: one fio job; prints "ROW VALUE", operations or MB per second.
# ROW is RW-SIZE-DEPTH: randread-4k-32.
io() {
    local file=$1 row=$2 rw size depth
    IFS=- read -r rw size depth <<<"$row"
    fio --name=bench --filename="$file" --rw="$rw" --bs="$size" \
        --iodepth="$depth" --ioengine=libaio --direct=1 --thread \
        --runtime="${bench_ms}ms" --time_based --randrepeat=0 --norandommap \
        --minimal 2>"$dir/fio.log" | io_rate "$row"
}

# fio's terse line -> "ROW VALUE": reads and writes together.
io_rate() {
    awk -F';' -v row="$1" '
        NF > 48 { print row, row ~ /-1m-/ ? ($7 + $48) * 1.024e-3 : $8 + $49
                  found = 1 }
        END { exit !found }'
}

# -- a daemon of the bench's own -------------------------------------------

lunar() { "$bin/lunar" --socket "$dir/control.sock" "$@"; }

# lunard_start: serves $dir/mnt; lunar talks to it.
lunard_start() {
    [ -x "$bin/lunard" ] || skip "there is no lunard"
    mkdir -p "$dir/mnt"
    cat >"$dir/lunar.conf" <<END
[host]
root = $dir/mnt
control = $dir/control.sock
state = $dir/state
run = $dir/run
END
    "$bin/lunard" --config "$dir/lunar.conf" >"$dir/lunard.log" 2>&1 9>&- &
    daemon=$!
    at_exit lunard_stop
    wait_for 10 lunar status
}

lunard_stop() {
    [ -n "${daemon:-}" ] || return 0
    kill "$daemon" && wait "$daemon"
    daemon=
}
