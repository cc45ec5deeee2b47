#!/bin/sh
# SPDX-License-Identifier: MIT
# How the program is called: help, version, and words that it does not know.
. "${0%/*}/lib.sh"

for words in --help -h help; do
    run $words
    exits "$words ends with 0" 0
    has "$words lists the verbs" out 'publish   store an event'
    has "$words tells the exit codes" out '4 unhealthy'
    empty "$words says nothing on stderr" err
done

run --version
exits "--version ends with 0" 0
equal "--version prints one line" 1 "$(grep -c '^busbar [0-9]*\.[0-9]*\.[0-9]* (schema [0-9]*)$' out)"

for verb in init publish list show tail status relay; do
    run "$verb" --help
    exits "$verb --help ends with 0" 0
    has "$verb --help shows the usage" out "usage: busbar $verb DATABASE"
    cp out help
    run help "$verb"
    check "help $verb is the same" cmp out help
    run "$verb" no.db -h
    check "$verb -h is the same, and looks at no database" cmp out help
    refuses "$verb without a database is a mistake of usage" 2 "$verb needs the name of a database" "$verb"
done
for words in "init @" "publish @ a" "publish @ --ndjson" "list @" "show @ a" "tail @" "status @" \
    "relay @ --url mqtt://h --topic t"; do
    set --
    for word in $words; do
        [ "$word" != @ ] || word=
        set -- "$@" "$word"
    done
    refuses "$words: an empty name is one" 2 'the name of the database is empty' "$@"
done

refuses "no verb" 2 'no verb'
refuses "unknown verb" 2 'unknown verb "frobnicate"' frobnicate x
refuses "unknown verb with a near one" 2 'did you mean "status"?' stats x
refuses "unknown verb with two letters swapped" 2 'did you mean "list"?' lsit x
refuses "unknown option instead of a verb" 2 'did you mean "--version"?' --verson
refuses "unknown option with a near one" 2 'unknown option --jsn; did you mean --json?' status no.db --jsn
refuses "unknown option before the database" 2 'did you mean --json?' status --jsn no.db
refuses "the beginning of a long option" 2 'did you mean --password-file?' relay no.db --password x
refuses "unknown option that is near nothing" 2 'unknown option --zzzzzzzz' status no.db --zzzzzzzz
lacks "no guess then" err 'did you mean'
refuses "unknown option with a value shows no more than its name" 2 'unknown option --password; ' relay x --password=secret
lacks "the value is not shown" err secret
refuses "unknown letter" 2 'unknown option -x' status no.db -x
refuses "option without its value" 2 '--type needs a value' list no.db --type
refuses "flag with a value" 2 '--json takes no value' list no.db --json=yes
refuses "option given twice" 2 '--limit is given twice' list no.db --limit 1 --limit 2
refuses "too many operands" 2 'status takes no argument "b.db"' status a.db b.db
# shellcheck disable=SC2046 # each number is an operand
refuses "far too many operands" 2 'too many arguments' status $(seq 100)
refuses "too few operands" 2 'show needs 2 arguments' show a.db
refuses "a hostile word is shown harmless" 2 'unknown verb "\x1b[31mred\x07"' "$(printf '\033[31mred\007')"

run init ./-dash.db
exits "init" 0
mv ./-dash.db ./--json
run status -- --json
exits "what follows -- is no option" 0
# ---- The manual page has every option of every verb's help, and no other
man=${0%/*}/../../docs/man/busbar.1
case $man in
/*) ;;
*) man=$OLDPWD/$man ;;
esac
"$BUSBAR" --help | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p' | while read -r verb; do
    "$BUSBAR" "$verb" --help
done | grep -oE -- '--[a-z][a-z-]*' | sort -u | grep -vx -e --help -e --version >options.help
sed 's/\\-/-/g' "$man" | grep -oE -- '--[a-z][a-z-]*' | sort -u | grep -vx -e --help -e --version >options.man
check "there are options" test "$(grep -c . options.help)" -gt 40
equal "the manual page has the options of the help" "" "$(comm -3 options.help options.man | tr -d '\t' | tr '\n' ' ' | sed 's/ $//')"
finish
