/* SPDX-License-Identifier: MIT */
/*
 * Every reason code of MQTT 5, all 256 values, in each packet that can bring one to us, over the wire. What a code means is
 * one of three things: the connection is unavailable, which costs no event anything; this event failed, which is counted
 * and tried again; this event can never succeed. The table is written from the standard (section 2.4) and from what
 * busbar/mosquitto.h promises, not from the code.
 */
#include "test.h"

#include <stdatomic.h>

#include "broker.h"
#include "mqtt_host.h"
#include "mqtt_peer.h"
#include "reason.h"

/*
 * In PUBACK and PUBREC. a: accepted, r: failed, to be tried again, d: dead, l: the link's fault. The standard has codes for
 * these packets at 00 10 80 83 87 90 91 97 99 only; of the others, those that tell of the event itself (95 too large, 9b
 * QoS) are its death, and the rest is decided by the half of the table: below 80 is no failure.
 */
static const char of_messages[] =
    "aaaaaaaaaaaaaaaa"  /* 00 success */
    "aaaaaaaaaaaaaaaa"  /* 10 no matching subscribers */
    "aaaaaaaaaaaaaaaa"  /* 20 */
    "aaaaaaaaaaaaaaaa"  /* 30 */
    "aaaaaaaaaaaaaaaa"  /* 40 */
    "aaaaaaaaaaaaaaaa"  /* 50 */
    "aaaaaaaaaaaaaaaa"  /* 60 */
    "aaaaaaaaaaaaaaaa"  /* 70 */
    "rrrdrrrrrrrrrrrr"  /* 80 unspecified, 83 implementation specific, 87 not authorized */
    "dlrrrdrrrdrdrrrr"  /* 90 topic name, 91 identifier in use, 97 quota, 99 payload format */
    "rrrrrrrrrrrrrrrr"  /* a0 */
    "rrrrrrrrrrrrrrrr"  /* b0 */
    "rrrrrrrrrrrrrrrr"  /* c0 */
    "rrrrrrrrrrrrrrrr"  /* d0 */
    "rrrrrrrrrrrrrrrr"  /* e0 */
    "rrrrrrrrrrrrrrrr"; /* f0 */

/* The names of the standard, which the texts must have. */
static const struct {
    unsigned code;
    const char *name;
} names[] = {
    {0x10, "no matching subscribers"},
    {0x80, "unspecified error"},
    {0x81, "malformed packet"},
    {0x82, "protocol error"},
    {0x83, "implementation specific error"},
    {0x84, "unsupported protocol version"},
    {0x85, "client identifier not valid"},
    {0x86, "bad user name or password"},
    {0x87, "not authorized"},
    {0x88, "server unavailable"},
    {0x89, "server busy"},
    {0x8a, "banned"},
    {0x8b, "server shutting down"},
    {0x8c, "bad authentication method"},
    {0x8d, "keep alive timeout"},
    {0x8e, "session taken over"},
    {0x8f, "topic filter invalid"},
    {0x90, "topic name invalid"},
    {0x91, "packet identifier in use"},
    {0x92, "packet identifier not found"},
    {0x93, "receive maximum exceeded"},
    {0x94, "topic alias invalid"},
    {0x95, "packet too large"},
    {0x96, "message rate too high"},
    {0x97, "quota exceeded"},
    {0x98, "administrative action"},
    {0x99, "payload format invalid"},
    {0x9a, "retain not supported"},
    {0x9b, "QoS not supported"},
    {0x9c, "use another server"},
    {0x9d, "server moved"},
    {0x9e, "shared subscriptions not supported"},
    {0x9f, "connection rate exceeded"},
    {0xa0, "maximum connect time"},
    {0xa1, "subscription identifiers not supported"},
    {0xa2, "wildcard subscriptions not supported"},
};

static const char *name_of(unsigned code)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].code == code) {
            return names[i].name;
        }
    }
    return "unknown reason";
}

