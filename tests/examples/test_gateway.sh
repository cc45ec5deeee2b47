#!/bin/sh
# SPDX-License-Identifier: MIT
# The gateway sends what is published beside it, also when the broker comes later than the event (P6), and ends when asked.
# Usage: test_gateway.sh BUSBAR GATEWAY
GATEWAY=$(cd "${2%/*}" && pwd)/${2##*/}
. "${0%/*}/../cli/lib.sh"

broker_start 'allow_anonymous true'
broker_stop
run init app.db
run publish app.db door.opened --source /house --id early
exits "an event is published while there is no broker" 0
"$GATEWAY" app.db 127.0.0.1 "$broker_port" 2>gateway.err &
gateway_pid=$!
started="$started $gateway_pid"
broker_start 'allow_anonymous true'

arrived() { # TOPIC
    [ "$(received "'$1'")" -ge 1 ]
}
check "it is sent when the broker is there" wait_until 30 arrived house/door.opened
run publish app.db door.closed --source /house --id late
check "the next one is sent at once" wait_until 10 arrived house/door.closed
kill "$gateway_pid"
ends "the gateway ends when it is told to" "$gateway_pid" 0
empty "it has not complained" gateway.err
finish
