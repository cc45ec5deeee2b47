#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar status: both forms, and when it is unhealthy (the counters of P8 are those of the relay's test).
. "${0%/*}/lib.sh"
run init app.db

run status app.db --json
exits "an empty database is healthy" 0
equal "one object" 1 "$(grep -c . out)"
equal "the name of the database" app.db "$(json out database)"
equal "its schema" 2 "$(json out schema_version)"
equal "healthy" true "$(json out healthy)"
equal "no consumers" '[]' "$(json out consumers)"
equal "empty lanes" "0 0 0" "$(json out lanes/urgent/head lanes/normal/head lanes/bulk/head | tr '\n' ' ' | sed 's/ $//')"
check "a size" test "$(json out database_bytes)" -gt 0

run publish app.db a
run publish app.db b
run publish app.db c --lane urgent
run status app.db --json
equal "heads" "1 2 0" "$(json out lanes/urgent/head lanes/normal/head lanes/bulk/head | tr '\n' ' ' | sed 's/ $//')"
equal "the oldest ones" "1 1" "$(json out lanes/urgent/first lanes/normal/first | tr '\n' ' ' | sed 's/ $//')"
run status app.db
exits "for people" 0
has "health" out 'health    ok'
has "lanes" out 'normal  2       1      2'

# ---- Counters and health
"$SQL" app.db "INSERT INTO busbar_consumer (id, name, class, pattern, filter, ordering) VALUES
        (1, 'up', 2, '#', 'subject=\"front\"', 1);
    UPDATE busbar_meta SET next_consumer = 2;
    INSERT INTO busbar_cursor (consumer, lane, start, cursor, delivered, dead, dropped, replayed, unmatched) VALUES
        (1, 0, 0, 2, 2, 2, 1, 4, 1), (1, 1, 0, 1, 1, 0, 0, 0, 0), (1, 2, 0, 0, 0, 0, 0, 0, 0);
    INSERT INTO busbar_exception (consumer, lane, state, attempts, reason, seq, kind, session, at_ms)
        SELECT 1, 0, 3, 4, 'no', seq, kind, session, at_ms FROM busbar_log_normal WHERE seq = 1;
    INSERT INTO busbar_exception (consumer, lane, state, attempts, seq, kind, session, at_ms)
        SELECT 1, 0, 4, 0, seq, kind, session, at_ms FROM busbar_log_normal WHERE seq = 2"
run status app.db --json
exits "a dead letter that is kept is unhealthy" 4
equal "what there is of it" 'up subject="front" key 1 1 2 1 4 1 0' \
    "$(json out consumers/0/name consumers/0/filter consumers/0/order consumers/0/retrying consumers/0/parked \
        consumers/0/dead consumers/0/dropped consumers/0/replayed consumers/0/unmatched consumers/0/stuck_ms |
        tr '\n' ' ' | sed 's/ $//')"
equal "the same by lane" "1 1 4 1" \
    "$(json out consumers/0/lanes/normal/parked consumers/0/lanes/normal/dropped consumers/0/lanes/normal/replayed \
        consumers/0/lanes/normal/unmatched | tr '\n' ' ' | sed 's/ $//')"
equal "nothing is scheduled" 0 "$(json out scheduled)"
run status app.db
has "the filter, for people" out 'up: only events with subject="front"'
has "the order" out 'up: order key'
run drop app.db --consumer up --yes
run status app.db
exits "what was dropped needs nobody any more" 0
run publish app.db a
"$SQL" app.db "INSERT INTO busbar_later (lane, due_boot, due_ms, delay_ms, kind, session, at_ms, id)
    SELECT 0, 0, 4102444800000, 0, kind, session, at_ms, 'later' FROM busbar_log_normal WHERE seq = 3"
run status app.db
has "what is not due yet" out 'scheduled 1 not due yet'
run status app.db --json
equal "as JSON" 1 "$(json out scheduled)"
finish
