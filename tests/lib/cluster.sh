# tests/lib/cluster.sh - what a system test of several hosts on one volume
# sources: a lab with a volume, loads on its hosts, and who coordinates.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   . "$(dirname "$0")/../lib/cluster.sh"   sources lab.sh, too
#   cluster_up 3 --luns 2        and the volume "vol" on LUN 1, seen by all; the
#                                target is $SAN, tgt or lio (tests/lab/lab)
#   coordinator h1               prints who coordinates "vol", as h1 knows it
#   load_begin h1 a              tests/tools/hostload with h1's mount, in a new
#                                directory a; it outlives the host; its threads
#                                rest LOAD_PAUSE_MS (0) after each step
#   load a "more 5"; $answer     a command, within LOAD_S (60) seconds
#   load_verify a h2             what load a left, as h2 sees it, is right
#   stop_hosts h1 h2             lunard ends as on a shutdown
#   check_lun 1                  what the SAN holds of a LUN that nobody uses is
#                                a volume without fault
#   say_once h1 "TEXT"           lunard's log of h1 has it, soon
# shellcheck shell=bash disable=SC2154

. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"

hostload=$top/build/${VARIANT:-release}/tools/hostload
[ -x "$hostload" ] || fail "$hostload is missing: make tools"
LOAD_S=60
LOAD_PAUSE_MS=0
declare -A load_in load_host

# A command on a host that must not last: the mount may hang.
at() { # HOST COMMAND…
    on "$1" timeout -k 1 30 "${@:2}"
}

sees_volume() { # HOST
    at "$1" test -d /ClusterStorage/vol
}

cluster_up() { # N OPTION…
    local i
    lab up "$@" --san "${SAN:-tgt}"
    at h1 lunar format "$(lab url 1)" --name vol
    at h1 lunar volume add "$(lab url 1)" >/dev/null
    for ((i = 1; i <= $1; i++)); do
        wait_for 30 sees_volume "h$i"
    done
}

volume_field() { # HOST FIELD
    at "$1" lunar status --json |
        jq -r ".volumes[] | select(.name == \"vol\") | .$2"
}

coordinator() { # HOST: waits until it knows one
    wait_for 30 knows_coordinator "$1"
    volume_field "$1" coordinator
}

knows_coordinator() {
    [ -n "$(volume_field "$1" coordinator)" ]
}

root_of() { # HOST: its root directory, as it is seen from here
    echo "/proc/$(cat "$LAB_DIR/$1/pid")/root"
}

load_begin() { # HOST NAME
    mkfifo "$dir/$2.in"
    : >"$dir/$2.out"
    "$hostload" "$(root_of "$1")/ClusterStorage/vol/$2" $((RANDOM + 1)) \
        "$LOAD_PAUSE_MS" <>"$dir/$2.in" >>"$dir/$2.out" 2>"$dir/$2.log" &
    at_exit "kill -9 $!"
    exec {load_fd}>"$dir/$2.in"
    load_in[$2]=$load_fd
    load_host[$2]=$1
    load "$2" start
    [ "$answer" = started ] || fail "load $2: $answer"
}

load_answered() { # NAME LINES: more than so many were said
    [ "$(grep -vc '^  ' "$dir/$1.out")" -gt "$2" ]
}

load_ask() { # NAME COMMAND: the answer comes later, after $load_lines others
    load_lines=$(grep -vc '^  ' "$dir/$1.out" || :)
    echo "$2" >&"${load_in[$1]}"
}

load() { # NAME COMMAND
    load_ask "$@"
    wait_for "$LOAD_S" load_answered "$1" "$load_lines"
    answer=$(grep -v '^  ' "$dir/$1.out" | tail -n 1)
}

# All go on, without an error.
loads_go_on() { # OPERATIONS NAME…
    local name count=$1
    shift
    for name; do
        load "$name" "more $count"
        [ "$answer" = "more 0" ] || fail "load $name on ${load_host[$name]}: \
$answer: $(cat "$dir/$name.log")"
    done
}

load_stop() { # NAME: it met no error
    load "$1" stop
    [[ $answer == "stopped "*" 0" ]] || fail "load $1 on ${load_host[$1]}: \
$answer: $(cat "$dir/$1.log")"
}

load_verify() { # NAME HOST
    load "$1" "verify $(root_of "$2")/ClusterStorage/vol/$1"
    [ "$answer" = "verified 0" ] ||
        fail "what load $1 left, seen by $2: $(grep '^  ' "$dir/$1.out")"
}

lunard_is_off() { # HOST
    # shellcheck disable=SC2016 # the inner shell expands
    ! on "$1" sh -c 'kill -0 "$(cat /run/lunard.pid)"'
}

stop_hosts() { # HOST…
    local host
    for host; do
        # shellcheck disable=SC2016 # the inner shell expands
        on "$host" sh -c 'kill "$(cat /run/lunard.pid)"'
    done
    for host; do
        wait_for 40 lunard_is_off "$host"
    done
}

check_lun() { # LUN
    lunar check "file:$LAB_DIR/san/lun$1" >"$dir/check.log" 2>&1 ||
        fail "the volume does not check clean"
}

says() { # HOST TEXT
    lab log "$1" | grep -qF -- "$2"
}

say_once() { # HOST TEXT
    wait_for 30 says "$@"
}
