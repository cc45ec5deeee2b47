/* SPDX-License-Identifier: MIT */
/*
 * The MQTT transport's messages, against a scripted broker: every kind of acknowledgement, none at all, and the limits that
 * a broker sets. Most cases here were a silent loss, or an abort, in programs that trust libmosquitto with them.
 */
#include "test.h"

#include "mqtt_site.h"
#include "packet.h"

/* ---- Acknowledgements ----------------------------------------------------------------------------------------------- */

static void every_reason_code_has_its_outcome(void **state)
{
    static const struct {
        unsigned code;
        int outcome; /* 0 acknowledged, 1 retry, 2 dead */
    } codes[] = {{0x00, 0}, {0x10, 0}, {0x80, 1}, {0x87, 1}, {0x97, 1}, {0x83, 2},
                 {0x90, 2}, {0x95, 2}, {0x99, 2}, {0x9b, 2}, {0x7f, 0}, {0xf0, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        const plan wanted = {.puback_code = codes[i].code};
        site *it = site_begin_up(&wanted);
        site_send(it, 1);
        mqtt_host_wait(&it->host, codes[i].outcome == 0 ? &it->host.acked : &it->host.refused, 1);
        if (codes[i].outcome != 0) {
            assert_int_equal(it->host.last_refused.reason.code, codes[i].code);
            assert_int_equal(it->host.last_refused.verdict,
                             codes[i].outcome == 1 ? BUSBAR_REFUSED_RETRY : BUSBAR_REFUSED_DEAD);
        }
        assert_int_equal(it->host.downs, 0);
        site_finish(it);
    }
}

static void a_used_packet_identifier_ends_the_connection(void **state)
{
    const plan wanted = {.puback_code = 0x91};
    (void)state;
    site *it = site_begin_up(&wanted);
    site_send(it, 1);
    mqtt_host_wait(&it->host, &it->host.downs, 1);
    assert_int_equal(it->host.last_down.reason.code, 0x91);
    assert_int_equal(it->host.acked + it->host.refused, 0);
    site_finish(it);
}

static void a_refusal_passes_the_brokers_words_on(void **state)
{
    const plan wanted = {.puback_code = 0x97, .reason_string = "daily quota used up"};
    (void)state;
    site *it = site_begin_up(&wanted);
    site_send(it, 1);
    mqtt_host_wait(&it->host, &it->host.refused, 1);
    assert_non_null(strstr(it->host.last_refused.reason.text, "quota exceeded (0x97); the broker says: daily quota"));
    site_finish(it);
}

/* MQTT 5 forbids sending again on the same connection: what is not acknowledged in time ends it. Nor is anything sent
   again by the transport on the next one: that is the bus's business (P3). */
static void a_missing_acknowledgement_ends_the_connection(void **state)
{
    const plan wanted = {.withhold = true};
    (void)state;
    site *it = site_prepare(&wanted);
    it->options.ack_timeout_ms = 200;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    site_send(it, 1);
    site_send(it, 2);
    mqtt_host_wait(&it->host, &it->host.downs, 1);
    assert_non_null(strstr(it->host.last_down.reason.text, "did not acknowledge a message within 200 ms"));
    mqtt_host_wait(&it->host, &it->host.ups, 2);
    site_send(it, 3);
    site_wait(it, &it->plan.publishes, 3);
    assert_int_equal(atomic_load(&it->plan.publishes_on_first), 2);
    assert_int_equal(atomic_load(&it->plan.publishes), 3);
    assert_int_equal(atomic_load(&it->plan.dups), 0);
    site_finish(it);
}

static busbar_send_result send_tick(site *it, uint64_t token)
{
    busbar_reason reason;
    const busbar_message tick = {.size = sizeof tick, .token = token, .topic = "tick", .qos = 0};
    return it->host.transport.api->send(it->host.transport.ctx, &tick, &reason);
}

/* Behind a slow link the last of a window waits longer than the timeout, and is no reason to give up. */
static void acknowledgements_in_order_have_time(void **state)
{
    const plan wanted = {.on_tick = true};
    (void)state;
    site *it = site_prepare(&wanted);
    it->options.ack_timeout_ms = 400;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    for (uint64_t token = 1; token <= 8; token++) {
        site_send(it, token);
    }
    for (unsigned i = 0; i < 8; i++) {
        mqtt_host_idle(&it->host, 150);
        assert_int_equal(send_tick(it, 100 + i), BUSBAR_SEND_ACCEPTED);
    }
    mqtt_host_wait(&it->host, &it->host.acked, 16);
    assert_int_equal(it->host.downs, 0);
    site_finish(it);
}

/* But one that later ones have overtaken is lost, however lively the connection is. */
static void an_overtaken_message_does_not_wait_for_ever(void **state)
{
    const plan wanted = {.forget = 1};
    (void)state;
    site *it = site_prepare(&wanted);
    it->options.ack_timeout_ms = 400;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    site_send(it, 1);
    for (uint64_t token = 2; it->host.downs == 0 && token < 60; token++) {
        site_send(it, token);
        mqtt_host_idle(&it->host, 50);
    }
    assert_int_equal(it->host.downs, 1);
    assert_non_null(strstr(it->host.last_down.reason.text, "did not acknowledge a message within 400 ms"));
    assert_in_range(it->host.acked, 4, 20);
    site_finish(it);
}

/* The library hands out packet identifiers that are still in use: 65535 messages later an acknowledgement would settle the
   wrong event. */
static void packet_identifiers_never_come_round(void **state)
{
    const plan wanted = {.forget = 1};
    uint64_t token = 1;
    (void)state;
    site *it = site_begin_up(&wanted);
    while (it->host.downs == 0 && token < 70000) {
        if (mqtt_host_send(&it->host, token, "t", "x") == BUSBAR_SEND_ACCEPTED) {
            token++;
        } else if (it->host.up) {
            mqtt_host_idle(&it->host, 1);
        }
        mqtt_host_poll(&it->host);
    }
    assert_int_equal(it->host.downs, 1);
    assert_non_null(strstr(it->host.last_down.reason.text, "did not acknowledge a message, but 50000 after it"));
    site_finish(it);
}

/* ---- The broker's limits -------------------------------------------------------------------------------------------- */

static void the_receive_maximum_bounds_what_is_under_way(void **state)
{
    static const uint8_t three[] = {0x21, 0, 3};
    static const uint8_t many[] = {0x21, 1, 0x90};
    const plan small = {.withhold = true, .properties = three, .properties_size = sizeof three};
    const plan large = {.withhold = true, .properties = many, .properties_size = sizeof many};
    (void)state;
    site *it = site_begin_up(&small);
    assert_int_equal(it->host.last_up.window, 3);
    for (uint64_t token = 1; token <= 3; token++) {
        site_send(it, token);
    }
    assert_int_equal(mqtt_host_send(&it->host, 4, "t", "x"), BUSBAR_SEND_NOT_NOW);
    site_wait(it, &it->plan.publishes, 3);
    site_finish(it);

    it = site_prepare(&large); /* libmosquitto would let a larger value replace ours */
    it->options.window = 5;
    mqtt_host_start(&it->host, &it->options);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    assert_int_equal(it->host.last_up.window, 5);
    for (uint64_t token = 1; token <= 5; token++) {
        site_send(it, token);
    }
    assert_int_equal(mqtt_host_send(&it->host, 6, "t", "x"), BUSBAR_SEND_NOT_NOW);
    site_wait(it, &it->plan.publishes, 5);
    mqtt_host_idle(&it->host, 50);
    assert_int_equal(atomic_load(&it->plan.most_unacked), 5);
    site_finish(it);
}

/* libmosquitto's own window is 20 where the broker tells none. */
static void without_a_receive_maximum_the_whole_window_is_under_way(void **state)
{
    (void)state;
    for (int version = 4; version <= 5; version++) {
        const plan wanted = {.withhold = true};
        site *it = site_prepare(&wanted);
        it->options.protocol = (busbar_mosquitto_protocol)version;
        it->options.window = 60;
        mqtt_host_start(&it->host, &it->options);
        mqtt_host_wait(&it->host, &it->host.ups, 1);
        for (uint64_t token = 1; token <= 60; token++) {
            site_send(it, token);
        }
        site_wait(it, &it->plan.publishes, 60);
        site_finish(it);
    }
}

/* libmosquitto 2.0.11 aborts the process for a message that it holds when a connection brings a smaller limit (P11). */
static void a_smaller_limit_after_reconnecting_is_survived(void **state)
{
    static const uint8_t limit_1000[] = {0x27, 0, 0, 3, 0xe8};
    static const uint8_t limit_60[] = {0x27, 0, 0, 0, 60};
    const plan wanted = {.disconnect_code = 0x8b,
                         .properties = limit_1000,
                         .properties_size = sizeof limit_1000,
                         .later_properties = limit_60,
                         .later_properties_size = sizeof limit_60};
    char payload[501];
    (void)state;
    memset(payload, 'x', 500);
    payload[500] = '\0';
    site *it = site_begin_up(&wanted);
    assert_int_equal(mqtt_host_send(&it->host, 1, "t", payload), BUSBAR_SEND_ACCEPTED);
    for (uint64_t token = 2; token <= 20; token++) { /* as many as get in before the peer ends the connection */
        (void)mqtt_host_send(&it->host, token, "t", payload);
    }
    mqtt_host_wait(&it->host, &it->host.ups, 2);
    assert_int_equal(mqtt_host_send(&it->host, 21, "t", payload), BUSBAR_SEND_DEAD);
    for (size_t size = 30; size <= 60; size++) { /* up to the very limit */
        payload[size] = '\0';
        busbar_send_result result = mqtt_host_send(&it->host, 100 + size, "t", payload);
        assert_true(result == BUSBAR_SEND_ACCEPTED || (result == BUSBAR_SEND_DEAD && size > 40));
        payload[size] = 'x';
        mqtt_host_idle(&it->host, 1);
    }
    assert_int_equal(mqtt_host_send(&it->host, 200, "t", "x"), BUSBAR_SEND_ACCEPTED);
    while (it->host.last_token != 200) {
        mqtt_host_wait(&it->host, &it->host.acked, it->host.acked + 1);
    }
    assert_int_equal(it->host.downs, 1);
    site_finish(it);
}

static void a_broker_without_qos_says_so_at_once(void **state)
{
    static const uint8_t at_most_once[] = {0x24, 0};
    const plan wanted = {.properties = at_most_once, .properties_size = sizeof at_most_once};
    busbar_reason reason = {0};
    (void)state;
    site *it = site_begin_up(&wanted);
    busbar_message message = {.size = sizeof message, .token = 1, .topic = "t", .qos = 1};
    assert_int_equal(it->host.transport.api->send(it->host.transport.ctx, &message, &reason), BUSBAR_SEND_DEAD);
    assert_string_equal(reason.text, "QoS 1 is asked for, the broker takes 0");
    message.qos = 0;
    assert_int_equal(it->host.transport.api->send(it->host.transport.ctx, &message, &reason), BUSBAR_SEND_ACCEPTED);
    mqtt_host_wait(&it->host, &it->host.acked, 1);
    site_finish(it);
}

/* The size that decides whether a message is dead is the size on the wire. */
static void sizes_are_those_on_the_wire(void **state)
{
    static const size_t payloads[] = {0, 1, 100, 110, 120, 127, 128, 129, 16370, 16384, 100000};
    static char bytes[100000];
    (void)state;
    for (int version = 4; version <= 5; version++) {
        const plan wanted = {0};
        site *it = site_prepare(&wanted);
        it->options.protocol = (busbar_mosquitto_protocol)version;
        mqtt_host_start(&it->host, &it->options);
        mqtt_host_wait(&it->host, &it->host.ups, 1);
        const bb_mosquitto_limits limits = {.v5 = version == 5, .max_qos = 2};
        uint64_t token = 0;
        for (size_t i = 0; i < sizeof payloads / sizeof payloads[0] * 4; i++) {
            busbar_reason reason;
            const busbar_message message = {
                .size = sizeof message,
                .token = ++token,
                .topic = "devices/a/temperature",
                .payload = bytes,
                .payload_size_bytes = payloads[i / 4],
                .content_type = (i & 2) != 0 ? "application/cloudevents+json" : NULL,
                .expiry_s = (i & 1) != 0 ? 100 : 0,
                .qos = 1,
            };
            assert_int_equal(it->host.transport.api->send(it->host.transport.ctx, &message, &reason),
                             BUSBAR_SEND_ACCEPTED);
            mqtt_host_wait(&it->host, &it->host.acked, (unsigned)token);
            assert_int_equal(bb_mosquitto_packet_size(&limits, &message), atomic_load(&it->plan.last_wire_size));
        }
        site_finish(it);
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(every_reason_code_has_its_outcome),
        cmocka_unit_test(a_used_packet_identifier_ends_the_connection),
        cmocka_unit_test(a_refusal_passes_the_brokers_words_on),
        cmocka_unit_test(a_missing_acknowledgement_ends_the_connection),
        cmocka_unit_test(acknowledgements_in_order_have_time),
        cmocka_unit_test(an_overtaken_message_does_not_wait_for_ever),
        cmocka_unit_test(packet_identifiers_never_come_round),
        cmocka_unit_test(the_receive_maximum_bounds_what_is_under_way),
        cmocka_unit_test(without_a_receive_maximum_the_whole_window_is_under_way),
        cmocka_unit_test(a_smaller_limit_after_reconnecting_is_survived),
        cmocka_unit_test(a_broker_without_qos_says_so_at_once),
        cmocka_unit_test(sizes_are_those_on_the_wire),
    };
    return cmocka_run_group_tests_name("mosquitto messages", cases, NULL, NULL);
}
