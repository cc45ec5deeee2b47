#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar publish: one event (P1: what it says is stored is stored, and nothing else; P5: given ids).
. "${0%/*}/lib.sh"
run init app.db

count() {
    run list app.db --json
    grep -c . out
}

run publish app.db door.opened --data '{"n":9007199254740993,"s":"ä"}' --source /house --subject front --key k1 \
    --ext trace=abc --ext level:int=-5 --ext ok:bool=true --ext no:bool=false --ext 'eq=a=b:c' \
    --dataschema https://example.com/s --time 2026-05-01T12:00:00Z --lane urgent
exits "publish with everything" 0
empty "says nothing on stderr" err
id=$(cat out)
run show app.db "$id" --json
exits "show finds it by the id that publish printed" 0
value() { # NAME EXPECTED PATH
    equal "$1" "$2" "$(json out "$3")"
}
value "type" door.opened event/type
value "source" /house event/source
value "subject" front event/subject
value "key" k1 event/partitionkey
value "text extension" abc event/trace
value "integer extension" -5 event/level
value "boolean extension" true event/ok
value "false extension" false event/no
value "a text may have = and :" a=b:c event/eq
value "dataschema" https://example.com/s event/dataschema
value "time" 2026-05-01T12:00:00Z event/time
value "lane" urgent lane
has "data is kept byte for byte" out '"data":{"n":9007199254740993,"s":"ä"}'

run publish app.db door.closed
exits "publish without data" 0
run show app.db "$(cat out)" --json
lacks "has none" out '"data"'
equal "a source of this machine's" 1 "$(json out event/source | grep -c .)"

printf '{"from":"a file"}' >data.json
run publish app.db a --data @data.json
run show app.db "$(cat out)" --json
has "data from a file" out '"data":{"from":"a file"}'
printf '{"from":"stdin"}' | "$BUSBAR" publish app.db a --data - >out
run show app.db "$(cat out)" --json
has "data from standard input" out '"data":{"from":"stdin"}'
printf 'a\000b' | "$BUSBAR" publish app.db a --datacontenttype application/octet-stream --data - >out
run show app.db "$(cat out)" --json
has "binary data" out '"data_base64":"YQBi"'
printf '{\n  "a": 1\n}\n' >pretty.json
run publish app.db a --data @pretty.json
run show app.db "$(cat out)" --json
equal "data with line ends stay one line" 1 "$(json out event/data/a)"

run publish app.db a --id given --source /one
equal "a given id is printed" given "$(cat out)"
before=$(count)
run publish app.db b --id given --source /one --data 1
exits "the same id and source again end with 0" 0
equal "and print the first one's id" given "$(cat out)"
has "and say so" err 'stored already; nothing was stored'
equal "P5: nothing was stored" "$before" "$(count)"
run publish app.db a --id given --source /two
exits "the same id of another source" 0
equal "is another event" $((before + 1)) "$(count)"

before=$(count)
refuses "bad JSON, with its position" 1 'not valid JSON at byte 6' publish app.db a --data '{"a":1'
refuses "no data file" 1 'nofile: cannot be opened: No such file' publish app.db a --data @nofile
refuses "a directory as data" 1 'cannot be read' publish app.db a --data @.
refuses "bad type" 2 'the type "a..b"' publish app.db a..b
refuses "bad source" 2 '--source "a b"' publish app.db a --source 'a b'
refuses "bad subject" 2 '--subject ""' publish app.db a --subject ''
refuses "bad key" 2 '--key ""' publish app.db a --key ''
refuses "bad id" 2 '--id ""' publish app.db a --id ''
refuses "bad time" 2 '--time "today"' publish app.db a --time today
refuses "bad media type" 2 '--datacontenttype "json"' publish app.db a --datacontenttype json
refuses "bad schema" 2 '--dataschema "here"' publish app.db a --dataschema here
refuses "bad lane" 2 '--lane is urgent, normal or bulk' publish app.db a --lane fast
refuses "bad time-to-live" 2 '--ttl is a duration with a unit' publish app.db a --ttl 10
refuses "no time-to-live" 2 '--ttl' publish app.db a --ttl 0s
refuses "a time-to-live beyond all bounds" 2 '--ttl' publish app.db a --ttl 99999999999999999999d
refuses "extension without value" 2 '--ext is NAME=TEXT' publish app.db a --ext trace
refuses "extension without name" 2 '--ext is NAME=TEXT' publish app.db a --ext =x
refuses "extension of an unknown type" 2 '--ext is NAME=TEXT' publish app.db a --ext n:float=1
refuses "integer beyond 32 bits" 2 '--ext is NAME=TEXT' publish app.db a --ext n:int=2147483648
refuses "a boolean that is none" 2 '--ext is NAME=TEXT' publish app.db a --ext n:bool=yes
refuses "extension name that CloudEvents does not allow" 2 '--ext: an extension attribute' publish app.db a --ext Bad=1
set --
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33; do
    set -- "$@" --ext "e$i=x"
done
refuses "too many extensions" 2 '32 extension attributes at most' publish app.db a "$@"
refuses "no type" 2 'needs the type' publish app.db
refuses "text that is not UTF-8" 2 '--subject "\xff"' publish app.db a --subject "$(printf '\377')"
dd if=/dev/zero of=large bs=65536 count=257 2>/dev/null
refuses "data beyond 16 MiB" 1 'large: is too large; 16777216 bytes at most' publish app.db a --data @large \
    --datacontenttype application/octet-stream
equal "P1: nothing of that was stored" "$before" "$(count)"
dd if=/dev/zero of=large bs=65536 count=256 2>/dev/null
run publish app.db a --data @large --datacontenttype application/octet-stream
exits "data of 16 MiB" 0
# ---- Scheduling

waiting() {
    "$SQL" app.db 'SELECT count(*) FROM busbar_later'
}

before=$(count)
run publish app.db later.a --delay 10m
exits "publish with a delay" 0
check "prints an id" grep -qE '^[0-9a-z]{20}-nl1$' out
run publish app.db later.a --not-before 2999-12-01T08:00:00Z --id at-eight --source /s --lane bulk
equal "and with a time and a given id" at-eight "$(cat out)"
equal "both wait" 2 "$(waiting)"
equal "and are in no lane" "$before" "$(count)"
run publish app.db later.a --not-before 2999-12-01T08:00:00Z --id at-eight --source /s
has "P5: the id is known while it waits" err 'stored already; nothing was stored'
equal "the time is UTC" 32501030400000 "$("$SQL" app.db 'SELECT due_ms FROM busbar_later WHERE due_boot = 0')"
refuses "a delay without a unit" 2 '--delay is a duration with a unit' publish app.db a --delay 10
refuses "no delay" 2 '--delay' publish app.db a --delay 0s
refuses "a time that is none" 2 '--not-before is a time' publish app.db a --not-before tomorrow
refuses "a time before 1970" 2 '--not-before is a time' publish app.db a --not-before 1969-12-31T00:00:00Z
refuses "both" 2 'do not go together' publish app.db a --delay 1s --not-before 2999-12-01T08:00:00Z
printf '%s\n' '{}' >one.ndjson
refuses "a delay of a stream" 2 '--delay does not go with --ndjson' publish app.db --ndjson one.ndjson --delay 1s
equal "nothing more waits" 2 "$(waiting)"

finish