/* ---- The peer ------------------------------------------------------------------------------------------------------------- */

typedef struct answers {
    unsigned packet; /* which one brings the code: CONNACK as CONNECT's type, PUBACK, PUBREC, PUBCOMP or DISCONNECT */
    atomic_uint connects_allowed; /* CONNECT: answered when the test is ready for it */
    mqtt_peer *peer;
    mqtt_host host;
} answers;

static void answer_connect(const answers *it, mqtt_peer *peer, unsigned connection)
{
    if (it->packet != MQTT_PEER_CONNECT || connection > 255) {
        mqtt_peer_connack(peer, 0, NULL, 0);
    } else if (connection <= atomic_load(&it->connects_allowed)) {
        mqtt_peer_connack(peer, connection, NULL, 0);
    } else {
        mqtt_peer_call_in(peer, 1);
    }
}

/* The payload is the code; a CONNECT gets the next one with each connection. */
static void answer(mqtt_peer *peer, const mqtt_peer_packet *packet, void *context)
{
    const answers *it = context;
    unsigned code = packet->payload_size > 1 ? packet->payload[1] : 0;

    if (packet->type == MQTT_PEER_CONNECT || packet->type == MQTT_PEER_CALLED) {
        answer_connect(it, peer, packet->connection);
    } else if (packet->type == MQTT_PEER_PUBREL) {
        mqtt_peer_acknowledge(peer, MQTT_PEER_PUBCOMP, packet->mid, 0);
    } else if (packet->type == MQTT_PEER_PUBLISH && it->packet == MQTT_PEER_DISCONNECT) {
        mqtt_peer_disconnect(peer, code);
    } else if (packet->type == MQTT_PEER_PUBLISH) {
        mqtt_peer_acknowledge(peer, it->packet, packet->mid, code);
    }
}

static answers *begin(unsigned packet)
{
    answers *it = calloc(1, sizeof *it);

    assert_non_null(it);
    it->packet = packet;
    it->peer = mqtt_peer_start(answer, it);
    busbar_mosquitto_options options = mqtt_host_options(mqtt_peer_port(it->peer));
    options.protocol = BUSBAR_MOSQUITTO_V5;
    options.reconnect_min_ms = 1;
    options.reconnect_max_ms = 3;
    mqtt_host_start(&it->host, &options);
    return it;
}

static void end(answers *it)
{
    mqtt_host_stop(&it->host);
    mqtt_peer_stop(it->peer);
    free(it);
}

static void send_code(answers *it, unsigned code, uint8_t qos)
{
    const uint8_t payload[2] = {'c', (uint8_t)code};
    const busbar_message message = {.size = sizeof message,
                                    .token = code + 1,
                                    .topic = "t",
                                    .payload = payload,
                                    .payload_size_bytes = sizeof payload,
                                    .qos = qos};
    busbar_reason reason;
    uint64_t deadline_ms = broker_now_ms() + MQTT_HOST_DEADLINE_MS;

    while (it->host.transport.api->send(it->host.transport.ctx, &message, &reason) != BUSBAR_SEND_ACCEPTED) {
        assert_true(broker_now_ms() < deadline_ms);
        mqtt_host_idle(&it->host, 1);
    }
}

static void expect_words(const busbar_reason *reason, unsigned code)
{
    char number[8] = "(0x__)";

    number[3] = "0123456789abcdef"[code >> 4];
    number[4] = "0123456789abcdef"[code & 15];
    assert_int_equal(reason->code, code);
    if (strstr(reason->text, name_of(code)) == NULL || strstr(reason->text, number) == NULL) {
        fail_msg("no '%s %s' in: %s", name_of(code), number, reason->text);
    }
}

/* ---- The packets ------------------------------------------------------------------------------------------------------------ */

