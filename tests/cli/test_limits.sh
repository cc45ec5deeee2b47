#!/bin/sh
# SPDX-License-Identifier: MIT
# The limits of a bus on the command line (P8, P9): what the publisher holds, what the worker keeps, what is refused.
. "${0%/*}/lib.sh"
run init app.db

# ---- Numbers of events and their ages
stored() { # LANE
    run status app.db --json
    echo $(($(json out "lanes/$1/head") - $(json out "lanes/$1/first") + 1))
}
for n in 1 2 3 4 5 6; do
    run publish app.db a.b --max-events normal=3 --max-events bulk=2
    run publish app.db a.b --lane bulk --max-events normal=3 --max-events bulk=2
done
equal "the oldest go, in each lane by its own limit" "3 2" "$(stored normal) $(stored bulk)"
for n in 1 2 3 4; do run publish app.db a.b --lane urgent --max-events 3; done
exits "urgent ones are never evicted" 1
has "it says why" err 'the urgent lane has as many events as'
run publish app.db a.b --max-events 3 --full normal=refuse
exits "a lane that refuses" 1
equal "nothing went" "3 3" "$(stored urgent) $(stored normal)"
run publish app.db a.b --max-events 3 --full bulk=refuse
exits "another one's policy" 0
"$SQL" app.db "UPDATE busbar_session SET mono_ms = mono_ms - 7200000"
run publish app.db a.b --max-event-age normal=1h
exits "old ones go" 0
equal "all but the newest, and not of the other lanes" "3 2 2" "$(stored urgent) $(stored normal) $(stored bulk)"

# ---- Bytes
line=1
while [ "$line" -le 6000 ]; do
    echo "{\"specversion\":\"1.0\",\"id\":\"i$line\",\"source\":\"/x\",\"type\":\"a.b\",\"data\":\"some text to fill it up with\"}"
    line=$((line + 1))
done >events.ndjson
bytes() {
    total=0
    for file in full.db full.db-wal; do
        [ ! -f "$file" ] || total=$((total + $(wc -c <"$file")))
    done
    echo "$total"
}
run init full.db
run publish full.db --ndjson events.ndjson --max-bytes 512K --full refuse
exits "it is full" 1
has "it says so" err 'options.max_bytes is 524288'
stored=$(sed -n 's/.*stored \([0-9]*\), .*/\1/p' err)
run status full.db --json
equal "what was stored before stays" "$stored" "$(json out lanes/normal/head)"
check "a good deal of it" test "$stored" -gt 500
check "within the limit" test "$(bytes)" -le 524288
run publish full.db --ndjson events.ndjson --max-bytes 512K
exits "evicting, there is room" 0
check "within the limit still" test "$(bytes)" -le 524288
run status full.db --json
equal "all went in" 6000 "$(json out lanes/normal/head)"
run publish full.db a.b --max-bytes 512K --reserve-bytes 64K
check "the reserve is there" test -s full.db-reserve

# ---- Mistakes
wrong() { # NAME TEXT OPTION...
    name=$1 text=$2
    shift 2
    refuses "publish, $name" 2 "$text" publish app.db a.b "$@"
}
wrong "a limit that is too small" '--max-bytes is 256K at least' --max-bytes 100K
wrong "a size that is none" '--max-bytes is a size such as' --max-bytes 1T
wrong "a huge size" '--max-bytes is a size such as' --max-bytes 9223372036854775807K
wrong "a reserve that is too large" '--reserve-bytes is half of' --max-bytes 1M --reserve-bytes 600K
wrong "no events" '--max-events is a number of at least 1' --max-events 0
wrong "an unknown lane" 'for one lane with urgent=, normal= or bulk= before it, not "slow=5"' --max-events slow=5
wrong "an age without a unit" '--max-event-age is a duration' --max-event-age 5
wrong "an unknown policy" '--full is refuse or evict' --full bulk=stop
refuses "another lane's extension" 2 'does not go with --ndjson' publish app.db --ndjson events.ndjson --ext a=b
relay_refuses() { # NAME TEXT OPTION...
    name=$1 text=$2
    shift 2
    refuses "relay, $name" 2 "$text" relay app.db --url mqtt://127.0.0.1:1 --topic t "$@"
}
relay_refuses "no events kept" '--keep-events is a number of at least 1' --keep-events 0
relay_refuses "more than can be counted" '--keep-ids is a number' --keep-ids 4294967296
relay_refuses "an age without a unit" '--keep-age is a duration' --keep-age 30
relay_refuses "a reserve that is too large" '--reserve-bytes is half of' --max-bytes 1M --reserve-bytes 600K
printf '{"url": "mqtt://127.0.0.1:1", "topic": "t", "max-event-age": ["bulk=1h", "slow=1h"]}' >relay.json
refuses "in the configuration" 2 'not "slow=1h"' relay app.db --config relay.json
finish
