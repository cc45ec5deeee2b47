#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar show: one event in both forms.
. "${0%/*}/lib.sh"
run init app.db
run publish app.db door.opened --id x --source /one --data '{"a":[1,{"b":"}{"},[],{}],"n":1.0}'
run publish app.db door.opened --id x --source /two

run show app.db x --json
exits "an id that two sources gave" 0
equal "finds both" "/one /two" "$(json out event/source | tr '\n' ' ' | sed 's/ $//')"
equal "with no consumers so far" "[] []" "$(json out consumers | tr '\n' ' ' | sed 's/ $//')"

run show app.db x
exits "for people" 0
has "says where it stands" out 'normal lane, position 1, published 20'
has "lays the JSON out" out '  "data": {'
has "values stay as they were" out '"n": 1.0'
has "strings too" out '"b": "}{"'
has "empty ones stay together" out '[],'

refuses "no such event" 3 'there is no event with the id "nope"' show app.db nope
refuses "no such event as JSON" 3 'there is no event with the id "nope"' show app.db nope --json
refuses "a hostile id is shown harmless" 3 'the id "\x1b[2J"' show app.db "$(printf '\033[2J')"
finish
