#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar status: both forms, and when it is unhealthy (the counters of P8 are those of the relay's test).
. "${0%/*}/lib.sh"
run init app.db

run status app.db --json
exits "an empty database is healthy" 0
equal "one object" 1 "$(grep -c . out)"
equal "the name of the database" app.db "$(json out database)"
equal "its schema" 1 "$(json out schema_version)"
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
finish
