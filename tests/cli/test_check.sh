#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar check: what it finds, what it says, and that it writes nothing.
. "${0%/*}/lib.sh"
run init app.db
run publish app.db a
run publish app.db b --id mine --source /x
"$SQL" app.db "INSERT INTO busbar_consumer (id, name, class, pattern) VALUES (1, 'up', 2, '#');
    UPDATE busbar_meta SET next_consumer = 2;
    INSERT INTO busbar_cursor (consumer, lane, start, cursor, delivered) VALUES (1, 0, 0, 2, 2), (1, 1, 0, 0, 0),
        (1, 2, 0, 0, 0)"

run check app.db
exits "a sound database" 0
has "says so" out 'app.db: nothing found'
empty "and nothing else" err
run check app.db --json
equal "as JSON" 'true []' "$(json out sound findings | tr '\n' ' ' | sed 's/ $//')"

before=$(cksum <app.db)
"$SQL" app.db "PRAGMA wal_checkpoint(TRUNCATE)" >/dev/null
before=$(cksum <app.db)
cp app.db copy.db
chmod 444 copy.db
run check copy.db
exits "a copy that nobody may write" 0
equal "is as it was" "$before" "$(cksum <copy.db)"
run check app.db
equal "the database is as it was, too" "$before" "$(cksum <app.db)"

# ---- P8: the equation
"$SQL" app.db "UPDATE busbar_cursor SET delivered = 3 WHERE lane = 0"
run check app.db
exits "a finding is unhealthy" 4
has "with its consumer and figures" out 'consumer  consumer up, lane normal: 2 events passed, but 3 outcomes are counted'
has "and what to do" out '-> events were lost or counted twice'
run check app.db --json
equal "as JSON" 'false consumer' "$(json out sound findings/0/part | tr '\n' ' ' | sed 's/ $//')"
check "with what to do" test -n "$(json out findings/0/advice)"
"$SQL" app.db "UPDATE busbar_cursor SET delivered = 2 WHERE lane = 0"

# ---- Damage
"$SQL" app.db "PRAGMA wal_checkpoint(TRUNCATE)" >/dev/null
cp app.db tables.db
"$SQL" tables.db "DROP TABLE busbar_given"
run check tables.db
exits "a missing table" 4
has "is named" out 'busbar_given'
root=$("$SQL" app.db "SELECT rootpage FROM sqlite_schema WHERE name = 'busbar_consumer'")
size=$("$SQL" app.db "PRAGMA page_size")
cp app.db pages.db
yes | dd of=pages.db bs="$size" seek=$((root - 1)) count=1 conv=notrunc iflag=fullblock 2>/dev/null
run check pages.db
exits "a damaged page" 4
has "is of the file" out 'file      '
has "and there is something to do" out '-> restore a backup'
cp app.db header.db
yes | dd of=header.db bs=100 count=1 conv=notrunc iflag=fullblock 2>/dev/null
run check header.db
exits "a file that is no database any more" 4
run check header.db --json
equal "as JSON" 'false file' "$(json out sound findings/0/part | tr '\n' ' ' | sed 's/ $//')"

# ---- Not to be examined
refuses "no file" 3 'no such file' check nothing.db
"$SQL" plain.db "CREATE TABLE t (x)"
refuses "a database without Busbar's tables" 1 'is not a Busbar database' check plain.db
refuses "no name" 2 'needs the name of a database' check
finish
