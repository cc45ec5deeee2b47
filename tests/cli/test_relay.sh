#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar relay against a real broker: draining, filters, configuration, outages, stops and kills (P3, P6, P8, P11).
. "${0%/*}/lib.sh"
broker_start 'allow_anonymous true' 'message_size_limit 2000'
url=mqtt://127.0.0.1:$broker_port

consumer() { # NAME PATH: a value of the consumer's status
    "$BUSBAR" status app.db --json >status.out
    for i in 0 1 2 3 4 5 6 7; do
        if [ "$(json status.out "consumers/$i/name" 2>/dev/null)" = "$1" ]; then
            json status.out "consumers/$i/$2"
            return
        fi
    done
}

balance() { # NAME CONSUMER: P8 holds in every lane
    for lane in urgent normal bulk; do
        head=$("$BUSBAR" status app.db --json >balance.out && json balance.out "lanes/$lane/head")
        sum=0
        for counter in filtered delivered dead expired evicted retrying; do
            sum=$((sum + $(consumer "$2" "lanes/$lane/$counter")))
        done
        equal "P8: $1, $lane: the counters add up" $((head - $(consumer "$2" "lanes/$lane/start"))) \
            $((sum + head - $(consumer "$2" "lanes/$lane/cursor")))
    done
}

start_relay() { # OPTION...: in the background; relay_pid, relay.out, relay.err
    : >relay.err # or what the last one said would be taken for what this one says
    "$BUSBAR" relay app.db --url "$url" "$@" >relay.out 2>relay.err &
    relay_pid=$!
    started="$started $relay_pid"
}

run init app.db
for i in 1 2 3; do
    run publish app.db door.opened --source /house --id "d$i" --data "$i"
done
run publish app.db alarm.fire --source /house --id fire --lane urgent
run publish app.db log.line --source /house --id log --lane bulk

# ---- Draining

run relay app.db --url "$url" --topic 'x/{lane}/{type}/{id}' --drain
exits "--drain ends with 0" 0
empty "without results" out
empty "and without talk" err
equal "the broker has all events" 5 "$(received 'x/')"
equal "on the topics of the template" 1 "$(received "'x/urgent/alarm.fire/fire'")"
equal "at QoS 1" 5 "$(received ', q1, ')"
equal "nothing is pending" 0 "$(consumer relay pending)"
balance "after a drain" relay
run relay app.db --url "$url" --topic 'x/{type}' --drain
exits "a second drain ends with 0" 0
equal "P3: and sends nothing again" 5 "$(received 'x/')"
run list app.db --consumer relay --state "done" --json
exits "list --state done" 0
equal "has what was delivered" "fire d1 d2 d3 log" "$(json out event/id | tr '\n' ' ' | sed 's/ $//')"
run show app.db d1 --json
equal "show names the consumer's state" "relay done" "$(json out consumers/0/consumer consumers/0/state | tr '\n' ' ' | sed 's/ $//')"
run show app.db d1
has "for people too" out 'relay     done   '

run relay app.db --url "$url/" --topic 'y/{type}' --name doors --type 'door.*' --qos 2 --mqtt 3.1.1 --client-id me \
    --window 1 --rate 1000 --format structured --drain
exits "another route with every option" 0
equal "takes its types only" 3 "$(received 'y/')"
equal "at its QoS" 3 "$(received ', q2, ')"
has "with its version and its client id" "$broker_log" 'as me (p2'
equal "what did not fit counts as filtered" 1 "$(consumer doors lanes/urgent/filtered)"
balance "with a filter" doors
run relay app.db --url "$url" --topic 'z/{type}' --name zero --qos 0 --drain
exits "QoS 0" 0

cat >config.json <<END
{"url": "$url", "topic": "from-config/{type}", "name": "configured", "qos": 1, "window": "5", "drain": true}
END
run relay app.db --config config.json
exits "all from a configuration" 0
equal "is obeyed" 5 "$(received 'from-config/')"
run relay app.db --config config.json --name override --topic 'override/{type}'
equal "the command line goes before it" 5 "$(received 'override/')"

