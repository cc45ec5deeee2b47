#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar publish --ndjson: streams of CloudEvents, with bad lines among them (P1, P5).
. "${0%/*}/lib.sh"
run init app.db

event() { # ID [MEMBERS]
    printf '{"specversion":"1.0","id":"%s","source":"/s","type":"t.a"%s}\n' "$1" "${2:-}"
}

{
    event a ',"data":{"n":9007199254740993},"trace":"x","level":7,"ok":true'
    printf '\r\n'
    event b | tr -d '\n'
    printf '\r\n'
    printf '   \n'
    echo '{"specversion":"1.0","id":"c","type":"t.a"}'
    echo '{"specversion":"1.0","id":"d" oops'
    echo '[1,2]'
    event e ',"data":[1'
    event f ',"data_base64":"YQBi","datacontenttype":"image/png"'
    event a
    printf '{"specversion":"1.0","id":"g","source":"/s","type":"t.a"}'
} >events
run publish app.db --ndjson events
exits "a stream with bad lines ends with 1" 1
empty "prints no result" out
has "a missing member is named, with its line" err 'line 5: member "source"'
has "bad JSON with line and position" err 'line 6: the text is not valid JSON, at byte 30'
has "an array is no event" err 'line 7: '
has "a cut line" err 'line 8: '
has "a summary" err 'stored 4, known already 1, refused 4'
run list app.db --json
equal "the good ones are stored, in order, with their ids" "a b f g" "$(json out event/id | tr '\n' ' ' | sed 's/ $//')"
equal "extensions are kept" "x 7 true" "$(head -n 1 out >first && json first event/trace event/level event/ok | tr '\n' ' ' | sed 's/ $//')"
has "data are kept byte for byte" out '"data":{"n":9007199254740993}'
has "binary data too" out '"data_base64":"YQBi"'

run publish app.db --ndjson events
has "P5: a second time stores nothing" err 'stored 0, known already 5, refused 4'

event h | "$BUSBAR" publish app.db --ndjson --lane bulk --ttl 1h 2>err
equal "from standard input" 0 $?
run show app.db h --json
equal "into a lane" bulk "$(json out lane)"
"$BUSBAR" publish app.db --ndjson - </dev/null 2>err
equal "an empty stream is no failure" 0 $?
has "it stores nothing" err 'stored 0, known already 0, refused 0'

refuses "options of an event do not go with it" 2 '--id does not go with --ndjson' publish app.db --ndjson --id x
refuses "nor do extensions" 2 '--ext does not go with --ndjson' publish app.db --ndjson --ext a=b
refuses "no such file" 1 'nofile: cannot be opened' publish app.db --ndjson nofile

run init many.db
awk 'BEGIN { for (i = 1; i <= 3000; i++)
    printf "{\"specversion\":\"1.0\",\"id\":\"m%d\",\"source\":\"/s\",\"type\":\"t.a\",\"data\":%d}\n", i, i }' >many
run publish many.db --ndjson many
exits "more events than a transaction takes" 0
has "all are stored" err 'stored 3000, known already 0, refused 0'
run list many.db --json
equal "in order" "$(awk 'BEGIN { for (i = 1; i <= 3000; i++) print "m" i }' | cksum)" "$(json out event/id | cksum)"

# One line a little below the limit, one a little beyond it, and one after that.
line() { # DIGITS
    printf '{"specversion":"1.0","id":"l%d","source":"/s","type":"t.a","data":"' "$1"
    dd if=/dev/zero bs=1024 count="$1" 2>/dev/null | tr '\0' x
    printf '"}\n'
}
run init long.db
{
    line 16383
    line 16384
    event after
} >long
run publish long.db --ndjson long
exits "a line that is too long" 1
has "is told with its number" err 'line 2: is longer than 16 MiB'
has "and the others are stored" err 'stored 2, known already 0, refused 1'

# While the writer of a stream takes its time, what it wrote is visible and no lock is held.
run init slow.db
mkfifo pipe
"$BUSBAR" publish slow.db --ndjson pipe 2>slow.err &
pid=$!
started="$started $pid"
exec 3>pipe
event one >&3
printf '{"specversion":"1.0","id":"two",' >&3
is_stored() {
    "$BUSBAR" show slow.db "$1"
}
check "P1: an event is stored before the stream goes on" wait_until 10 is_stored one
run publish slow.db other
exits "and others can write meanwhile" 0
printf '"source":"/s","type":"t.a"}\n' >&3
check "a line that came in two pieces is one" wait_until 10 is_stored two
exec 3>&-
ends "the stream ends" "$pid" 0

# A database that fails in the middle: what was committed stays, and the rest is named.
run init held.db
mkfifo keep
"$SQL" held.db 'BEGIN IMMEDIATE' hold <keep >held &
started="$started $!"
exec 3>keep
wait_until 10 file_has held held
run publish held.db --ndjson many
exits "a locked database" 1
has "is named" err 'held.db: is locked by another process'
has "and from where on nothing was stored" err 'nothing from line 1 on was stored'
exec 3>&-
finish
