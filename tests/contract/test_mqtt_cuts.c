/* SPDX-License-Identifier: MIT */
/*
 * The connection cut after every single byte: of connecting, publishing and being acknowledged, by the transport alone and
 * under a whole bus, in the clear and through TLS. Whatever the byte, nothing is lost or settled twice (P3), nothing waits
 * for ever, and the next connection goes on. With the argument "full" no byte is left out.
 */
#include "test.h"

#include <stdatomic.h>

#include "broker.h"
#include "mqtt_bus.h"
#include "mqtt_host.h"
#include "tls_site.h"
#include "wire.h"

static bool full;

static size_t stride(size_t quick)
{
    return full ? 1 : quick;
}

/* ---- The transport alone ------------------------------------------------------------------------------------------------ */

typedef struct run {
    mqtt_host host;
    uint64_t token; /* of the latest attempt */
    unsigned accepted;
} run;

/* One message on its way until it is acknowledged, offered anew whenever a connection took it along. */
static void deliver_one(run *it, const busbar_mosquitto_options *options)
{
    uint64_t deadline_ms = broker_now_ms() + MQTT_HOST_DEADLINE_MS;
    unsigned downs = 0;
    bool under_way = false;

    memset(it, 0, sizeof *it);
    mqtt_host_start(&it->host, options);
    while (it->host.acked == 0) {
        if (broker_now_ms() > deadline_ms) {
            fail_msg("not delivered; the last reason: %s", it->host.last_down.reason.text);
        }
        if (it->host.downs != downs) {
            downs = it->host.downs;
            under_way = false;
        }
        if (!under_way && mqtt_host_send(&it->host, it->token + 1, "t", "payload") == BUSBAR_SEND_ACCEPTED) {
            it->token++;
            it->accepted++;
            under_way = true;
        }
        mqtt_host_idle(&it->host, 1);
    }
}

/* One connection broke at most, and the reason has words; what was acknowledged is the latest attempt, and the peer knows
   of it if it counts. */
static void expect_delivery_after_break(wire *cable, const busbar_mosquitto_options *options, size_t bytes,
                                        wire_break how, atomic_uint *acknowledged)
{
    run it;
    unsigned before = acknowledged != NULL ? atomic_load(acknowledged) : 0;

    wire_break_after(cable, bytes, how, 1);
    deliver_one(&it, options);
    assert_int_equal(it.host.acked, 1);
    assert_int_equal(it.host.last_token, it.token);
    assert_int_equal(it.host.refused, 0);
    assert_true(it.accepted <= it.host.downs + 1);
    if (it.host.downs > 0) {
        assert_non_null(strstr(it.host.last_down.reason.text, "127.0.0.1:"));
    }
    mqtt_host_stop(&it.host);
    if (acknowledged != NULL) {
        assert_in_range(atomic_load(acknowledged) - before, 1, it.accepted);
    }
}

static void receive_all(mqtt_peer *peer, const mqtt_peer_packet *packet, void *context)
{
    atomic_uint *acknowledged = context;

    if (packet->type == MQTT_PEER_CONNECT) {
        mqtt_peer_accept(peer);
    } else if (packet->type == MQTT_PEER_PUBLISH) {
        atomic_fetch_add(acknowledged, 1);
        mqtt_peer_acknowledge(peer, MQTT_PEER_PUBACK, packet->mid, 0);
    }
}

static size_t length_of_exchange(wire *cable, const busbar_mosquitto_options *options)
{
    run it;

    wire_break_after(cable, 0, WIRE_CLOSE, 0);
    deliver_one(&it, options);
    size_t bytes = wire_carried(cable);
    assert_int_equal(it.host.downs, 0);
    mqtt_host_stop(&it.host);
    return bytes;
}

static void cut_everywhere(busbar_mosquitto_protocol protocol, wire_break how, size_t step)
{
    atomic_uint acknowledged = 0;
    mqtt_peer *peer = mqtt_peer_start(receive_all, &acknowledged);
    wire *cable = wire_start(mqtt_peer_port(peer));
    busbar_mosquitto_options options = mqtt_host_options(wire_port(cable));

    options.protocol = protocol;
    options.reconnect_min_ms = 1;
    options.reconnect_max_ms = 5;
    options.connect_timeout_ms = how == WIRE_STALL ? 100 : 5000;
    options.ack_timeout_ms = options.connect_timeout_ms;
    size_t length = length_of_exchange(cable, &options);
    assert_in_range(length, 50, 150);
    for (size_t bytes = 0; bytes <= length; bytes += step) {
        expect_delivery_after_break(cable, &options, bytes, how, &acknowledged);
    }
    wire_stop(cable);
    mqtt_peer_stop(peer);
}

static void a_message_survives_a_cut_at_every_byte(void **state)
{
    (void)state;
    for (int protocol = 4; protocol <= 5; protocol++) {
        cut_everywhere((busbar_mosquitto_protocol)protocol, WIRE_CLOSE, 1);
        cut_everywhere((busbar_mosquitto_protocol)protocol, WIRE_RESET, 1);
    }
}

