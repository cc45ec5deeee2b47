# SPDX-License-Identifier: MIT
# What the tests of the command line share. A test script begins with:
#
#     . "${0%/*}/lib.sh"
#
# and ends with `finish`. It is called as `test_x.sh BUSBAR`, with the helpers json_check and sql (tests/support) in the
# environment as JSON_CHECK and SQL, or beside the tests in the build folder. It prints "ok - name" and "not ok - name"
# lines, and exits with 0, 1, or 77 if it was skipped.

set -u
unset BUSBAR_MQTT_USER BUSBAR_MQTT_PASSWORD NO_COLOR
umask 022

helper() { # NAME: prints the path of a helper
    for candidate in "${BUSBAR%/*}/../tests/support/$1" "${BUSBAR%/*}/../tests/cli/$1" "${BUSBAR%/*}/../tests/$1" \
        "${BUSBAR%/*}/$1"; do
        if [ -x "$candidate" ]; then
            echo "$candidate"
            return
        fi
    done
    echo "not ok - there is no helper $1" >&2
    return 1
}

case ${1:?usage: $0 BUSBAR} in
/*) BUSBAR=$1 ;;
*) BUSBAR=$PWD/$1 ;;
esac
JSON_CHECK=${JSON_CHECK:-$(helper json_check)} || exit 1
SQL=${SQL:-$(helper sql)} || exit 1

work=$(mktemp -d) || exit 1
cd "$work" || exit 1
failures=0
status=0
started= # the processes that this script started

clean_up() {
    for pid in $started; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    cd / && rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# ---- Checks

pass() { # NAME
    echo "ok - $1"
}

fail() { # NAME [DETAIL...]
    echo "not ok - $1"
    shift
    for detail in "$@"; do
        printf '#   %s\n' "$detail"
    done
    failures=$((failures + 1))
}

check() { # NAME COMMAND...: the command must succeed
    name=$1
    shift
    if "$@" >/dev/null 2>&1; then
        pass "$name"
    else
        fail "$name" "failed: $*"
    fi
}

equal() { # NAME EXPECTED ACTUAL
    if [ "$2" = "$3" ]; then
        pass "$1"
    else
        fail "$1" "expected: $2" "actual:   $3"
    fi
}

# ---- Running the program

run() { # ARGUMENT...: runs busbar; the results are in the files out and err, and in $status
    status=0
    "$BUSBAR" "$@" >out 2>err || status=$?
}

exits() { # NAME EXPECTED: the exit code of the last run
    if [ "$status" -eq "$2" ]; then
        pass "$1"
    else
        fail "$1" "expected exit code $2, got $status" "$(cat err)"
    fi
}

has() { # NAME FILE TEXT: the file holds the text
    if grep -qF -- "$3" "$2"; then
        pass "$1"
    else
        fail "$1" "$2 lacks: $3" "$(head -n 20 "$2")"
    fi
}

lacks() { # NAME FILE TEXT
    if grep -qF -- "$3" "$2"; then
        fail "$1" "$2 has: $3" "$(head -n 20 "$2")"
    else
        pass "$1"
    fi
}

empty() { # NAME FILE
    if [ -s "$2" ]; then
        fail "$1" "$2 is not empty: $(head -n 20 "$2")"
    else
        pass "$1"
    fi
}

refuses() { # NAME EXIT-CODE TEXT ARGUMENT...: busbar fails so, says so on stderr, and prints no result
    name=$1 code=$2 text=$3
    shift 3
    run "$@"
    if [ "$status" -ne "$code" ]; then
        fail "$name" "expected exit code $code, got $status" "$(cat err)"
    elif [ -s out ]; then
        fail "$name" "printed a result: $(head -n 5 out)"
    else
        has "$name" err "$text"
    fi
}

json() { # FILE [PATH...]: checks that each line is a JSON object, and prints the values
    file=$1
    shift
    "$JSON_CHECK" "$@" <"$file"
}

# ---- Waiting

wait_until() { # SECONDS COMMAND...: until the command succeeds; false when the time is over
    deadline=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$(date +%s)" -ge "$deadline" ]; then
            return 1
        fi
        sleep 0.02
    done
}

file_has() { # FILE TEXT
    grep -qF -- "$2" "$1"
}

ends() { # NAME PID EXPECTED: the process ends by itself, with this exit code
    if ! wait_until 20 has_ended "$2"; then
        fail "$1" "it is still running"
        return
    fi
    code=0
    wait "$2" || code=$?
    equal "$1" "$3" "$code"
}

has_ended() { # PID: it is gone, or waits for its exit code to be asked for
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
    [ -z "$state" ] || [ "$state" = Z ]
}

is_running() { # PID
    ! has_ended "$1"
}

# ---- A broker

broker_port=
broker_pid=

# Starts mosquitto, on the port of the last one if there was one. Skips the script if there is none to start. $broker_log
# shows what it received.
broker_start() { # LINE...: of its configuration
    PATH=$PATH:/usr/sbin:/usr/local/sbin
    if ! command -v mosquitto >/dev/null 2>&1; then
        echo "1..0 # SKIP there is no mosquitto"
        exit 77
    fi
    printf '%s\n' "$@" >broker.conf
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        broker_port=${broker_port:-$((20000 + ($$ * 7 + attempt * 991) % 12000))}
        if broker_start_once; then
            return
        fi
        broker_port=
    done
    echo "not ok - mosquitto does not start"
    cat broker.log
    exit 1
}

broker_start_once() {
    {
        echo "listener $broker_port 127.0.0.1"
        [ "$(id -u)" -ne 0 ] || echo "user root"
        cat broker.conf
    } >broker.full.conf
    mosquitto -v -c broker.full.conf >broker.log 2>&1 &
    broker_pid=$!
    started="$started $broker_pid"
    broker_log=broker.log
    wait_until 10 broker_settled && file_has broker.log ' running'
}

broker_settled() {
    file_has broker.log ' running' || has_ended "$broker_pid"
}

broker_stop() {
    kill "$broker_pid"
    wait "$broker_pid" 2>/dev/null
}

received() { # TEXT: how many messages the broker took whose line in the log has the text
    grep -F 'Received PUBLISH' "$broker_log" | grep -cF -- "$1"
}

# ---- The end

finish() {
    [ "$failures" -eq 0 ]
    exit
}