static void expect_outcome(answers *it, unsigned code, uint8_t qos)
{
    unsigned acked = it->host.acked, unmatched = it->host.unmatched, refused = it->host.refused, downs = it->host.downs;
    char expected = of_messages[code];

    send_code(it, code, qos);
    while (it->host.acked + it->host.refused + it->host.downs == acked + refused + downs) {
        mqtt_host_idle(&it->host, 1);
    }
    assert_int_equal(it->host.acked - acked, expected == 'a');
    assert_int_equal(it->host.unmatched - unmatched, code == 0x10 && qos == 1); /* the library keeps that of PUBREC */
    assert_int_equal(it->host.refused - refused, expected == 'r' || expected == 'd');
    assert_int_equal(it->host.downs - downs, expected == 'l');
    if (expected == 'r' || expected == 'd') {
        assert_int_equal(it->host.last_token, code + 1);
        assert_int_equal(it->host.last_refused.verdict, expected == 'r' ? BUSBAR_REFUSED_RETRY : BUSBAR_REFUSED_DEAD);
        expect_words(&it->host.last_refused.reason, code);
    } else if (expected == 'l') {
        expect_words(&it->host.last_down.reason, code);
    }
}

static void every_code_of_puback_has_its_outcome(void **state)
{
    answers *it = begin(MQTT_PEER_PUBACK);
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        expect_outcome(it, code, 1);
    }
    end(it);
}

static void every_code_of_pubrec_has_its_outcome(void **state)
{
    answers *it = begin(MQTT_PEER_PUBREC);
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        expect_outcome(it, code, 2);
    }
    end(it);
}

static void every_code_of_connack_is_the_links_fault(void **state)
{
    answers *it = begin(MQTT_PEER_CONNECT);
    (void)state;
    for (unsigned code = 1; code < 256; code++) {
        atomic_store(&it->connects_allowed, code);
        mqtt_host_wait(&it->host, &it->host.downs, code);
        expect_words(&it->host.last_down.reason, code);
    }
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    assert_int_equal(it->host.downs, 255);
    send_code(it, 0, 1);
    end(it);
}

/* Below 80 it tells of no error, but the connection is gone all the same. */
static void every_code_of_disconnect_is_the_links_fault(void **state)
{
    answers *it = begin(MQTT_PEER_DISCONNECT);
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        unsigned downs = it->host.downs;
        send_code(it, code, 1);
        mqtt_host_wait(&it->host, &it->host.downs, downs + 1);
        assert_int_equal(it->host.downs, downs + 1);
        assert_int_equal(it->host.acked + it->host.refused, 0);
        if (code >= 0x80) {
            expect_words(&it->host.last_down.reason, code);
        } else {
            assert_non_null(strstr(it->host.last_down.reason.text, "closed the connection"));
        }
    }
    end(it);
}

/* The table in the code, value by value, and outside of a byte. */
static void the_table_is_that_of_the_standard(void **state)
{
    (void)state;
    assert_int_equal(sizeof of_messages, 257);
    for (unsigned code = 0; code < 256; code++) {
        bb_mosquitto_outcome expected = of_messages[code] == 'a'   ? BB_MOSQUITTO_ACKED
                                        : of_messages[code] == 'r' ? BB_MOSQUITTO_RETRY
                                        : of_messages[code] == 'd' ? BB_MOSQUITTO_DEAD
                                                                   : BB_MOSQUITTO_RECONNECT;
        assert_int_equal(bb_mosquitto_reason_outcome((int)code), expected);
        if (code >= 0x80) {
            assert_string_equal(bb_mosquitto_reason_name((int)code), name_of(code));
        }
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(the_table_is_that_of_the_standard),
        cmocka_unit_test(every_code_of_puback_has_its_outcome),
        cmocka_unit_test(every_code_of_pubrec_has_its_outcome),
        cmocka_unit_test(every_code_of_connack_is_the_links_fault),
        cmocka_unit_test(every_code_of_disconnect_is_the_links_fault),
    };
    return cmocka_run_group_tests_name("every reason code", cases, NULL, NULL);
}
