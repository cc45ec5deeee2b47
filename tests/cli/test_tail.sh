#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar tail: the newest events, and those that follow.
. "${0%/*}/lib.sh"
run init app.db

run tail app.db
exits "an empty log" 0
empty "has no end" out

i=1
while [ $i -le 12 ]; do
    "$BUSBAR" publish app.db "t.a$((i % 2))" --id "e$i" >/dev/null
    i=$((i + 1))
done
run publish app.db t.u --id u1 --lane urgent
run publish app.db t.n --id e13

ids() { # ARGUMENT...
    "$BUSBAR" tail app.db --json "$@" >ids.out && json ids.out id | tr '\n' ' ' | sed 's/ $//'
}
equal "ten by default, the lanes in order of time" "e5 e6 e7 e8 e9 e10 e11 e12 u1 e13" "$(ids)"
equal "the last ones" "u1 e13" "$(ids -n 2)"
equal "the last ones, in another form" "u1 e13" "$(ids --lines=2)"
equal "none" "" "$("$BUSBAR" tail app.db -n0 --json)"
equal "all" "e1 u1 e13" "$(ids -n 1000 | sed 's/^\(e1\) .* \(u1 e13\)$/\1 \2/')"
equal "of one type, looking further back" "e2 e4 e6 e8 e10 e12" "$(ids --type t.a0)"
equal "the last ones of one type" "e9 e11" "$(ids --type t.a1 -n 2)"
run tail app.db -n 1
has "a line for people" out 'normal  e13'
ids >/dev/null
run init copy.db
run publish copy.db --ndjson ids.out
has "what it prints as JSON is what publish reads" err 'stored 10, known already 0, refused 0'

refuses "bad number" 2 '--lines is a number' tail app.db -n many
refuses "bad pattern" 2 '--type "a..b"' tail app.db --type a..b

"$BUSBAR" tail -f app.db -n 1 --json >followed 2>followed.err &
pid=$!
started="$started $pid"
check "following begins with the newest" wait_until 10 file_has followed '"id":"e13"'
run publish app.db t.later --id f1 --lane bulk
run publish app.db t.later --id f2
check "and goes on as others commit" wait_until 10 file_has followed '"id":"f2"'
check "in every lane" wait_until 10 file_has followed '"id":"f1"'
"$SQL" app.db 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
run publish app.db t.later --id f3
check "also after the WAL was emptied" wait_until 10 file_has followed '"id":"f3"'
kill -TERM "$pid"
ends "SIGTERM ends it with 0" "$pid" 0
equal "each event came once" "e13 f1 f2 f3" "$(json followed id | sort | tr '\n' ' ' | sed 's/ $//')"
empty "without talk" followed.err

"$BUSBAR" tail --follow app.db --type t.want -n 5 --json >wanted &
pid=$!
started="$started $pid"
publish_until_seen() {
    "$BUSBAR" publish app.db t.other && "$BUSBAR" publish app.db t.want && file_has wanted '"type":"t.want"'
}
check "following one type" wait_until 10 publish_until_seen
lacks "shows no other" wanted t.other
kill -INT "$pid"
ends "SIGINT ends it with 0" "$pid" 0

mkfifo pipe
"$BUSBAR" tail -f app.db -n 1 >pipe 2>pipe.err &
pid=$!
started="$started $pid"
head -n 1 <pipe >/dev/null
ends "a reader that goes away ends it with 0" "$pid" 0
empty "without talk" pipe.err
finish
