#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar relay --match and --match-not: which events arrive; the others count as filtered (P8) and are not in the way.
. "${0%/*}/lib.sh"
broker_start 'allow_anonymous true'
url=mqtt://127.0.0.1:$broker_port

counter() { # NAME COUNTER: of the consumer, in the normal lane
    "$BUSBAR" status app.db --json >status.out
    for i in $(seq 0 39); do
        if [ "$(json status.out "consumers/$i/name" 2>/dev/null)" = "$1" ]; then
            json status.out "consumers/$i/lanes/normal/$2"
            return
        fi
    done
}

arrived() { # PREFIX: the ids that came on topics PREFIX/ID, in order
    grep -F 'Received PUBLISH' "$broker_log" | sed -n "s|.*'$1/\([^']*\)'.*|\1|p" | tr '\n' ' ' | sed 's/ $//'
}

round=0
relays() { # NAME EXPECTED-IDS OPTION...: a relay of its own with these options sends these events, and counts the others
    name=$1 expected=$2
    shift 2
    round=$((round + 1))
    run relay app.db --url "$url" --name "m$round" --topic "m$round/{id}" --drain "$@"
    exits "$name: ends" 0
    equal "$name" "$expected" "$(arrived "m$round")"
    count=$(echo "$expected" | wc -w)
    equal "P8: $name: delivered" "$count" "$(counter "m$round" delivered)"
    equal "P8: $name: filtered" "$((6 - count))" "$(counter "m$round" filtered)"
}

run init app.db
run publish app.db pump.read --id 1 --source /pump/1 --subject valve --ext site=north --ext count:int=-12
run publish app.db pump.read --id 2 --source /pump/2 --subject tank --ext site=north --ext hot:bool=true
run publish app.db pump.alarm --id 3 --source /pump/1 --key k1 --ext site=south
run publish app.db door.open --id 4 --source /door/1 --subject 'valve "main"' --ext 'note=a "b" \c'
run publish app.db door.open --id 5 --source /door/2
run publish app.db door.shut --id 6 --source /door/1 --subject valve

relays "all" "1 2 3 4 5 6"
relays "an exact source" "1 3" --match source=/pump/1
relays "the beginning of a source" "1 2 3" --match 'source=/pump/*'
relays "the end of a source" "1 3 4 6" --match 'source=*/1'
relays "a subject" "1 6" --match subject=valve
relays "the beginning of a subject" "1 4 6" --match 'subject=valve*'
relays "the end of a type" "4 5" --match 'type=*.open'
relays "an id" "5" --match id=5
relays "a key" "3" --match key=k1
relays "a key by its other name" "3" --match 'partitionkey=k*'
relays "an extension" "1 2" --match site=north
relays "the end of an extension" "1 2 3" --match 'site=*th'
relays "an integer" "1" --match count=-12
relays "a boolean" "2" --match hot=true
relays "quotes and backslashes" "4" --match 'note=a "b" \c'
relays "at their end" "4" --match 'note=*"b" \c'
relays "several at once" "1" --match 'source=/pump/*' --match site=north --match subject=valve
relays "not" "4 5 6" --match-not 'source=/pump/*'
relays "none of several" "5" --match-not 'source=/pump/*' --match-not 'subject=valve*'
relays "both kinds" "1 3" --match 'source=/pump/*' --match-not subject=tank
relays "beside a pattern" "1" --type '*.read' --match source=/pump/1
relays "an attribute that no event has" "" --match nosuch=x
relays "not an attribute that no event has" "1 2 3 4 5 6" --match-not nosuch=x

printf '{"match": ["source=/pump/*", "site=north"], "match-not": "subject=tank"}' >config.json
relays "from a configuration" "1" --config config.json
relays "the command line before it" "4" --config config.json --match 'note=a*'
run list app.db --consumer m2
lacks "what was filtered is not pending" out door
equal "P8: it costs no row" 0 "$("$SQL" app.db 'SELECT count(*) FROM busbar_exception')"
equal "the filter is kept in words" 'source^="/pump/" and site="north" and subject="valve"' \
    "$("$SQL" app.db "SELECT filter FROM busbar_consumer WHERE name = 'm17'")"
finish
