#!/bin/sh
# SPDX-License-Identifier: MIT
# What busbar relay refuses before it connects: options, passwords, the configuration file.
. "${0%/*}/lib.sh"
run init app.db

refused() { # NAME TEXT OPTION...: refused as a mistake of usage
    name=$1 text=$2
    shift 2
    refuses "$name" 2 "$text" relay app.db "$@"
}

refused "no address" 'relay needs --url' --topic t
refused "no topic" 'relay needs --topic' --url mqtt://h
for url in h tcp://h mqtt:h http://h ''; do
    refused "the address \"$url\"" 'this one begins differently' --url "$url" --topic t
done
refused "an address without host" 'has no host' --url mqtt://:1883 --topic t
refused "an address with half a bracket" 'has no host' --url 'mqtt://[::1' --topic t
for port in 0 65536 99999999999 x ''; do
    refused "the port \"$port\"" 'a port that is not a number' --url "mqtt://h:$port" --topic t
done
refused "an address with a path" 'goes on behind host and port' --url mqtt://h:1/x --topic t
refused "a password in the address" 'which others could read in the list of processes' --url mqtt://me:secret@h --topic t
lacks "it is not shown" err secret
refused "a user in the address" '--user' --url mqtt://me@h --topic t
refused "quality of service 3" '--qos is a number up to 2' --url mqtt://h --topic t --qos 3
refused "an unknown format" '--format is structured' --url mqtt://h --topic t --format batch
refused "no window" '--window is 1 or more' --url mqtt://h --topic t --window 0
refused "a window beyond the limit" '--window is a number up to 10000' --url mqtt://h --topic t --window 10001
refused "a rate that is none" '--rate is a number' --url mqtt://h --topic t --rate fast
refused "a time to live without a unit" '--ttl is a duration with a unit' --url mqtt://h --topic t --ttl 90
refused "no time to live" '--ttl is a duration with a unit' --url mqtt://h --topic t --ttl 0s
refused "an unknown version" '--mqtt is 5, 3.1.1 or auto' --url mqtt://h --topic t --mqtt 4
refused "a policy that is none" '--unmatched is accept, count or hold' --url mqtt://h --topic t --unmatched keep
refused "authorities without TLS" 'need an mqtts:// URL' --url mqtt://h --topic t --ca app.db
refused "a certificate without its key" 'need each other' --url mqtts://h --topic t --cert app.db
for word in source '' /pump; do
    refused "no match: \"$word\"" '--match is ATTRIBUTE=VALUE' --url mqtt://h --topic t --match "$word"
done
refused "a match in the other option" '--match-not is ATTRIBUTE=VALUE' --url mqtt://h --topic t --match-not source
for name in '' Source so-urce "$(printf '%065d' 0)"; do
    refused "the attribute \"$name\"" "\"$name\" is no attribute" --url mqtt://h --topic t --match "$name=x"
done
for name in time data specversion; do
    refused "the attribute \"$name\"" "does not look at \"$name\"" --url mqtt://h --topic t --match-not "$name=x"
done
for value in '' '*' '**' '*x*'; do
    refused "the value \"$value\"" 'the value of "source" is a text, a beginning and *' --url mqtt://h --topic t \
        --match "source=$value"
done
refused "a value beyond the limit" 'is longer than 4096 bytes' --url mqtt://h --topic t \
    --match "site=$(printf '%04097d' 0)"
set --
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    set -- "$@" --match site=a --match-not "site=$i" --match "source=/$i*"
done
refused "sixty matches are heard" 'relay needs --url' --topic t "$@"
refused "one more is too many" 'given too often; 60 times at most' --topic t "$@" --match site=b
refused "a value that no event can have" 'filter' --url mqtt://127.0.0.1:1 --topic t --match "site=$(printf '\377')"
refused "a bad topic" 'topic template' --url mqtt://127.0.0.1:1 --topic 'events/{typ}'
refused "a bad name" 'a consumer' --url mqtt://127.0.0.1:1 --topic t --name 'a b'
refused "a bad pattern" 'pattern' --url mqtt://127.0.0.1:1 --topic t --type a..b
refuses "authorities that are not there" 1 'nofile: cannot be opened' relay app.db --url mqtts://h --topic t --ca nofile

password() { # NAME TEXT CONTENT
    printf '%b' "$3" >password
    chmod 600 password
    refused "$1" "$2" --url mqtt://h --topic t --user me --password-file password
}
password "an empty password file" 'must hold the password, on one line' ''
password "an empty line" 'must hold the password, on one line' '\n'
password "two lines" 'must hold the password, on one line' 'secret\nmore\n'
lacks "none is shown" err secret
refuses "no password file" 1 'nofile: cannot be opened' relay app.db --url mqtt://h --topic t --password-file nofile

config() { # NAME TEXT CONTENT: refused
    printf '%s' "$3" >config.json
    refuses "$1" 1 "config.json: $2" relay app.db --config config.json
}
config "an empty configuration" 'is not valid JSON at line 1, column 1' ''
config "bad JSON, with its position" 'is not valid JSON at line 2, column 10' '{"url": "mqtt://h",
"topic": oops}'
config "something behind the object" 'is not valid JSON at line 1, column 4' '{} {}'
config "no object" 'must be one JSON object' '["url"]'
config "an unknown key" 'unknown key "tpoic"; did you mean "topic"?' '{"tpoic": "t"}'
config "a key in other letters" 'unknown key "URL"' '{"URL": "mqtt://h"}'
config "a password in the configuration" 'unknown key "password"; did you mean "password-file"?' '{"password": "x"}'
config "a configuration in a configuration" 'unknown key "config"' '{"config": "x"}'
config "a key twice" 'the key "qos" stands there twice' '{"qos": 1, "qos": 2}'
config "a fraction" 'the value of "qos" must be a string or a whole number' '{"qos": 1.5}'
config "a negative number" 'the value of "rate" must be' '{"rate": -1}'
config "a huge number" 'the value of "rate" must be' '{"rate": 1e300}'
config "an object as a value" 'the value of "topic" must be' '{"topic": {}}'
config "null" 'the value of "topic" must be' '{"topic": null}'
config "a flag that is no truth" 'the value of "drain" must be true or false' '{"drain": "yes"}'
config "a match that is no text" 'the value of "match" must be a string or an array of strings' '{"match": 5}'
config "a match among others" 'the value of "match-not" must be' '{"match-not": ["site=a", {}]}'
config "too many matches" '"match" has too many values; 64 at most' \
    "{\"match\": [$(printf '"a=b",%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 \
        32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64)\"a=b\"]}"
config "a NUL in a text" 'holds a NUL character' '{"topic": "a\u0000b"}'
refuses "no configuration" 1 'nofile: cannot be opened' relay app.db --config nofile
printf '{"url": "mqtt://h", "topic": "t", "qos": 7}' >config.json
refused "a value out of range" '--qos is a number up to 2' --config config.json
printf '{"url": "mqtt://h", "topic": "t", "match": ["site=a", "Site=b"]}' >config.json
refused "a match in the configuration" '"Site" is no attribute' --config config.json
printf '{"url": "mqtt://h"}' >config.json
refused "a configuration that is not all" 'relay needs --topic' --config config.json

run status app.db --json
equal "nothing of that made a consumer" '[]' "$(json out consumers)"
finish
