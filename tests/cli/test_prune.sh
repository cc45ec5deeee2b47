#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar prune and busbar forget (P9): what is finished goes, what somebody needs stays.
. "${0%/*}/lib.sh"
run init app.db
for n in 1 2 3 4 5 6; do run publish app.db a.b; done

run prune app.db --keep 4
exits "nobody needs them" 0
equal "so many" "2 events pruned" "$(cat out)"
run prune app.db --older-than 1h --vacuum
exits "none is so old" 0
equal "none" "0 events pruned" "$(head -n 1 out)"
has "what the file has" out 'KiB before'
run prune app.db --older-than soon
exits "a duration is needed" 2
run prune app.db --keep many
exits "a number is needed" 2
run prune missing.db
exits "no database" 3

"$SQL" app.db "INSERT INTO busbar_consumer (id, name, class, pattern) VALUES (7, 'stray', 2, '#');
INSERT INTO busbar_cursor (consumer, lane, start, cursor) VALUES (7, 0, 0, 3), (7, 1, 0, 0), (7, 2, 0, 0)"
run prune app.db
equal "the stray one holds the rest" "1 event pruned" "$(cat out)"
has "it is named" err 'stray still needs 3 events, and no worker runs it'
run forget app.db stray
exits "not without being sure" 2
check "what it would lose" grep -q '3 events' err
run forget app.db nobody
exits "unknown" 3
run forget app.db nobody --yes
exits "unknown, for certain" 3
run forget app.db stray --yes
exits "forgotten" 0
equal "said so" "stray: forgotten" "$(cat out)"
run prune app.db
equal "the newest stays" "2 events pruned" "$(cat out)"

# ---- The file gets smaller on request only
size() { # of the file, after a checkpoint: the last one to close it makes one
    wc -c <"$1" | tr -d ' '
}
for mode in NONE INCREMENTAL; do
    rm -f big.db*
    "$SQL" big.db "PRAGMA auto_vacuum=$mode; PRAGMA journal_mode=WAL; CREATE TABLE mine (a)" >/dev/null
    run init big.db
    line=1
    while [ "$line" -le 3000 ]; do
        echo "{\"specversion\":\"1.0\",\"id\":\"i$line\",\"source\":\"/x\",\"type\":\"a.b\",\"data\":\"$mode $mode $mode\"}"
        line=$((line + 1))
    done | "$BUSBAR" publish big.db --ndjson 2>err
    before=$(size big.db)
    run prune big.db
    equal "$mode: all but the newest" "2999 events pruned" "$(cat out)"
    equal "$mode: the file stays as it is" "$before" "$(size big.db)"
    run prune big.db --vacuum
    exits "$mode: shrunk" 0
    check "$mode: it is smaller" test "$(size big.db)" -lt $((before * 3 / 4))
    run check big.db
    exits "$mode: and sound" 0
done
finish
