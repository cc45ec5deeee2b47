#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar list: filters, limits, and both forms.
. "${0%/*}/lib.sh"
run init app.db

ids() { # ARGUMENT...: the ids of a listing
    "$BUSBAR" list app.db --json "$@" >ids.out 2>/dev/null || echo "it failed"
    [ ! -s ids.out ] || json ids.out event/id | tr '\n' ' ' | sed 's/ $//'
}

run list app.db
exits "an empty log" 0
equal "has headings" "ID  LANE  TYPE  SOURCE  TIME  SIZE" "$(cat out)"
run list app.db --json
exits "an empty log as JSON" 0
empty "is nothing" out

run publish app.db door.opened --id n1 --source /house --data '{}'
run publish app.db door.closed --id n2 --source /house
run publish app.db alarm.fire --id u1 --source /house --lane urgent
run publish app.db log.line --id b1 --source /house --lane bulk
run list app.db
exits "a table" 0
equal "has a row for each event" 5 "$(grep -c . out)"
has "with its columns" out 'u1  urgent  alarm.fire   /house'
equal "urgent first, bulk last, each in order" "u1 n1 n2 b1" "$(ids)"
equal "by type" "n1 n2" "$(ids --type 'door.*')"
equal "by one type" "n2" "$(ids --type door.closed)"
equal "by lane" "b1" "$(ids --lane bulk)"
equal "the young ones" "u1 n1 n2 b1" "$(ids --since 1h)"
equal "since a date" "u1 n1 n2 b1" "$(ids --since 2024-01-01)"
equal "since a leap day" "u1 n1 n2 b1" "$(ids --since 2024-02-29)"
equal "since a time" "" "$(ids --since 2999-01-01T00:00:00+02:00)"
equal "a limit" "u1 n1" "$(ids --limit 2)"
equal "no limit" "u1 n1 n2 b1" "$(ids --limit 0)"

run list app.db --limit 3
has "tells when there is more" err 'more than 3 events'
run list app.db --limit 4
empty "and not when there is not" err
run list app.db --json
equal "each object says where the event stands" "urgent 1 0" \
    "$(head -n 1 out >first && json first lane seq size_bytes | tr '\n' ' ' | sed 's/ $//')"

awk 'BEGIN { for (i = 1; i <= 300; i++)
    printf "{\"specversion\":\"1.0\",\"id\":\"m%d\",\"source\":\"/s\",\"type\":\"t.a\"}\n", i }' >many
run init many.db
run publish many.db --ndjson many
run list many.db
equal "a table has 100 rows by default" 101 "$(grep -c . out)"
has "and says so" err 'more than 100 events'
run list many.db --json
equal "JSON has no limit" 300 "$(json out seq | grep -c .)"
run list many.db --limit 0
equal "a long table has all rows" 301 "$(grep -c . out)"

refuses "no such consumer" 3 'there is no consumer "nobody"' list app.db --consumer nobody
refuses "a state without consumer" 2 '--state needs --consumer' list app.db --state dead
refuses "bad state" 2 '--state is pending, retry, dead, parked or done' list app.db --consumer c --state gone
refuses "bad lane" 2 '--lane is urgent, normal or bulk' list app.db --lane x
refuses "bad limit" 2 '--limit is a number' list app.db --limit -1
refuses "bad pattern" 2 '--type "a..b"' list app.db --type a..b
for since in yesterday 10 10x -5m 2026-13-01 2026-02-29 2026-05-01T25:00:00Z 2026-05-01T12:00:00 ''; do
    refuses "bad time \"$since\"" 2 '--since is a time' list app.db --since "$since"
done
finish
