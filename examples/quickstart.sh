#!/bin/sh
# SPDX-License-Identifier: MIT
# Busbar from nothing to arrival: builds it, lets a program publish while there is no broker, looks into the database, starts
# a broker of its own on a free port of this machine, relays, and shows what arrives.
#
#   sh examples/quickstart.sh [--no-broker] [--build DIRECTORY]
#
#   --no-broker         leave MQTT out: the relay sends through the in-process loopback transport
#   --build DIRECTORY   use this build as it is, and install nothing
#
# Everything it makes is in a temporary directory, which it removes, and in build/quickstart.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

broker=true
build=
while [ $# -gt 0 ]; do
    case $1 in
    --no-broker) broker=false ;;
    --build)
        build=$(cd "${2:?--build needs a directory}" && pwd)
        shift
        ;;
    *)
        sed -n '3,/^set/{/^set/d; s/^# \{0,1\}//; p;}' "$0" >&2
        exit 2
        ;;
    esac
    shift
done

work=$(mktemp -d)
broker_pid=
subscriber_pid=
relay_pid=
clean_up() {
    [ -z "$relay_pid" ] || { kill -CONT "$relay_pid" && kill "$relay_pid" && wait "$relay_pid"; } 2>/dev/null || true
    [ -z "$subscriber_pid" ] || kill "$subscriber_pid" 2>/dev/null || true
    [ -z "$broker_pid" ] || kill "$broker_pid" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

say() {
    printf '\n# %s\n' "$*"
}
show() { # COMMAND...: as a person would type it
    printf '$ %s\n' "$*"
    "$@"
}
wait_until() { # SECONDS COMMAND...
    tries=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$tries" -gt 0 ] || return 1
        tries=$((tries - 1))
        sleep 0.05
    done
}

# ---- Build

if [ -z "$build" ]; then
    if $broker; then
        sh tests/packages.sh build demo
    else
        sh tests/packages.sh build
    fi
    build=$PWD/build/quickstart
    echo "Building in build/quickstart ..."
    {
        [ -f "$build/build.ninja" ] ||
            meson setup "$build" -Dtests=disabled -Dbench=disabled -Dcli=enabled -Dexamples=enabled
        meson compile -C "$build"
    } >"$work/build.log" 2>&1 || {
        cat "$work/build.log"
        exit 1
    }
fi
PATH=$build/cli:$build/examples:$PATH
cd "$work"

# ---- Publish and handle

say "A program moves a door and publishes that in the same transaction; a handler hears of it. There is no broker."
show door house.db 4

say "What is in the database now."
show busbar list house.db

if ! $broker; then
    say "A relay to a peer in the same process, over a link that is down at first."
    show loopback house.db
    say "How everybody stands."
    show busbar status house.db
    exit 0
fi

# ---- Relay

port=
start_broker() { # on a port that nobody listens on
    printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" >broker.conf
    [ "$(id -u)" -ne 0 ] || echo 'user root' >>broker.conf
    mosquitto -v -c broker.conf >broker.log 2>&1 &
    broker_pid=$!
    wait_until 5 broker_settled
    kill -0 "$broker_pid" 2>/dev/null && grep -q ' running$' broker.log
}
broker_settled() {
    grep -q ' running$' broker.log || ! kill -0 "$broker_pid"
}
choose_port() { # ATTEMPT
    port=$((20000 + ($$ * 13 + $1 * 1009) % 12000))
}
choose_port 0

say "A relay that finds no broker: it keeps everything, and goes on trying."
start_relay() {
    set -- busbar relay house.db --name uplink --url "mqtt://127.0.0.1:$port" --topic 'house/{type}'
    printf '$ %s &\n' "$*"
    "$@" &
    relay_pid=$!
}
waits_for_broker() {
    busbar status house.db | grep -q 'cannot connect'
}
start_relay
wait_until 10 waits_for_broker
show busbar status house.db # healthy: being offline is what the bus is for

say "A broker starts, and somebody listens to it. The relay goes on by itself."
kill -STOP "$relay_pid" # until somebody listens: what nobody listens to, a broker forgets
attempt=0
until start_broker; do # somebody else took the port: another one, and a relay for it
    attempt=$((attempt + 1))
    [ "$attempt" -lt 20 ] || {
        cat broker.log
        echo "quickstart.sh: mosquitto does not start" >&2
        exit 1
    }
    kill -KILL "$relay_pid"
    wait "$relay_pid" || true
    choose_port "$attempt"
    start_relay
    kill -STOP "$relay_pid"
done
echo "\$ mosquitto -c broker.conf &     # on port $port"
echo "\$ mosquitto_sub -p $port -t 'house/#' -v &"
mosquitto_sub -h 127.0.0.1 -p "$port" -q 1 -t 'house/#' -v >arrivals 2>subscriber.log &
subscriber_pid=$!
wait_until 10 grep -q 'Sending SUBACK' broker.log
kill -CONT "$relay_pid"

say "What arrived."
all_arrived() {
    [ "$(wc -l <arrivals)" -ge 4 ]
}
wait_until 60 all_arrived || true
cat arrivals
all_arrived || {
    echo "quickstart.sh: only $(wc -l <arrivals) of 4 events arrived" >&2
    exit 1
}

say "How everybody stands now."
all_recorded() {
    [ -z "$(busbar list house.db --consumer uplink --json)" ]
}
wait_until 10 all_recorded
show busbar status house.db
