#!/bin/sh
# SPDX-License-Identifier: MIT
# docs/outcomes.md says of each MQTT code what the table in port/mosquitto/reason.c does.
. "${0%/*}/lib.sh"
tree=$1

# "0x80 unspecified error|failed" a line, from the table and from the page.
sed -n 's/^    {\(0x..\), BB_MOSQUITTO_\([A-Z]*\), "\([^"]*\)".*/\1 \3|\2/p' "$tree/port/mosquitto/reason.c" |
    sed 's/|RETRY$/|failed/; s/|DEAD$/|can never succeed/; s/|RECONNECT$/|the connection is unusable: link not there/
        s/^0x00 \(.*\)|ACKED$/0x00 \1|done/; s/|ACKED$/|by the route'"'"'s policy/' >"$work/table"
sed -n "s/^| \(0x..\) | \([^|]*\) | \([^|]*\) |.*/\1 \2|\3/p" "$tree/docs/outcomes.md" >"$work/page"

diff "$work/table" "$work/page" | sed -n 's/^< /only in reason.c: /p; s/^> /only in outcomes.md: /p' |
    verdict "the page of outcomes is the table in the code"
[ "$(wc -l <"$work/table")" -ge 37 ] || echo "only $(wc -l <"$work/table") codes were found" |
    verdict "the table was read"
finish
