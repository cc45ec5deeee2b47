/* SPDX-License-Identifier: MIT */
/* The parts of the MQTT transport that need no broker: options, reason codes and texts, packet sizes, waits. */
#define _POSIX_C_SOURCE 200809L

#include "test.h"

#include <errno.h>
#include <mosquitto.h>
#include <signal.h>

#include "backoff.h"
#include "last_words.h"
#include "packet.h"
#include "reason.h"
#include "settings.h"

/* ---- Options -------------------------------------------------------------------------------------------------------- */

static busbar_mosquitto_options valid(void)
{
    return (busbar_mosquitto_options){.size = sizeof(busbar_mosquitto_options), .host = "h"};
}

static void expect_fault(const busbar_mosquitto_options *options, const char *name)
{
    busbar_transport transport = {0};
    busbar_reason reason = {0};
    assert_int_equal(busbar_mosquitto_new(options, &transport, &reason), BUSBAR_EINVAL);
    if (strstr(reason.text, name) == NULL) {
        fail_msg("'%s' does not name %s", reason.text, name);
    }
    assert_null(transport.api);
    assert_int_equal(busbar_mosquitto_new(options, &transport, NULL), BUSBAR_EINVAL);
}

static void wrong_options_are_named(void **state)
{
    static char long_text[70000];
    busbar_mosquitto_options options;
    (void)state;
    memset(long_text, 'x', sizeof long_text - 1);
    expect_fault(NULL, "size");
    options = valid(), assert_int_equal(busbar_mosquitto_new(&options, NULL, NULL), BUSBAR_EINVAL);
    options = valid(), options.size--, expect_fault(&options, "size");
    options = valid(), options.host = NULL, expect_fault(&options, "host");
    options = valid(), options.host = "", expect_fault(&options, "host");
    options = valid(), options.client_id = "", expect_fault(&options, "client_id");
    options = valid(), options.client_id = "\xff", expect_fault(&options, "client_id");
    options = valid(), options.username = long_text, expect_fault(&options, "username");
    options = valid(), options.password = "p", expect_fault(&options, "password");
    options = valid(), options.username = "u", options.password = long_text, expect_fault(&options, "password");
    options = valid(), options.keepalive_s = 4, expect_fault(&options, "keepalive_s");
    options = valid(), options.keepalive_s = 65536, expect_fault(&options, "keepalive_s");
    options = valid(), options.window = BUSBAR_MOSQUITTO_WINDOW_MAX + 1, expect_fault(&options, "window");
    options = valid(), options.protocol = (busbar_mosquitto_protocol)3, expect_fault(&options, "protocol");
    options = valid(), options.tls.ca_file = "ca", expect_fault(&options, "tls");
    options = valid(), options.tls.enabled = true, options.tls.key_file = "key", expect_fault(&options, "cert_file");
    options = valid(), options.tls.enabled = true, options.tls.alpn = "", expect_fault(&options, "alpn");
}

static void defaults_are_filled_in(void **state)
{
    bb_mosquitto_settings settings;
    busbar_reason reason;
    busbar_mosquitto_options options = valid();
    (void)state;
    assert_int_equal(bb_mosquitto_settings_copy(&options, &settings, &reason), BUSBAR_OK);
    assert_int_equal(settings.port, 1883);
    assert_int_equal(settings.keepalive_s, 30);
    assert_int_equal(settings.window, 100);
    assert_int_equal(settings.reconnect_min_ms, 1000);
    assert_int_equal(settings.reconnect_max_ms, 60000);
    assert_int_equal(settings.connect_timeout_ms, 10000);
    assert_int_equal(settings.ack_timeout_ms, 30000);
    bb_mosquitto_settings_free(&settings);

    options.tls.enabled = true;
    options.protocol = BUSBAR_MOSQUITTO_V5;
    options.password = "a token needs no user in MQTT 5";
    options.reconnect_min_ms = 90000; /* more than the largest wait: the larger one counts */
    assert_int_equal(bb_mosquitto_settings_copy(&options, &settings, &reason), BUSBAR_OK);
    assert_int_equal(settings.port, 8883);
    assert_int_equal(settings.reconnect_max_ms, 90000);
    bb_mosquitto_settings_free(&settings);
}

