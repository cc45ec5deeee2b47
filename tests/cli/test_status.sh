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

equal "nothing is noted of the clock" unknown "$(json out clock/quality)"
run publish app.db a
run publish app.db b
run publish app.db c --lane urgent
run status app.db --json
equal "heads" "1 2 0" "$(json out lanes/urgent/head lanes/normal/head lanes/bulk/head | tr '\n' ' ' | sed 's/ $//')"
equal "the oldest ones" "1 1" "$(json out lanes/urgent/first lanes/normal/first | tr '\n' ' ' | sed 's/ $//')"
case $(json out clock/quality) in
trusted | estimated) said=yes ;;
*) said=no ;;
esac
equal "the clock" yes "$said"
check "its last fix" test "$(json out clock/fix_ms)" -ge 0
run status app.db
exits "for people" 0
has "health" out 'health    ok'
has "how well the time is known" out 'clock     '
has "and since when" out ', by a fix noted '
has "lanes" out 'normal  2       1      2'

# ---- Health, by its rules
verdict() { # the exit code, the verdict and the rules that are broken
    run status app.db --json "$@"
    echo "$status $(json out health) $(json out reasons | grep -o '"rule":"[a-z]*"' | cut -d'"' -f4 | tr '\n' ' ')"
}
"$SQL" app.db "INSERT INTO busbar_consumer (id, name, class, pattern) VALUES (90, 'waiting', 2, '#');
    UPDATE busbar_meta SET next_consumer = 91;
    INSERT INTO busbar_cursor (consumer, lane, start, cursor) VALUES (90, 0, 0, 0), (90, 1, 0, 0), (90, 2, 0, 0)"
equal "what waits is healthy" "0 ok " "$(verdict)"
equal "so much may wait" "0 ok " "$(verdict --max-pending 1000 --max-age 1h --max-file 1000000000 --max-wal 1000000000)"
run status app.db
has "a consumer that never runs is named (P9)" out \
    'waiting: no worker runs it, or has ever finished an event, and keeps 3 events from being deleted'
has "and what ends that" out '`busbar forget app.db waiting` gives it up'
run status app.db --json
equal "as JSON" "true false" "$(json out consumers/0/never_finished consumers/0/worked | tr '\n' ' ' | sed 's/ $//')"
equal "more than may wait" "4 unhealthy pending " "$(verdict --max-pending 2)"
run status app.db --max-pending 2
exits "for people" 4
has "the verdict" out 'health    unhealthy'
has "and why" out 'waiting: 3 events wait; the limit is 2'
equal "two reasons" "4 unhealthy file unworked " "$(sleep 0.01; verdict --max-file=1 --max-unworked 1ms)"
"$SQL" app.db "UPDATE busbar_consumer SET last_error = 'no route to host', offline = 1, offline_boot = (SELECT max(id) FROM busbar_boot), offline_ms = 1 WHERE id = 90"
equal "being offline is healthy (P6)" "0 ok " "$(verdict)"
equal "unless a rule says else" "4 unhealthy offline " "$(verdict --max-offline 1s)"
equal "it is told" true "$(json out consumers/0/offline)"
"$SQL" app.db "UPDATE busbar_consumer SET last_error = 'not allowed', offline = 0, failed_boot = offline_boot, failed_ms = 1 WHERE id = 90"
equal "events that fail" "4 unhealthy failing " "$(verdict --max-failing 1s)"
equal "for a short time" "0 degraded failing " "$(verdict --max-failing 100w)"
"$SQL" app.db "UPDATE busbar_consumer SET last_error = NULL, failed_ms = 0, offline_ms = 0 WHERE id = 90;
    UPDATE busbar_cursor SET dead = 1 WHERE consumer = 90 AND lane = 0"
equal "a dead letter" "4 unhealthy dead " "$(verdict)"
equal "that is allowed" "0 ok " "$(verdict --max-dead 1)"
"$SQL" app.db "INSERT INTO busbar_gap (consumer, lane, reason, first, last, count) VALUES
        (90, 0, 2, 1, 1, 1), (90, 1, 1, 4, 30, 20)"
run status app.db
has "what it missed (P8)" out 'waiting: missed 21 events, in 2 gaps, which the receiver is still to be told'
run status app.db --json
equal "as JSON" "2 21" "$(json out consumers/0/gaps consumers/0/gap_events | tr '\n' ' ' | sed 's/ $//')"
equal "a size with a unit" "0 ok " "$(verdict --max-dead 1 --max-file 1M)"
equal "that is exceeded" "4 unhealthy file " "$(verdict --max-dead 1 --max-file 1K)"
refuses "not a size" 2 '--max-wal "1T" is not a size' status app.db --max-wal 1T
refuses "not a number" 2 '--max-pending "x" is not a number' status app.db --max-pending x
refuses "not a duration" 2 '--max-age "0s" is not a duration' status app.db --max-age 0s
"$SQL" app.db "DELETE FROM busbar_gap; DELETE FROM busbar_cursor WHERE consumer = 90; DELETE FROM busbar_consumer WHERE id = 90"

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
