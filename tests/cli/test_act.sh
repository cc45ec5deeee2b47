#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar retry, drop and replay: what is chosen, the question, the counters, and what is refused.
. "${0%/*}/lib.sh"

# A database with the consumer `up`, which has done with six events: two delivered, three dead, and one that waits.
prepare() { # FILE
    rm -f "$1" "$1-wal" "$1-shm"
    run init "$1"
    for id in done1 done2; do run publish "$1" a.done --id $id --source /s; done
    for id in dead1 dead2; do run publish "$1" a.dead --id $id --source /s; done
    run publish "$1" b.dead --id dead3 --source /s
    run publish "$1" a.wait --id wait1 --source /s
    "$SQL" "$1" "INSERT INTO busbar_consumer (id, name, class, pattern) VALUES (1, 'up', 2, '#');
        UPDATE busbar_meta SET next_consumer = 2;
        INSERT INTO busbar_cursor (consumer, lane, start, cursor, delivered, dead) VALUES
            (1, 0, 0, 6, 2, 3), (1, 1, 0, 0, 0, 0), (1, 2, 0, 0, 0, 0);
        INSERT INTO busbar_exception (consumer, lane, state, attempts, reason, seq, kind, session, at_ms, id, data)
            SELECT 1, 0, CASE seq WHEN 6 THEN 2 ELSE 3 END, 4, 'no', seq, kind, session, at_ms, id, data
            FROM busbar_log_normal WHERE seq > 2" >/dev/null
}

counters() { # FILE: delivered dead retrying dropped replayed, and whether the equation holds
    "$SQL" "$1" "SELECT delivered || ' ' || dead || ' ' || retrying || ' ' || dropped || ' ' || replayed || ' ' ||
        CASE WHEN (SELECT max(seq) FROM busbar_log_normal) - start + replayed = filtered + delivered + dead + expired
            + evicted + retrying + ((SELECT max(seq) FROM busbar_log_normal) - cursor)
            THEN 'balanced' ELSE 'unbalanced' END FROM busbar_progress WHERE lane = 'normal'"
}

prepare app.db
equal "as prepared" "2 3 1 0 0 balanced" "$(counters app.db)"

# ---- What is refused, and that it changes nothing
for verb in retry drop; do
    refuses "$verb: nothing chosen" 2 'nothing is chosen' $verb app.db --yes
    refuses "$verb: a limit is no choice" 2 'nothing is chosen' $verb app.db --limit 5 --yes
    refuses "$verb: all and a choice" 2 '--all does not go with a choice' $verb app.db --all --type a.dead --yes
    refuses "$verb: no terminal, no --yes" 2 'give --yes if it is meant' $verb app.db --consumer up
    refuses "$verb: no such consumer" 3 'there is no consumer "nobody"' $verb app.db --consumer nobody --yes
    refuses "$verb: a bad pattern" 2 '--type "a..b"' $verb app.db --type a..b --yes
    refuses "$verb: a bad age" 2 '--older-than is a duration' $verb app.db --older-than yesterday --yes
    refuses "$verb: a bad age" 2 '--newer-than is a duration' $verb app.db --newer-than 5 --yes
    refuses "$verb: a bad time" 2 '--since is a time' $verb app.db --since 2026-13-01 --yes
    refuses "$verb: two beginnings" 2 'give one of them' $verb app.db --since 1h --newer-than 1h --yes
    refuses "$verb: a limit of none" 2 '--limit is a number from 1 on' $verb app.db --consumer up --limit 0 --yes
    refuses "$verb: no such event" 3 'with the id "nope"' $verb app.db nope --yes
    refuses "$verb: none of the type" 3 'that was chosen' $verb app.db --type nope --yes
    refuses "$verb: none so old" 3 'that was chosen' $verb app.db --older-than 1d --yes
    refuses "$verb: no database" 3 'no such file' $verb nothere.db --all --yes
done
refuses "replay: of whom" 2 'replay needs --consumer' replay app.db --all --yes
refuses "replay: no such consumer" 3 'there is no consumer "nobody"' replay app.db --consumer nobody --yes
refuses "a hostile id is shown harmless" 3 'the id "\x1b[2J"' drop app.db "$(printf '\033[2J')" --yes
equal "nothing changed" "2 3 1 0 0 balanced" "$(counters app.db)"