# ---- Running

start_relay --topic 'live/{type}'
run publish app.db t.live
live_arrived() {
    [ "$(received 'live/t.live')" -eq 1 ]
}
check "a running relay forwards what is published" wait_until 20 live_arrived
check "it is named as the worker" test "$(consumer relay worker)" != null
"$BUSBAR" relay app.db --url "$url" --topic t >second.out 2>second.err &
second_pid=$!
started="$started $second_pid"
check "a second one of the same name waits, and says so" wait_until 20 file_has second.err 'another worker holds'
kill -TERM "$second_pid"
ends "it can be stopped" "$second_pid" 0
kill -TERM "$relay_pid"
ends "SIGTERM ends it with 0" "$relay_pid" 0
empty "without talk" relay.err
equal "and it gives its consumer back" null "$(consumer relay worker)"
start_relay --topic t --drain --type none.such --name idle
ends "--drain with nothing to send ends at once" "$relay_pid" 0

# ---- What can never be sent

run publish app.db t.large --id large --data "\"$(printf '%03000d' 0)\""
run publish app.db t.small --id small
run relay app.db --url "$url" --topic 'dead/{type}' --drain
exits "P11: an event that is refused for good does not keep --drain from ending" 0
has "it is told" err 'relay: given up for good: 1 more'
equal "P11: and the one behind it is delivered" 1 "$(received 'dead/t.small')"
run list app.db --consumer relay --state dead --json
equal "it is kept as a dead letter" "large dead" "$(json out event/id state | tr '\n' ' ' | sed 's/ $//')"
check "with its reason" test -n "$(json out reason)"
run list app.db --consumer relay
has "for people too" out 'large  normal  t.large'
run status app.db
exits "dead letters are unhealthy" 4
has "and say so" out 'health    unhealthy'
run status app.db --json
exits "as JSON too" 4
equal "with the flag" false "$(json out healthy)"
balance "with a dead letter" relay
run publish app.db t.small
run relay app.db --url "$url" --topic 'dead/{type}' --drain
equal "a success ends the last error" null "$(consumer relay last_error)"
run status app.db
exits "but not the dead letter" 4

# ---- Outages

broker_stop
run publish app.db t.offline --id offline
start_relay --topic 'outage/{type}' --drain --name late
check "P6: without a broker the reason is told" wait_until 20 file_has relay.err 'busbar: late: '
check "status has it as the last error" test "$(consumer late last_error)" != null
check "and --drain does not end" is_running "$relay_pid"
broker_start 'allow_anonymous true'
ends "P6: with the broker back, everything is sent" "$relay_pid" 0
equal "each event" 1 "$(received "outage/t.offline")"
equal "no error is left" null "$(consumer late last_error)"
balance "after an outage" late

start_relay --topic 'stopped/{type}' --name stopped --rate 1
check "a slow relay begins" wait_until 20 file_has "$broker_log" 'stopped/'
kill -INT "$relay_pid"
ends "SIGINT ends it with 0, before all is sent" "$relay_pid" 0
check "what is left is pending" test "$(consumer stopped pending)" -gt 0
balance "after a stop" stopped

awk 'BEGIN { for (i = 1; i <= 2000; i++)
    printf "{\"specversion\":\"1.0\",\"id\":\"m%d\",\"source\":\"/s\",\"type\":\"t.many\"}\n", i }' >many
run publish app.db --ndjson many
start_relay --topic 'killed/{type}' --name killed --type t.many --window 10 --rate 500
check "a relay is in the middle" wait_until 20 file_has "$broker_log" 'killed/'
kill -KILL "$relay_pid"
wait "$relay_pid" 2>/dev/null
run relay app.db --url "$url" --topic 'killed/{type}' --name killed --type t.many --window 10 --drain
exits "after kill -9 another one goes on" 0
check "P3: with every event" test "$(received 'killed/')" -ge 2000
check "P3: and at most the window and an acknowledgement group again" test "$(received 'killed/')" -le 2110
balance "after kill -9" killed
finish
