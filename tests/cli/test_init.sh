#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar init, and what every verb says about a database that is none.
. "${0%/*}/lib.sh"

run init app.db
exits "init makes a database" 0
equal "and says so" "app.db: created, schema 2" "$(cat out)"
empty "without talk" err
check "only its owner can read it" test -n "$(find app.db -perm 600)"
equal "it has a write-ahead log" wal "$("$SQL" app.db 'PRAGMA journal_mode')"
run init app.db
exits "init again is no mistake" 0
equal "and says that nothing was to do" "app.db: up to date, schema 2" "$(cat out)"

"$SQL" own.db 'CREATE TABLE state (n); INSERT INTO state VALUES (7)'
for verb in status list tail; do
    refuses "$verb: a database without Busbar's tables" 1 'not a Busbar database; `busbar init`' "$verb" own.db
done
refuses "show: a database without Busbar's tables" 1 'not a Busbar database' show own.db x
refuses "publish: a database without Busbar's tables" 1 'not a Busbar database' publish own.db x
refuses "relay: a database without Busbar's tables" 1 'not a Busbar database' relay own.db --url mqtt://h --topic t
equal "none of them made tables" 1 "$("$SQL" own.db 'SELECT count(*) FROM sqlite_schema')"
run init own.db
exits "init adds the tables to it" 0
equal "what was in it stays" 7 "$("$SQL" own.db 'SELECT n FROM state')"
equal "and its journal mode too" delete "$("$SQL" own.db 'PRAGMA journal_mode')"

for verb in status list tail; do
    refuses "$verb: no such file" 3 'no.db: no such file; `busbar init`' "$verb" no.db
done
refuses "show: no such file" 3 'no.db: no such file' show no.db x
refuses "publish: no such file" 3 'no.db: no such file; `busbar init`' publish no.db x
refuses "relay: no such file" 3 'no.db: no such file' relay no.db --url mqtt://h --topic t
check "none of them made it" test ! -e no.db
refuses "init: no such directory" 3 'its directory does not exist' init nowhere/app.db
refuses "a directory" 1 'is a directory' status .
refuses "init: a directory" 1 'is a directory' init .

echo 'this is a text, and long enough to have a place for a header, which it has not' >text
for verb in init status; do
    refuses "$verb: a file that is no database" 1 'text: is not an SQLite database' "$verb" text
done
equal "which stays as it is" 'this is a text' "$(cut -c1-14 text)"

"$SQL" app.db 'UPDATE busbar_meta SET schema_version = 99'
for verb in init status list tail; do
    refuses "$verb: tables of a newer Busbar" 1 'newer Busbar' "$verb" app.db
done
refuses "publish: tables of a newer Busbar" 1 'newer Busbar' publish app.db x
"$SQL" app.db 'UPDATE busbar_meta SET schema_version = 2'

mkfifo keep
"$SQL" app.db 'BEGIN IMMEDIATE' hold <keep >held &
started="$started $!"
exec 3>keep
wait_until 10 file_has held held
refuses "publish: locked by another process" 1 'app.db: is locked by another process; try again' publish app.db x
run status app.db
exits "status does not mind a writer" 0
exec 3>&-
finish