static void random_client_ids_differ(void **state)
{
    bb_mosquitto_settings one, two;
    busbar_reason reason;
    const busbar_mosquitto_options options = valid();
    (void)state;
    assert_int_equal(bb_mosquitto_settings_copy(&options, &one, &reason), BUSBAR_OK);
    assert_int_equal(bb_mosquitto_settings_copy(&options, &two, &reason), BUSBAR_OK);
    assert_string_not_equal(one.client_id, two.client_id);
    bb_mosquitto_settings_free(&one);
    bb_mosquitto_settings_free(&two);
}

/* P15, where nothing is ever started: making a transport is enough for the library to touch the signal. */
static void making_a_transport_leaves_sigpipe_alone(void **state)
{
    const busbar_mosquitto_options options = valid();
    const struct sigaction default_action = {.sa_handler = SIG_DFL}, ignore = {.sa_handler = SIG_IGN};
    const struct sigaction *const actions[] = {&default_action, &ignore};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sigaction now;
        busbar_transport transport;
        sigaction(SIGPIPE, actions[i], NULL);
        assert_int_equal(busbar_mosquitto_new(&options, &transport, NULL), BUSBAR_OK);
        sigaction(SIGPIPE, NULL, &now);
        assert_true(now.sa_handler == actions[i]->sa_handler);
        transport.api->stop(transport.ctx);
    }
}

/* ---- Reasons -------------------------------------------------------------------------------------------------------- */

static void every_code_has_its_outcome(void **state)
{
    (void)state;
    for (int code = 0; code < 256; code++) {
        bb_mosquitto_outcome expected = code < 0x80 ? BB_MOSQUITTO_ACKED : BB_MOSQUITTO_RETRY;
        if (code == 0x83 || code == 0x90 || code == 0x95 || code == 0x99 || code == 0x9b) {
            expected = BB_MOSQUITTO_DEAD;
        } else if (code == 0x91) {
            expected = BB_MOSQUITTO_RECONNECT;
        }
        assert_int_equal(bb_mosquitto_reason_outcome(code), expected);
    }
    assert_string_equal(bb_mosquitto_reason_name(0x87), "not authorized");
    assert_string_equal(bb_mosquitto_reason_name(0xfe), "unknown reason");
}

static void codes_of_311_have_equals(void **state)
{
    static const int equals[] = {0x00, 0x84, 0x85, 0x88, 0x86, 0x87, 0x80};
    (void)state;
    for (int code = 0; code < 7; code++) {
        assert_int_equal(bb_mosquitto_reason_from_v311(code), equals[code]);
    }
    assert_int_equal(bb_mosquitto_reason_from_v311(-1), 0x80);
}

static void long_reasons_are_cut_between_characters(void **state)
{
    busbar_reason reason;
    char text[400] = "";
    (void)state;
    while (strlen(text) < sizeof text - 4) {
        strcat(text, "\xe2\x82\xac"); /* three bytes: 159 is a multiple of them */
    }
    bb_mosquitto_reason_set(&reason, 1, "%s", text);
    assert_int_equal(strlen(reason.text), 156);
    bb_mosquitto_reason_set(&reason, 1, "a%s", text);
    assert_int_equal(mosquitto_validate_utf8(reason.text, (int)strlen(reason.text)), MOSQ_ERR_SUCCESS);
    bb_mosquitto_reason_set(&reason, 1, "ab%s", text);
    assert_int_equal(mosquitto_validate_utf8(reason.text, (int)strlen(reason.text)), MOSQ_ERR_SUCCESS);
    bb_mosquitto_reason_set(&reason, 1, "two\nlines");
    assert_string_equal(reason.text, "two lines");
    bb_mosquitto_reason_set(NULL, 1, "nobody listens");
}

