#!/bin/sh
# SPDX-License-Identifier: MIT
# The quickstart does what it says, from publishing without a broker (P1, P6) to arrival.
# Usage: test_quickstart.sh SOURCE-DIRECTORY BUILD-DIRECTORY [no-broker]
. "${0%/*}/../header/lib.sh"
source=$1
build=$2
PATH=$PATH:/usr/local/sbin:/usr/sbin

# Prints what is wrong unless it ends well and prints each of the texts, in this order.
plays() { # NAME OPTIONS TEXT...
    name=$1 options=$2
    shift 2
    # shellcheck disable=SC2086 # options is a list
    sh "$source/examples/quickstart.sh" --build "$build" $options >"$work/out" 2>&1 </dev/null || echo "exit code $?" >"$work/bad"
    line=1
    for text in "$@"; do
        found=$(tail -n "+$line" "$work/out" | grep -n -m 1 -F -- "$text" | cut -d: -f1)
        if [ -z "$found" ]; then
            echo "after line $((line - 1)) it does not print: $text" >>"$work/bad"
            break
        fi
        line=$((line + found))
    done
    [ ! -e "$work/bad" ] || cat "$work/out" >>"$work/bad"
    cat "$work/bad" 2>/dev/null | verdict "$name"
    rm -f "$work/bad"
}

plays "quickstart --no-broker" --no-broker \
    'door.opened: the door and event' 'rolled back' '$ busbar list house.db' 'door.opened' 'the link is down' 'house/door.opened {' 'house/door.closed {' '$ busbar status house.db' 'bell' 'uplink'
if [ "${3-}" = no-broker ]; then
    skip quickstart "built without libmosquitto"
elif ! command -v mosquitto >/dev/null 2>&1 || ! command -v mosquitto_sub >/dev/null 2>&1; then
    skip quickstart "there is no mosquitto or no mosquitto_sub"
else
    plays quickstart '' \
        '$ door house.db 4' '$ busbar status house.db' 'cannot connect' '# What arrived.' \
        'house/door.opened {' 'house/door.closed {' 'house/door.opened {' 'house/door.closed {' '$ busbar status house.db' 'uplink'
fi
finish
