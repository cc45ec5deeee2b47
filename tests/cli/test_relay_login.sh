#!/bin/sh
# SPDX-License-Identifier: MIT
# busbar relay with users, passwords and TLS: what the broker refuses is told with its reason.
. "${0%/*}/lib.sh"

PATH=$PATH:/usr/sbin:/usr/local/sbin
if ! command -v mosquitto_passwd >/dev/null 2>&1; then
    echo "1..0 # SKIP there is no mosquitto_passwd"
    exit 77
fi
touch users
mosquitto_passwd -b users me secret 2>/dev/null
printf 'user me\ntopic write t\ntopic write t/#\n' >topics
broker_start 'allow_anonymous false' "password_file $work/users" "acl_file $work/topics"
url=mqtt://127.0.0.1:$broker_port
run init app.db
run publish app.db t.a

start_relay() { # OPTION...
    : >relay.err # or what the last one said would be taken for what this one says
    "$BUSBAR" relay app.db --drain "$@" >relay.out 2>relay.err &
    relay_pid=$!
    started="$started $relay_pid"
}

refused() { # NAME TEXT OPTION...: the relay tells why, and goes on trying until it is stopped
    name=$1 text=$2
    shift 2
    start_relay --topic 't/{type}' "$@"
    if wait_until 20 file_has relay.err "$text"; then
        pass "$name"
    else
        fail "$name" "$(cat relay.err)"
    fi
    kill "$relay_pid"
    ends "$name: it can be stopped, undone" "$relay_pid" 1
}

printf 'wrong\n' >wrong
printf 'secret\r\n' >right
chmod 600 wrong right
refused "nobody" 'not' --url "$url"
lacks "without talk of files" relay.err chmod
refused "a wrong password" 'uthori' --url "$url" --user me --password-file wrong
run status app.db
exits "a route without a connection is healthy (P6)" 0
has "its last error is shown" out 'uthori'
run status app.db --max-offline 1ms
exits "unless a rule says else" 4

run relay app.db --drain --topic 't/{type}' --url "$url" --user me --password-file right --name file
exits "the password from a file" 0
empty "without talk" err
chmod 644 right
run relay app.db --drain --topic 't/{type}' --url "$url" --user me --password-file right --name exposed
exits "a file that others can read" 0
has "is a reason to warn" err 'right: others than its owner may read or change it'
BUSBAR_MQTT_USER=me BUSBAR_MQTT_PASSWORD=secret "$BUSBAR" relay app.db --drain --topic t --url "$url" --name env 2>err
equal "user and password from the environment" 0 $?
BUSBAR_MQTT_USER=you BUSBAR_MQTT_PASSWORD=wrong "$BUSBAR" relay app.db --drain --topic t --url "$url" --name over \
    --user me --password-file right 2>err
equal "options go before the environment" 0 $?
echo "{\"user\": \"me\", \"password-file\": \"right\"}" >config.json
BUSBAR_MQTT_USER=you "$BUSBAR" relay app.db --config config.json --drain --topic t --url "$url" --name config 2>err
equal "and so does the configuration" 0 $?

is_retrying() { # it was tried a second time
    "$BUSBAR" list app.db --consumer denied --state retry --json >retry.out && [ "$(json retry.out attempts)" -ge 2 ]
}
start_relay --url "$url" --user me --password-file right --name denied --topic 'denied/{type}'
check "a topic that the user may not write is tried again" wait_until 20 is_retrying
check "its reason is kept" test -n "$(json retry.out reason)"
check "--drain waits for it" is_running "$relay_pid"
kill "$relay_pid"
ends "until it is stopped, and then it has failed" "$relay_pid" 1
has "and says that it was not done" relay.err 'denied: stopped before everything was sent'

lacks "no secret in the broker's log" "$broker_log" secret
refused "TLS to a port without" 'busbar: tls: ' --url "mqtts://127.0.0.1:$broker_port" --user me --password-file right --name tls

if ! command -v openssl >/dev/null 2>&1 || ! openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem \
    -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2>openssl.err; then
    finish
fi
broker_stop
broker_port=
broker_start 'allow_anonymous true' "certfile $work/cert.pem" "keyfile $work/key.pem"
url=mqtts://127.0.0.1:$broker_port
run relay app.db --drain --topic 't/{type}' --url "$url" --ca cert.pem --name trusted
exits "TLS with the broker's authority" 0
refused "TLS with a broker that nobody vouches for" 'certificate' --url "$url" --name untrusted
finish