static void failures_name_the_place_and_what_to_do(void **state)
{
    const bb_mosquitto_place plain = {.host = "gw.example", .port = 1883};
    const bb_mosquitto_place tls = {.host = "gw.example", .port = 8883, .tls = true};
    busbar_reason reason;
    (void)state;
    bb_mosquitto_reason_connect(&reason, &plain, MOSQ_ERR_ERRNO, ECONNREFUSED);
    assert_string_equal(reason.text, "cannot connect to gw.example:1883: Connection refused; is the broker running?");
    assert_int_equal(reason.code, ECONNREFUSED);
    bb_mosquitto_reason_connect(&reason, &plain, MOSQ_ERR_NOMEM, 0);
    assert_string_equal(reason.text, "cannot connect to gw.example:1883: Out of memory.");
    bb_mosquitto_reason_lost(&reason, &plain, true, MOSQ_ERR_ERRNO, ETIMEDOUT);
    assert_string_equal(reason.text, "gw.example:1883 was lost: Connection timed out");
    bb_mosquitto_reason_lost(&reason, &tls, false, MOSQ_ERR_CONN_LOST, 0);
    assert_string_equal(reason.text, "gw.example:8883 closed the connection before it accepted the connection; is this "
                                     "a port for TLS?");
    bb_mosquitto_reason_lost(&reason, &plain, true, MOSQ_ERR_PROTOCOL, 0);
    assert_non_null(strstr(reason.text, "gw.example:1883 was lost: "));
    bb_mosquitto_reason_tls(&reason, &tls, "OpenSSL Error[0]: error:0A0000C6:SSL routines::packet length too long");
    assert_string_equal(reason.text, "TLS with gw.example:8883 failed: packet length too long");
    bb_mosquitto_reason_connack(&reason, &plain, 0x87, NULL);
    assert_string_equal(reason.text, "gw.example:1883 refused the connection: not authorized (0x87); check username, "
                                     "password and the broker's access rules");
}

static int last_words(const char *bytes, size_t size)
{
    return bb_mosquitto_last_words_find((const uint8_t *)bytes, size);
}

static void last_words_are_found_behind_whole_packets_only(void **state)
{
    char long_packet[300] = "\x30\xa8\x02"; /* 296 bytes */
    (void)state;
    assert_int_equal(last_words("", 0), -1);
    assert_int_equal(last_words("\xe0\x01\x8e", 3), 0x8e);
    assert_int_equal(last_words("\xe0\x02\x97\x00", 4), 0x97);
    assert_int_equal(last_words("\x40\x02\x00\x01\xe0\x01\x8b", 7), 0x8b);
    assert_int_equal(last_words("\xe0\x00", 2), -1);                     /* says nothing */
    assert_int_equal(last_words("\xe0\x01\x8e\x40\x02\x00\x01", 7), -1); /* was not the last */
    assert_int_equal(last_words("\xe0\x01", 2), -1);                     /* not whole */
    assert_int_equal(last_words("\xe0", 1), -1);
    assert_int_equal(last_words("\x01\xe0\x01\x8e", 4), -1); /* begins within a packet */
    assert_int_equal(last_words("\xe0\xff\xff\xff\xff\x01\x8e", 7), -1);
    assert_int_equal(last_words(long_packet, 299), -1);
    assert_int_equal(last_words(long_packet, 298), -1);
}

/* ---- Packets -------------------------------------------------------------------------------------------------------- */

static void media_types_of_text_are_known(void **state)
{
    (void)state;
    assert_true(bb_mosquitto_packet_is_text("application/json"));
    assert_true(bb_mosquitto_packet_is_text("application/cloudevents+JSON; charset=utf-8"));
    assert_true(bb_mosquitto_packet_is_text("Text/Plain"));
    assert_false(bb_mosquitto_packet_is_text("json"));
    assert_false(bb_mosquitto_packet_is_text("application/notjson"));
    assert_false(bb_mosquitto_packet_is_text("image/png"));
    assert_false(bb_mosquitto_packet_is_text("application/octet-stream; name=a/json"));
}

static void packets_that_cannot_be_sent_are_found(void **state)
{
    static char long_text[70000];
    const bb_mosquitto_limits limits = {.v5 = true, .max_qos = 1, .max_packet_bytes = 100};
    const bb_mosquitto_limits unlimited = {.v5 = true, .max_qos = 2};
    const busbar_message fine = {.size = sizeof fine, .token = 1, .topic = "t", .qos = 1};
    busbar_message message;
    busbar_reason reason;
    (void)state;
    memset(long_text, 'x', sizeof long_text - 1);
    assert_int_equal(bb_mosquitto_packet_check(&limits, &fine, &reason), 0);
    message = fine, message.topic = NULL;
    assert_int_equal(bb_mosquitto_packet_check(&unlimited, &message, &reason), -1);
    message = fine, message.topic = long_text;
    assert_int_equal(bb_mosquitto_packet_check(&unlimited, &message, &reason), -1);
    message = fine, message.topic = "\xc3";
    assert_int_equal(bb_mosquitto_packet_check(&unlimited, &message, &reason), -1);
    message = fine, message.content_type = "\xc3";
    assert_int_equal(bb_mosquitto_packet_check(&unlimited, &message, &reason), -1);
    message = fine, message.content_type = long_text;
    assert_int_equal(bb_mosquitto_packet_check(&unlimited, &message, &reason), -1);
    message = fine, message.qos = 2;
    assert_int_equal(bb_mosquitto_packet_check(&limits, &message, &reason), -1);
    message = fine, message.payload_size_bytes = 268435455; /* never read */
    assert_int_equal(bb_mosquitto_packet_check(&unlimited, &message, &reason), -1);
    message.payload_size_bytes = SIZE_MAX;
    assert_int_equal(bb_mosquitto_packet_check(&unlimited, &message, &reason), -1);
    /* 1 type, 1 length, 2 + 1 topic, 2 identifier, 1 properties: 84 + 8 = 100 - 8 */
    message = fine, message.payload_size_bytes = 84;
    assert_int_equal(bb_mosquitto_packet_check(&limits, &message, &reason), 0);
    message.payload_size_bytes = 85;
    assert_int_equal(bb_mosquitto_packet_check(&limits, &message, &reason), -1);
    assert_non_null(strstr(reason.text, "93 bytes, the broker takes 100"));
}

