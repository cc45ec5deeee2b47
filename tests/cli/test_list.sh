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

# ---- What is not due yet
"$SQL" app.db "INSERT INTO busbar_later (lane, due_boot, due_ms, delay_ms, kind, session, at_ms, id)
    SELECT lane, 0, 4102444800000, 0, kind, session, at_ms, 'later' || lane FROM busbar_log_normal, (SELECT 0 AS lane
    UNION SELECT 1) WHERE seq = 1 ORDER BY lane"
equal "scheduled events" "later0 later1" "$(ids --state scheduled)"
equal "of a lane" "later1" "$(ids --state scheduled --lane urgent)"
equal "of a type" "" "$(ids --state scheduled --type 'x.#')"
equal "are in no lane yet" "u1 n1 n2 b1" "$(ids)"
run show app.db later1
has "one of them" out 'urgent lane, not due yet'
run drop app.db --type 'door.#' --yes
equal "dropping gives them up" "" "$(ids --state scheduled)"
equal "and leaves the log alone" "u1 n1 n2 b1" "$(ids)"
refuses "show has forgotten it" 3 'no event with the id "later1"' show app.db later1

# ---- How a consumer stands to events, with the times of the first and the last failure
"$SQL" app.db "INSERT INTO busbar_consumer (id, name, class, pattern) VALUES (1, 'up', 2, '#');
    UPDATE busbar_meta SET next_consumer = 2;
    INSERT INTO busbar_cursor (consumer, lane, start, cursor, dead) VALUES (1, 0, 0, 2, 1), (1, 1, 0, 0, 0), (1, 2, 0, 0, 0);
    INSERT INTO busbar_boot (id, boot) VALUES (900, 'another');
    INSERT INTO busbar_clock (boot, mono_ms, wall_ms, quality) VALUES (900, 1000, 1770000000000, 2);
    INSERT INTO busbar_exception (consumer, lane, state, attempts, reason, seq, kind, session, at_ms, id,
            first_boot, first_ms, last_boot, last_ms)
        SELECT 1, 0, 3, 4, 'no', seq, kind, session, at_ms, id, 900, 1500, 901, 9 FROM busbar_log_normal WHERE seq = 1;
    INSERT INTO busbar_exception (consumer, lane, state, attempts, seq, kind, session, at_ms, id)
        SELECT 1, 0, 4, 0, seq, kind, session, at_ms, id FROM busbar_log_normal WHERE seq = 2"
run list app.db --consumer up --state dead --json
equal "a dead letter: when it failed first and last" "dead 4 no 1770000000500 null" \
    "$(json out state attempts reason first_ms last_ms | tr '\n' ' ' | sed 's/ $//')"
equal "a parked one" n2 "$(ids --consumer up --state parked)"
run list app.db --consumer up
has "a column for it" out 'LAST FAILURE'
run show app.db n1 --json
equal "show has it too" 1770000000500 "$(json out consumers/0/first_ms)"

# ---- Redacted data
run init secret.db
run publish secret.db card.used --id c1 --source /s --data '{"pin":1234}' --redact
exits "publish --redact" 0
run publish secret.db card.used --id c2 --source /s --data '{"pin":5678}'
run publish secret.db card.seen --id c3 --source /s --data '{"pin":"open"}'
run list secret.db --json
lacks "list hides data of the kind" out 1234
lacks "also of those that come later, without asking" out 5678
has "and of no other" out open
equal "says which" "true true false" "$(json out redacted | tr '\n' ' ' | sed 's/ $//')"
equal "and how much" "12 12 14" "$(json out size_bytes | tr '\n' ' ' | sed 's/ $//')"
run list secret.db --json --reveal
has "list --reveal" out 1234
run list secret.db
has "a table says it" out '12 B, redacted'
run show secret.db c1
lacks "show hides it" out 1234
has "and says so" out 'data: 12 B, redacted; --reveal shows it'
run show secret.db c1 --json
equal "as JSON" true "$(json out redacted)"
lacks "which has none either" out 1234
run show secret.db c1 --reveal
has "show --reveal" out 1234
run tail secret.db --json
lacks "tail leaves the event out" out c1
has "and says so" err 'the data of the event c1 are redacted; it is left out'
has "others are printed" out open
run tail secret.db --json --reveal
has "tail --reveal" out 1234
run tail secret.db
lacks "without --json it shows no data" out 1234
refuses "publish --ndjson redacts nothing" 2 '--redact does not go with --ndjson' publish secret.db --ndjson --redact

refuses "no such consumer" 3 'there is no consumer "nobody"' list app.db --consumer nobody
refuses "a state without consumer" 2 '--state needs --consumer' list app.db --state dead
refuses "bad state" 2 '--state is pending, retry, dead, parked, done or scheduled' list app.db --consumer c --state gone
refuses "scheduled for a consumer" 2 'does not go with --consumer' list app.db --consumer c --state scheduled
refuses "bad lane" 2 '--lane is urgent, normal or bulk' list app.db --lane x
refuses "bad limit" 2 '--limit is a number' list app.db --limit -1
refuses "bad pattern" 2 '--type "a..b"' list app.db --type a..b
for since in yesterday 10 10x -5m 2026-13-01 2026-02-29 2026-05-01T25:00:00Z 2026-05-01T12:00:00 ''; do
    refuses "bad time \"$since\"" 2 '--since is a time' list app.db --since "$since"
done
finish