# ---- Dry runs
run drop app.db --all --dry-run
exits "a dry run" 0
equal "says how many" "4 failed or waiting events would be dropped" "$(cat out)"
run retry app.db dead1 --dry-run --json
equal "as JSON" "retry 1 true" "$(json out action count dry_run | tr '\n' ' ' | sed 's/ $//')"
equal "changes nothing" "2 3 1 0 0 balanced" "$(counters app.db)"

# ---- Retry
run retry app.db dead1 --yes
exits "retry by id" 0
equal "says so" "1 failed event retried" "$(cat out)"
equal "is not dead any more" "2 2 2 0 0 balanced" "$(counters app.db)"
run list app.db --consumer up --state retry --json
equal "its attempts count anew" "0 4" "$(json out attempts | tr '\n' ' ' | sed 's/ $//')"
run retry app.db --consumer up --type 'b.*' --newer-than 1h --yes --json
equal "retry by consumer, type and age" 1 "$(json out count)"
run retry app.db dead2 nope --yes
exits "of several ids one is not there" 3
has "it is named" err 'with the id "nope"'
equal "the other is done" "2 0 4 0 0 balanced" "$(counters app.db)"

# ---- Drop
prepare app.db
run drop app.db --consumer up --limit 2 --yes
exits "drop two" 0
equal "the oldest two" "dead3 wait1" "$("$SQL" app.db "SELECT group_concat(id, ' ') FROM busbar_exception")"
equal "are counted" "2 3 1 2 0 balanced" "$(counters app.db)"
run drop app.db wait1 --yes
equal "one that waits is given up" "2 4 0 3 0 balanced" "$(counters app.db)"
run drop app.db --all --yes
equal "the rest" "2 4 0 4 0 balanced" "$(counters app.db)"
refuses "nothing is left" 3 'there is no failed or waiting event' drop app.db --all --yes

# ---- Replay
prepare app.db
run replay app.db --consumer up --type 'a.#' --yes
exits "replay" 0
empty "and nothing to be said" err
equal "what was delivered, and the dead" "4 past events put to be delivered again" "$(cat out)"
equal "is counted" "2 1 5 0 2 balanced" "$(counters app.db)"
"$SQL" app.db "UPDATE busbar_consumer SET filter = 'subject=\"x\"'"
run replay app.db --consumer up --dry-run
has "a filter is told of" err 'up has a filter, which is not asked here: subject="x"'
refuses "it waits already" 3 'there is no past event' replay app.db done1 --consumer up --yes

# ---- The bound on what may wait
run init many.db
awk 'BEGIN { for (i = 1; i <= 1010; i++)
    printf "{\"specversion\":\"1.0\",\"id\":\"m%d\",\"source\":\"/s\",\"type\":\"t.a\"}\n", i }' >many
run publish many.db --ndjson many
"$SQL" many.db "INSERT INTO busbar_consumer (id, name, class, pattern) VALUES (1, 'up', 2, '#');
    UPDATE busbar_meta SET next_consumer = 2;
    INSERT INTO busbar_cursor (consumer, lane, start, cursor, delivered) VALUES
        (1, 0, 0, 1010, 1010), (1, 1, 0, 0, 0), (1, 2, 0, 0, 0)" >/dev/null
run replay many.db --consumer up --since 1h --yes
exits "more than may wait" 1
equal "as many as fit" "1,000 past events put to be delivered again" "$(cat out)"
has "and what to do" err 'go on when some are through'
equal "balanced" "1010 0 1000 0 1000 balanced" "$(counters many.db)"

# ---- The question
if command -v script >/dev/null 2>&1; then
    prepare app.db
    # shellcheck disable=SC2034 # exits looks at the status
    asked() { # ANSWER ARGUMENT...: runs busbar on a terminal and answers
        answer=$1
        shift
        status=0
        printf '%s\n' "$answer" | script -qec "'$BUSBAR' $*" /dev/null >out 2>&1 || status=$?
    }
    asked n retry app.db --consumer up
    exits "no" 1
    has "it asks" out 'app.db: 4 failed events of consumer up: retry? [y/N]'
    has "and obeys" out 'nothing was done'
    asked '' drop app.db --all
    exits "an empty answer is no" 1
    equal "nothing changed" "2 3 1 0 0 balanced" "$(counters app.db)"
    asked y drop app.db --consumer up
    exits "yes" 0
    equal "is done" "2 4 0 4 0 balanced" "$(counters app.db)"
else
    echo "ok - the question # SKIP there is no script(1) to make a terminal"
fi
finish
