#!/bin/sh
# SPDX-License-Identifier: MIT
# Where output goes: full devices, early readers, other databases than live ones, and texts that would steer a terminal.
. "${0%/*}/lib.sh"
run init app.db
run publish app.db t.a --id x --data "$(printf '{"a":"\302\233 \342\200\256 \177"}')"

if [ -c /dev/full ]; then
    for words in "list app.db" "status app.db --json" "show app.db x" "tail app.db" "--help"; do
        status=0
        "$BUSBAR" $words >/dev/full 2>err || status=$?
        exits "$words: results that cannot be written are a failure" 1
        has "$words: with its reason" err 'cannot write the results to standard output: No space left'
    done
fi

awk 'BEGIN { for (i = 1; i <= 20000; i++)
    printf "{\"specversion\":\"1.0\",\"id\":\"m%d\",\"source\":\"/s\",\"type\":\"t.a\"}\n", i }' >many
run init many.db
run publish many.db --ndjson many
for form in "--limit 0" --json; do
    { status=0; "$BUSBAR" list many.db $form 2>err || status=$?; echo "$status" >code; } | head -n 1 >/dev/null
    equal "list $form: a reader that goes away early is none" 0 "$(cat code)"
    empty "list $form: and no reason to talk" err
done

run list app.db
lacks "no colour in a file" out "$(printf '\033')"
run nonsense
lacks "no colour in a file of talk" err "$(printf '\033')"

# With a terminal, if there is a program that gives us one.
if command -v script >/dev/null 2>&1 && script -qec true /dev/null >/dev/null 2>&1; then
    script -qec "'$BUSBAR' list app.db" /dev/null >terminal
    has "colour on a terminal" terminal "$(printf '\033[1m')"
    NO_COLOR=1 script -qec "'$BUSBAR' list app.db" /dev/null >terminal
    lacks "but not with NO_COLOR" terminal "$(printf '\033')"
    script -qec "'$BUSBAR' show app.db x --json" /dev/null >terminal
    has "steering characters in data are escaped on a terminal" terminal '\u009b \u202e \u007f'
    script -qec "'$BUSBAR' publish many.db --ndjson many" /dev/null >terminal
    has "progress on a terminal" terminal 'lines read'
fi
run show app.db x --json
has "and are left as they are elsewhere" out "$(printf '\302\233 \342\200\256 \177')"
run publish many.db --ndjson many
lacks "no progress in a file" err 'lines read'

# What another program wrote into the tables need not be what Busbar would have taken.
"$SQL" app.db "UPDATE busbar_kind SET type = 'a' || char(27) || '[31m' || char(10) || 'b'"
run list app.db
has "control characters from the database are shown harmless" out 'a\x1b[31m\x0ab'
equal "and break no line" 2 "$(grep -c . out)"

# A live database, a copied one, and one on read-only media: what is in the WAL is seen in each.
run init live.db
mkfifo keep
"$SQL" live.db 'SELECT count(*) FROM sqlite_schema' hold <keep >held &
started="$started $!"
exec 3>keep
wait_until 10 file_has held held
run publish live.db t.a --id in-the-wal
wal_size=$(wc -c <live.db-wal)
check "the WAL of the live one holds the event" test "$wal_size" -gt 0
for words in "list live.db" "show live.db in-the-wal" "tail live.db" "status live.db"; do
    run $words
    exits "$words: reads a live database" 0
done
equal "reading did not grow its WAL" "$wal_size" "$(wc -c <live.db-wal)"
mkdir copy locked
cp live.db live.db-wal copy/
cp live.db live.db-wal locked/
run list copy/live.db --json
equal "a copy of database and WAL" in-the-wal "$(json out event/id)"
chmod 555 locked
chmod 444 locked/live.db locked/live.db-wal
run list locked/live.db --json
equal "a copy that cannot be written" in-the-wal "$(json out event/id)"
if [ "$(id -u)" -ne 0 ]; then # to root, every directory can be written
    check "and was not" test ! -e locked/live.db-shm
    refuses "publish cannot write it" 1 'locked/live.db: ' publish locked/live.db a
fi
chmod 755 locked
exec 3>&-
finish