static void the_room_told_excludes_nothing_that_fits(void **state)
{
    bb_mosquitto_limits limits = {.max_qos = 2};
    (void)state;
    assert_int_equal(bb_mosquitto_packet_room(&limits), 0);
    for (unsigned v5 = 0; v5 <= 1; v5++) {
        limits.v5 = v5 == 1;
        for (limits.max_packet_bytes = 1; limits.max_packet_bytes < 20000; limits.max_packet_bytes += 7) {
            busbar_message message = {.size = sizeof message, .token = 1, .topic = "t"};
            busbar_reason reason;
            size_t room = bb_mosquitto_packet_room(&limits);
            assert_true(room > 0);
            message.payload_size_bytes = room; /* with the topic one more than the room */
            assert_int_equal(bb_mosquitto_packet_check(&limits, &message, &reason), -1);
        }
    }
}

/* ---- Waits ---------------------------------------------------------------------------------------------------------- */

static void waits_grow_at_random_within_their_bounds(void **state)
{
    uint32_t least = UINT32_MAX, most = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        bb_mosquitto_backoff backoff = bb_mosquitto_backoff_start(1000, 60000, seed);
        uint32_t before_ms = 1000;
        assert_in_range(bb_mosquitto_backoff_next(&backoff), 0, 999);
        for (unsigned i = 0; i < 50; i++) {
            uint32_t wait_ms = bb_mosquitto_backoff_next(&backoff);
            assert_in_range(wait_ms, 1000, before_ms * 3 < 60000 ? before_ms * 3 : 60000);
            before_ms = wait_ms;
        }
        least = before_ms < least ? before_ms : least;
        most = before_ms > most ? before_ms : most;
        bb_mosquitto_backoff_reset(&backoff);
        assert_in_range(bb_mosquitto_backoff_next(&backoff), 0, 999);
    }
    assert_int_equal(most, 60000);
    assert_true(least < 30000); /* a fleet spreads out */
}

static void small_waits_are_possible(void **state)
{
    bb_mosquitto_backoff backoff = bb_mosquitto_backoff_start(1, 1, 7);
    (void)state;
    assert_int_equal(bb_mosquitto_backoff_next(&backoff), 0);
    assert_int_equal(bb_mosquitto_backoff_next(&backoff), 1);
    assert_int_equal(bb_mosquitto_backoff_next(&backoff), 1);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(defaults_are_filled_in),
        cmocka_unit_test(random_client_ids_differ),
        cmocka_unit_test(making_a_transport_leaves_sigpipe_alone),
        cmocka_unit_test(every_code_has_its_outcome),
        cmocka_unit_test(codes_of_311_have_equals),
        cmocka_unit_test(long_reasons_are_cut_between_characters),
        cmocka_unit_test(failures_name_the_place_and_what_to_do),
        cmocka_unit_test(last_words_are_found_behind_whole_packets_only),
        cmocka_unit_test(media_types_of_text_are_known),
        cmocka_unit_test(packets_that_cannot_be_sent_are_found),
        cmocka_unit_test(the_room_told_excludes_nothing_that_fits),
        cmocka_unit_test(waits_grow_at_random_within_their_bounds),
        cmocka_unit_test(small_waits_are_possible),
    };
    return cmocka_run_group_tests_name("mosquitto parts", cases, NULL, NULL);
}
