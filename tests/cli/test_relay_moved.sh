#!/bin/sh
# SPDX-License-Identifier: MIT
# A relay whose database is removed, or replaced, ends and says why (P12): what it wrote would be lost with the file.
. "${0%/*}/lib.sh"

relay_begin() { # starts one that never reaches a broker
    "$BUSBAR" relay app.db --url mqtt://127.0.0.1:1 --topic t --stats >relay.out 2>relay.err &
    relay=$!
    started="$started $relay"
    wait_until 10 file_has relay.err 'cannot connect' || fail "it runs" "$(cat relay.err)"
}

run init app.db
relay_begin
mv app.db elsewhere.db
ends "the file is gone" "$relay" 1
has "it says so" relay.err 'app.db: was removed or replaced by another file while it was in use'

mv elsewhere.db app.db
rm -f app.db-wal app.db-shm
relay_begin
cp app.db copy.db
mv copy.db app.db
ends "another file in its place" "$relay" 1
has "it says so too" relay.err 'app.db: was removed or replaced by another file while it was in use'
lacks "and nothing else" relay.err 'works again'
run check app.db
exits "that one is sound" 0
relay_begin
kill "$relay"
ends "stopped in order" "$relay" 0
has "it says what it wrote" relay.out 'bytes in '
finish