/* No end of the connection is ever seen: only the transport's own patience ends it. */
static void a_message_survives_silence_from_every_byte_on(void **state)
{
    (void)state;
    cut_everywhere(BUSBAR_MOSQUITTO_V311, WIRE_STALL, stride(11));
    cut_everywhere(BUSBAR_MOSQUITTO_V5, WIRE_STALL, stride(7));
}

/* ---- Through TLS -------------------------------------------------------------------------------------------------------- */

static void cut_tls(tls_site *site, wire_break how, size_t step, unsigned patience_ms)
{
    wire *cable = wire_start(broker_port(site->broker));
    busbar_mosquitto_options options = tls_site_options(site);

    options.port = (uint16_t)wire_port(cable);
    options.reconnect_min_ms = 1;
    options.reconnect_max_ms = 5;
    options.connect_timeout_ms = patience_ms;
    options.ack_timeout_ms = patience_ms;
    size_t length = length_of_exchange(cable, &options);
    assert_in_range(length, 1000, 10000);
    for (size_t bytes = 0; bytes < length; bytes += step) {
        expect_delivery_after_break(cable, &options, bytes, how, NULL);
    }
    wire_stop(cable);
}

static void a_message_survives_cuts_through_tls(void **state)
{
    tls_site site;
    (void)state;
    if (!broker_available()) {
        print_message("there is no mosquitto to run\n");
        skip();
    }
    tls_site_start(&site, "");
    cut_tls(&site, WIRE_CLOSE, full ? 3 : 61, 5000);
    cut_tls(&site, WIRE_RESET, full ? 3 : 67, 5000);
    cut_tls(&site, WIRE_STALL, full ? 37 : 397, 200);
    tls_site_stop(&site);
}

/* ---- Under a whole bus ---------------------------------------------------------------------------------------------------- */

typedef struct station {
    mqtt_receiver receiver;
    wire *cable;
    mqtt_bus bus;
} station;

static station *open_station(busbar_qos qos, unsigned patience_ms)
{
    station *it = calloc(1, sizeof *it);

    assert_non_null(it);
    mqtt_receiver_start(&it->receiver);
    it->cable = wire_start(mqtt_peer_port(it->receiver.peer));
    busbar_mosquitto_options options = mqtt_host_options(wire_port(it->cable));
    options.reconnect_min_ms = 1;
    options.reconnect_max_ms = 5;
    options.connect_timeout_ms = patience_ms;
    options.ack_timeout_ms = patience_ms;
    busbar_route route = mqtt_bus_route();
    route.qos = qos;
    mqtt_bus_open(&it->bus, &route, &options);
    return it;
}

static void close_station(station *it)
{
    mqtt_bus_close(&it->bus);
    wire_stop(it->cable);
    mqtt_receiver_stop(&it->receiver);
    free(it);
}

/* Ends the present connection; on the next one, which is broken after so many bytes, is the next event. */
static void publish_over_break(station *it, size_t bytes, wire_break how)
{
    wire_break_after(it->cable, bytes, how, 1);
    wire_cut(it->cable);
    mqtt_bus_publish(&it->bus, 1);
    mqtt_bus_await_delivered(&it->bus, it->bus.published);
}

static void break_station(busbar_qos qos, wire_break how, size_t step)
{
    station *it = open_station(qos, how == WIRE_STALL ? 100 : 5000);

    mqtt_bus_publish(&it->bus, 1);
    mqtt_bus_await_delivered(&it->bus, 1);
    size_t length = wire_carried(it->cable) + 2; /* two bytes of the longer number */
    assert_in_range(length, 200, 1000);
    for (size_t bytes = 0; bytes <= length; bytes += step) {
        publish_over_break(it, bytes, how);
    }
    mqtt_bus_await_error(&it->bus, NULL);
    assert_int_equal(it->bus.progress.dead, 0);
    assert_int_equal(it->bus.progress.retrying, 0);
    assert_int_equal(mqtt_receiver_taken(&it->receiver, it->bus.published), it->bus.published);
    for (unsigned n = 1; n <= it->bus.published; n++) { /* the connection before, the broken one, and the good one */
        assert_in_range(atomic_load(&it->receiver.arrived[n]), 1, 3);
        assert_int_equal(mqtt_bus_attempts(&it->bus, n), 0);
    }
    close_station(it);
}

static void a_bus_survives_a_cut_at_every_byte(void **state)
{
    (void)state;
    break_station(BUSBAR_QOS_1, WIRE_CLOSE, stride(7));
    break_station(BUSBAR_QOS_1, WIRE_RESET, stride(11));
    break_station(BUSBAR_QOS_2, WIRE_CLOSE, stride(13));
    break_station(BUSBAR_QOS_1, WIRE_STALL, full ? 5 : 59);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_message_survives_a_cut_at_every_byte),
        cmocka_unit_test(a_message_survives_silence_from_every_byte_on),
        cmocka_unit_test(a_message_survives_cuts_through_tls),
        cmocka_unit_test(a_bus_survives_a_cut_at_every_byte),
    };
    full = count > 1 && strcmp(arguments[1], "full") == 0;
    return cmocka_run_group_tests_name("cuts at every byte", cases, NULL, NULL);
}
