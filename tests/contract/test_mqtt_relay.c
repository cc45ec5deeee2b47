/* SPDX-License-Identifier: MIT */
/*
 * A whole bus against an MQTT broker that misbehaves, each way on its own: the status says what happened in words that name
 * the cause, no event is lost (P3), what is the connection's fault is not counted against an event (P6), what is an event's
 * fault holds no other up (P11), and as soon as the broker behaves, everything arrives.
 */
#include "test.h"

#include "mqtt_bus.h"
#include "mqtt_host.h"

#define EVENTS 5u

typedef struct trap {
    mqtt_illness *illness;
    unsigned code;
    const uint8_t *properties;
    size_t properties_size;
    busbar_mosquitto_protocol protocol;
    busbar_qos qos;
    uint32_t window;           /* of the route */
    uint32_t transport_window; /* 0: its default */
} trap;

typedef struct ground {
    mqtt_receiver receiver;
    mqtt_bus bus;
} ground;

/* ---- Setting and leaving ---------------------------------------------------------------------------------------------- */

static ground *enter(const trap *set)
{
    ground *it = calloc(1, sizeof *it);

    assert_non_null(it);
    it->receiver.illness = set->illness;
    it->receiver.code = set->code;
    it->receiver.properties = set->properties;
    it->receiver.properties_size = set->properties_size;
    mqtt_receiver_start(&it->receiver);
    busbar_mosquitto_options options = mqtt_host_options(mqtt_peer_port(it->receiver.peer));
    options.protocol = set->protocol;
    options.window = set->transport_window;
    options.connect_timeout_ms = 300;
    options.ack_timeout_ms = 300;
    busbar_route route = mqtt_bus_route();
    route.qos = set->qos;
    route.window = set->window;
    mqtt_bus_open(&it->bus, &route, &options);
    mqtt_bus_publish(&it->bus, EVENTS);
    return it;
}

static void leave(ground *it)
{
    mqtt_bus_close(&it->bus);
    mqtt_receiver_stop(&it->receiver);
    free(it);
}

/* The broker gets well; what is not a dead letter must arrive, what comes after it too, and no error stays. */
static void expect_recovery(ground *it, unsigned dead)
{
    atomic_store(&it->receiver.well, true);
    mqtt_bus_publish(&it->bus, 3);
    mqtt_bus_await_delivered(&it->bus, it->bus.published - dead);
    assert_int_equal(it->bus.progress.delivered, it->bus.published - dead);
    assert_int_equal(it->bus.progress.dead, dead);
    assert_int_equal(it->bus.progress.retrying, 0);
    assert_int_equal(mqtt_receiver_taken(&it->receiver, it->bus.published), it->bus.published - dead);
    mqtt_bus_await_error(&it->bus, NULL);
}

/* The fault of the connection: told, not counted, survived. */
static void expect_link_fault(const trap *set, const char *told)
{
    ground *it = enter(set);
    mqtt_bus_await_error(&it->bus, told);
    mqtt_bus_idle(&it->bus, 50);
    for (unsigned n = 1; n <= EVENTS; n++) {
        assert_int_equal(mqtt_bus_attempts(&it->bus, n), 0);
    }
    expect_recovery(it, 0);
    leave(it);
}

/* ---- Connections that are refused, silent or lost ---------------------------------------------------------------------- */

static bool refuses(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    if (packet->type == MQTT_PEER_CONNECT && packet->version == 5) {
        mqtt_peer_connack(peer, it->code, NULL, 0);
    } else if (packet->type == MQTT_PEER_CONNECT) {
        mqtt_peer_connack_v311(peer, it->code);
    }
    return packet->type == MQTT_PEER_CONNECT;
}

static void a_refused_connection_is_told(void **state)
{
    static const struct {
        busbar_mosquitto_protocol protocol;
        unsigned code;
        const char *told;
    } cases[] = {
        {BUSBAR_MOSQUITTO_V5, 0x80, "refused the connection: unspecified error (0x80)"},
        {BUSBAR_MOSQUITTO_V5, 0x85, "client identifier not valid (0x85); choose another client_id"},
        {BUSBAR_MOSQUITTO_V5, 0x86, "bad user name or password (0x86); check username and password"},
        {BUSBAR_MOSQUITTO_V5, 0x87, "not authorized (0x87); check username, password"},
        {BUSBAR_MOSQUITTO_V5, 0x88, "refused the connection: server unavailable (0x88)"},
        {BUSBAR_MOSQUITTO_V5, 0x97, "refused the connection: quota exceeded (0x97)"},
        {BUSBAR_MOSQUITTO_V5, 0x9f, "refused the connection: connection rate exceeded (0x9f)"},
        {BUSBAR_MOSQUITTO_V5, 0x01, "refused the connection: unknown reason (0x01)"},
        {BUSBAR_MOSQUITTO_V311, 1, "unsupported protocol version (0x84)"},
        {BUSBAR_MOSQUITTO_V311, 2, "client identifier not valid (0x85)"},
        {BUSBAR_MOSQUITTO_V311, 3, "server unavailable (0x88)"},
        {BUSBAR_MOSQUITTO_V311, 4, "bad user name or password (0x86)"},
        {BUSBAR_MOSQUITTO_V311, 5, "not authorized (0x87)"},
        {BUSBAR_MOSQUITTO_V311, 99, "unspecified error (0x80)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const trap set = {.illness = refuses, .code = cases[i].code, .protocol = cases[i].protocol};
        expect_link_fault(&set, cases[i].told);
    }
}

static bool never_answers(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    (void)it;
    (void)peer;
    (void)packet;
    return true;
}

static void a_peer_that_never_answers_is_told(void **state)
{
    (void)state;
    expect_link_fault(&(trap){.illness = never_answers}, "did not answer within 300 ms");
}

/* From the second connection on the broker stays silent, so that what the first one told stands in the status. */
static bool is_later(const mqtt_peer_packet *packet)
{
    return packet->connection > 1;
}

static bool disconnects(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    if (packet->type == MQTT_PEER_PUBLISH) {
        mqtt_peer_disconnect(peer, it->code);
    }
    return packet->type == MQTT_PEER_PUBLISH || is_later(packet);
}

/* libmosquitto's loops take it for the application's own wish, and end for good. */
static void a_disconnect_by_the_broker_is_told(void **state)
{
    static const struct {
        unsigned code;
        const char *told;
    } cases[] = {
        {0x8b, "ended the connection: server shutting down (0x8b)"},
        {0x8d, "ended the connection: keep alive timeout (0x8d)"},
        {0x8e, "session taken over (0x8e); another client uses the same client_id"},
        {0x93, "ended the connection: receive maximum exceeded (0x93)"},
        {0x96, "message rate too high (0x96); set the route's rate limit"},
        {0x98, "ended the connection: administrative action (0x98)"},
        {0x00, "closed the connection"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_link_fault(&(trap){.illness = disconnects, .code = cases[i].code}, cases[i].told);
    }
}

static bool disconnects_and_leaves(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    if (packet->type == MQTT_PEER_PUBLISH && !is_later(packet)) {
        mqtt_peer_disconnect(peer, it->code);
        mqtt_peer_hang_up(peer, false);
    }
    return packet->type == MQTT_PEER_PUBLISH || is_later(packet);
}

/* A broker that says why and closes at once, while we are still sending: the library finds the broken pipe, closes the
   socket and leaves the reason unread. */
static void a_disconnect_is_told_even_if_we_are_still_sending(void **state)
{
    unsigned told = 0;
    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        ground *it = enter(&(trap){.illness = disconnects_and_leaves, .code = 0x8e, .window = 1000});
        mqtt_bus_publish(&it->bus, 500);
        mqtt_bus_await_error(&it->bus, "127.0.0.1:");
        told += strstr(it->bus.last_error, "session taken over (0x8e)") != NULL;
        leave(it);
    }
    assert_in_range(told, 9, 10);
}

static bool hangs_up(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    if (packet->type == it->code && !is_later(packet)) {
        mqtt_peer_hang_up(peer, false);
    }
    return packet->type == it->code || is_later(packet);
}

static bool resets(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    if (packet->type == it->code && !is_later(packet)) {
        mqtt_peer_hang_up(peer, true);
    }
    return packet->type == it->code || is_later(packet);
}

static void a_lost_connection_is_told(void **state)
{
    (void)state;
    for (int protocol = 4; protocol <= 5; protocol++) {
        trap set = {.illness = hangs_up, .protocol = (busbar_mosquitto_protocol)protocol};
        set.code = MQTT_PEER_CONNECT;
        expect_link_fault(&set, "closed the connection before it accepted the connection");
        set.code = MQTT_PEER_PUBLISH;
        expect_link_fault(&set, "closed the connection");
        set.illness = resets;
        expect_link_fault(&set, "onnection"); /* reset or closed: the kernel's choice */
        set.code = MQTT_PEER_CONNECT;
        expect_link_fault(&set, "before it accepted the connection");
    }
}

/* ---- Acknowledgements ---------------------------------------------------------------------------------------------------- */

static bool withholds(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    (void)it;
    (void)peer;
    return packet->type == MQTT_PEER_PUBLISH;
}

static void a_missing_acknowledgement_is_told(void **state)
{
    (void)state;
    expect_link_fault(&(trap){.illness = withholds}, "did not acknowledge a message within 300 ms");
    expect_link_fault(&(trap){.illness = withholds, .qos = BUSBAR_QOS_2}, "did not acknowledge a message within");
    expect_link_fault(&(trap){.illness = withholds, .protocol = BUSBAR_MOSQUITTO_V311},
                      "did not acknowledge a message within");
}

/* QoS 2 has two ways to get stuck. */
static bool withholds_completion(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    (void)it;
    (void)peer;
    return packet->type == MQTT_PEER_PUBREL;
}

static void a_missing_completion_is_told(void **state)
{
    (void)state;
    expect_link_fault(&(trap){.illness = withholds_completion, .qos = BUSBAR_QOS_2},
                      "did not acknowledge a message within 300 ms");
}

/* An acknowledgement of another kind than the message's, or of what nobody sent in this version. */
static bool answers_with(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    if (packet->type == MQTT_PEER_PUBLISH) {
        mqtt_peer_acknowledge(peer, it->code, packet->mid, 0);
    }
    return packet->type == MQTT_PEER_PUBLISH;
}

static void an_acknowledgement_of_the_wrong_kind_settles_nothing(void **state)
{
    static const struct {
        busbar_qos qos;
        unsigned kind;
    } cases[] = {{BUSBAR_QOS_1, MQTT_PEER_PUBREC}, {BUSBAR_QOS_1, MQTT_PEER_PUBCOMP}, {BUSBAR_QOS_2, MQTT_PEER_PUBACK}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const trap set = {.illness = answers_with, .code = cases[i].kind, .qos = cases[i].qos};
        ground *it = enter(&set);
        mqtt_bus_await_error(&it->bus, "127.0.0.1");
        assert_int_equal(it->bus.progress.delivered, 0);
        expect_recovery(it, 0);
        leave(it);
    }
}

static bool answers_another(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    if (packet->type == MQTT_PEER_PUBLISH) {
        mqtt_peer_acknowledge(peer, MQTT_PEER_PUBACK, (uint16_t)(packet->mid + it->code), 0);
    }
    return packet->type == MQTT_PEER_PUBLISH;
}

static void an_acknowledgement_of_an_unknown_message_settles_nothing(void **state)
{
    static const unsigned distances[] = {20, 1000, 65000};
    (void)state;
    for (size_t i = 0; i < sizeof distances / sizeof distances[0]; i++) {
        const trap set = {.illness = answers_another, .code = distances[i], .window = 4};
        ground *it = enter(&set);
        mqtt_bus_await_error(&it->bus, "did not acknowledge a message within 300 ms");
        assert_int_equal(it->bus.progress.delivered, 0);
        expect_recovery(it, 0);
        leave(it);
    }
}

static bool answers_twice(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    if (packet->type == MQTT_PEER_PUBLISH) {
        mqtt_receiver_serve(it, peer, packet);
        mqtt_peer_acknowledge(peer, MQTT_PEER_PUBACK, packet->mid, 0);
        if (packet->mid > 1) { /* and an old one again */
            mqtt_peer_acknowledge(peer, MQTT_PEER_PUBACK, 1, 0);
        }
    }
    return packet->type == MQTT_PEER_PUBLISH;
}

/* The library counts each of them as room in the broker: the window must be ours. */
static void acknowledgements_that_come_twice_count_once(void **state)
{
    const trap set = {.illness = answers_twice, .window = 2};
    (void)state;
    ground *it = enter(&set);
    mqtt_bus_publish(&it->bus, 200);
    mqtt_bus_await_delivered(&it->bus, 200 + EVENTS);
    assert_int_equal(atomic_load(&it->receiver.connects), 1);
    for (unsigned n = 1; n <= 200 + EVENTS; n++) {
        assert_int_equal(atomic_load(&it->receiver.arrived[n]), 1);
    }
    expect_recovery(it, 0);
    leave(it);
}

static bool answers_late(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    if (packet->type == MQTT_PEER_PUBLISH) {
        atomic_fetch_add(&it->taken[mqtt_receiver_number(packet)], 1);
        it->mids[it->mid_count++] = packet->mid;
        mqtt_peer_call_in(peer, it->code);
    } else if (packet->type == MQTT_PEER_CALLED) {
        while (it->mid_count > 0) { /* and in the wrong order */
            mqtt_peer_acknowledge(peer, MQTT_PEER_PUBACK, it->mids[--it->mid_count], 0);
        }
    }
    return packet->type == MQTT_PEER_PUBLISH || packet->type == MQTT_PEER_CALLED;
}

static void late_acknowledgements_in_any_order_are_taken(void **state)
{
    const trap set = {.illness = answers_late, .code = 100};
    (void)state;
    ground *it = enter(&set);
    mqtt_bus_await_delivered(&it->bus, EVENTS);
    assert_int_equal(atomic_load(&it->receiver.connects), 1);
    for (unsigned n = 1; n <= EVENTS; n++) {
        assert_int_equal(atomic_load(&it->receiver.arrived[n]), 1);
    }
    expect_recovery(it, 0);
    leave(it);
}

/* Too late: the connection is gone by then, and the event is sent again on the next one, not flagged as a duplicate, for
   the broker knows nothing of the first one there. */
static void an_acknowledgement_that_comes_too_late_costs_a_duplicate(void **state)
{
    const trap set = {.illness = answers_late, .code = 100000};
    (void)state;
    ground *it = enter(&set);
    mqtt_bus_await_error(&it->bus, "did not acknowledge a message within 300 ms");
    expect_recovery(it, 0);
    assert_true(atomic_load(&it->receiver.arrived[1]) > 1);
    assert_int_equal(atomic_load(&it->receiver.duplicates_flagged), 0);
    leave(it);
}

/* ---- Refusals ------------------------------------------------------------------------------------------------------------ */

static bool refuses_messages(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    if (packet->type == MQTT_PEER_PUBLISH) {
        bool qos_1 = (packet->flags & 0x06) == 0x02;
        mqtt_peer_acknowledge(peer, qos_1 ? MQTT_PEER_PUBACK : MQTT_PEER_PUBREC, packet->mid, it->code);
    }
    return packet->type == MQTT_PEER_PUBLISH;
}

/* The plain publish callback of libmosquitto takes them for success, or for QoS 2 is never called at all. */
static void a_refusal_for_now_is_told_counted_and_tried_again(void **state)
{
    static const struct {
        unsigned code;
        const char *told;
    } cases[] = {{0x80, "the broker refused the message: unspecified error (0x80)"},
                 {0x87, "not authorized (0x87); check username, password and the broker's access rules"},
                 {0x97, "the broker refused the message: quota exceeded (0x97)"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int qos = BUSBAR_QOS_1; qos <= BUSBAR_QOS_2; qos++) {
            const trap set = {.illness = refuses_messages, .code = cases[i].code, .qos = (busbar_qos)qos};
            ground *it = enter(&set);
            mqtt_bus_await_error(&it->bus, cases[i].told);
            mqtt_bus_await(&it->bus, &it->receiver.publishes, EVENTS * 3);
            assert_true(mqtt_bus_attempts(&it->bus, 1) >= 1);
            assert_int_equal(it->bus.progress.delivered, 0);
            expect_recovery(it, 0);
            assert_int_equal(atomic_load(&it->receiver.connects), 1);
            leave(it);
        }
    }
}

static bool refuses_the_second(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    return packet->type == MQTT_PEER_PUBLISH && mqtt_receiver_number(packet) == 2 && refuses_messages(it, peer, packet);
}

static void a_refusal_for_good_is_a_dead_letter_at_once(void **state)
{
    static const struct {
        unsigned code;
        const char *told;
    } cases[] = {{0x83, "implementation specific error (0x83); the message may be too large for the broker"},
                 {0x90, "topic name invalid (0x90); check the route's topic"},
                 {0x95, "packet too large (0x95)"},
                 {0x99, "payload format invalid (0x99)"},
                 {0x9b, "QoS not supported (0x9b); choose a lower QoS for the route"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int qos = BUSBAR_QOS_1; qos <= BUSBAR_QOS_2; qos++) {
            const trap set = {.illness = refuses_the_second, .code = cases[i].code, .qos = (busbar_qos)qos};
            ground *it = enter(&set);
            mqtt_bus_await_delivered(&it->bus, EVENTS - 1);
            expect_recovery(it, 1);
            assert_int_equal(atomic_load(&it->receiver.arrived[2]), 1);
            if (strstr(mqtt_bus_grave(&it->bus, 2), cases[i].told) == NULL) {
                fail_msg("no '%s' in: '%s'", cases[i].told, mqtt_bus_grave(&it->bus, 2));
            }
            leave(it);
        }
    }
}

static void a_used_packet_identifier_is_the_connections_fault(void **state)
{
    (void)state;
    expect_link_fault(&(trap){.illness = refuses_messages, .code = 0x91}, "packet identifier in use (0x91)");
    expect_link_fault(&(trap){.illness = refuses_messages, .code = 0x91, .qos = BUSBAR_QOS_2},
                      "packet identifier in use (0x91)");
}

/* A refused QoS 2 message must give its place in the library's window back. */
static void refusals_do_not_use_the_window_up(void **state)
{
    static const uint8_t three[] = {0x21, 0, 3};
    (void)state;
    for (int qos = BUSBAR_QOS_1; qos <= BUSBAR_QOS_2; qos++) {
        const trap set = {.illness = refuses_messages,
                          .code = 0x99,
                          .qos = (busbar_qos)qos,
                          .properties = three,
                          .properties_size = sizeof three};
        ground *it = enter(&set);
        mqtt_bus_publish(&it->bus, 100);
        mqtt_bus_await(&it->bus, &it->receiver.publishes, 100 + EVENTS);
        expect_recovery(it, 100 + EVENTS);
        assert_int_equal(atomic_load(&it->receiver.connects), 1);
        leave(it);
    }
}

/* ---- Limits ---------------------------------------------------------------------------------------------------------------- */

/* Lets three come together before it acknowledges any. */
static bool waits_for_three(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    if (packet->type == MQTT_PEER_PUBLISH) {
        it->mids[it->mid_count++] = packet->mid;
        atomic_fetch_add(&it->taken[mqtt_receiver_number(packet)], 1);
        if (it->mid_count > it->code) {
            mqtt_peer_disconnect(peer, 0x93);
        } else {
            mqtt_peer_call_in(peer, 50);
        }
    } else if (packet->type == MQTT_PEER_CALLED) {
        for (unsigned i = 0; i < it->mid_count; i++) {
            mqtt_peer_acknowledge(peer, MQTT_PEER_PUBACK, it->mids[i], 0);
        }
        it->mid_count = 0;
    }
    return packet->type == MQTT_PEER_PUBLISH || packet->type == MQTT_PEER_CALLED;
}

/* Below our window it bounds us; above it, it must not replace ours. */
static void the_receive_maximum_is_kept(void **state)
{
    static const uint8_t three[] = {0x21, 0, 3}, many[] = {0x21, 1, 0x90};
    const trap cases[] = {
        {.illness = waits_for_three, .code = 3, .properties = three, .properties_size = sizeof three, .window = 20},
        {.illness = waits_for_three,
         .code = 3,
         .properties = many,
         .properties_size = sizeof many,
         .transport_window = 3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ground *it = enter(&cases[i]);
        mqtt_bus_publish(&it->bus, 10);
        mqtt_bus_await_delivered(&it->bus, 10 + EVENTS);
        assert_int_equal(atomic_load(&it->receiver.connects), 1);
        expect_recovery(it, 0);
        leave(it);
    }
}

static void await_settled(ground *it)
{
    uint64_t begun_us = scratch_now_us();

    mqtt_bus_look(&it->bus);
    while (it->bus.progress.delivered + it->bus.progress.dead < it->bus.published) {
        assert_true(scratch_now_us() - begun_us < (uint64_t)MQTT_BUS_DEADLINE_MS * 1000);
        mqtt_bus_step(&it->bus, 20);
        mqtt_bus_look(&it->bus);
    }
}

/* libmosquitto 2.0.11 ends the process for it. */
static void what_is_above_the_maximum_packet_size_is_a_dead_letter(void **state)
{
    static const uint8_t limit_1000[] = {0x27, 0, 0, 3, 0xe8};
    const trap set = {.properties = limit_1000, .properties_size = sizeof limit_1000};
    (void)state;
    ground *it = enter(&set);
    for (size_t size = 600; size <= 1000; size++) {
        mqtt_bus_publish_large(&it->bus, size);
    }
    mqtt_bus_publish_large(&it->bus, 60000);
    unsigned last = it->bus.published;
    await_settled(it);
    assert_in_range(it->bus.progress.dead, 100, 400);
    assert_non_null(strstr(mqtt_bus_grave(&it->bus, last), "bytes, the broker takes 1000 less a margin of 8"));
    assert_int_equal(atomic_load(&it->receiver.connects), 1);
    expect_recovery(it, (unsigned)it->bus.progress.dead);
    leave(it);
}

/* A limit below what any event needs: everything is a dead letter with a reason, and nothing loops. */
static void a_maximum_packet_size_that_fits_nothing_is_told(void **state)
{
    static const uint8_t limits[][5] = {{0x27, 0, 0, 0, 1}, {0x27, 0, 0, 0, 8}, {0x27, 0, 0, 0, 60}};
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const trap set = {.properties = limits[i], .properties_size = sizeof limits[i]};
        ground *it = enter(&set);
        await_settled(it);
        assert_non_null(strstr(mqtt_bus_grave(&it->bus, 1), "the broker takes"));
        assert_int_equal(atomic_load(&it->receiver.connects), 1);
        leave(it);
    }
}

/* ---- Words nobody asked for ----------------------------------------------------------------------------------------------- */

static bool is_talkative(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    static const struct {
        uint8_t bytes[24];
        size_t size;
    } words[] = {
        {{0x30, 5, 0, 1, 't', 0, 'x'}, 7},                      /* PUBLISH, QoS 0 */
        {{0x32, 7, 0, 1, 't', 0, 9, 0, 'x'}, 9},                /* QoS 1 */
        {{0x34, 7, 0, 1, 't', 0, 9, 0, 'x'}, 9},                /* QoS 2 */
        {{0x62, 3, 0, 9, 0}, 5},                                /* PUBREL */
        {{0x62, 3, 0, 8, 0}, 5},                                /* PUBREL of nothing */
        {{0xd0, 0}, 2},                                         /* PINGRESP */
        {{0x50, 3, 0, 77, 0}, 5},                               /* PUBREC of nothing */
        {{0x70, 3, 0, 77, 0}, 5},                               /* PUBCOMP of nothing */
        {{0x40, 2, 0, 77}, 4},                                  /* PUBACK of nothing, in short */
        {{0x90, 4, 0, 5, 0, 0}, 6},                             /* SUBACK */
        {{0xb0, 4, 0, 5, 0, 0}, 6},                             /* UNSUBACK */
        {{0x20, 3, 0, 0, 0}, 5},                                /* a second CONNACK */
        {{0xf0, 2, 0x18, 0}, 4},                                /* AUTH */
        {{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 9}, 12}, /* CONNECT */
        {{0x00, 0}, 2},                                         /* no such packet */
        {{0xc0, 0}, 2},                                         /* PINGREQ */
    };
    if (packet->type == MQTT_PEER_PUBLISH && it->code < sizeof words / sizeof words[0] && !is_later(packet)) {
        mqtt_peer_send(peer, words[it->code].bytes, words[it->code].size);
        mqtt_receiver_serve(it, peer, packet);
        return true;
    }
    return false;
}

/* Whether the library takes it, ignores it or gives the connection up: everything arrives. */
static void packets_nobody_asked_for_are_survived(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        for (int protocol = 4; protocol <= 5; protocol++) {
            const trap set = {.illness = is_talkative, .code = i, .protocol = (busbar_mosquitto_protocol)protocol};
            ground *it = enter(&set);
            mqtt_bus_await_delivered(&it->bus, EVENTS);
            expect_recovery(it, 0);
            leave(it);
        }
    }
}

/* ---- CONNACKs with something in them ------------------------------------------------------------------------------------- */

static bool keeps_a_session(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    static const uint8_t v5[] = {0x20, 3, 1, 0, 0}, v311[] = {0x20, 2, 1, 0};
    (void)it;
    if (packet->type == MQTT_PEER_CONNECT) {
        mqtt_peer_send(peer, packet->version == 5 ? v5 : v311, packet->version == 5 ? sizeof v5 : sizeof v311);
    }
    return packet->type == MQTT_PEER_CONNECT;
}

/* We ask for a clean start; a broker that says otherwise has nothing of ours that could do harm. */
static void a_session_nobody_wanted_is_survived(void **state)
{
    (void)state;
    for (int protocol = 4; protocol <= 5; protocol++) {
        const trap set = {.illness = keeps_a_session, .protocol = (busbar_mosquitto_protocol)protocol};
        ground *it = enter(&set);
        mqtt_bus_await_delivered(&it->bus, EVENTS);
        expect_recovery(it, 0);
        leave(it);
    }
}

static bool renames_the_client(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    static const uint8_t assigned[] = {0x12, 0, 3, 'y', 'o', 'u'};
    (void)it;
    if (packet->type == MQTT_PEER_CONNECT) {
        mqtt_peer_connack(peer, 0, assigned, sizeof assigned);
    }
    return packet->type == MQTT_PEER_CONNECT;
}

static void another_client_id_from_the_broker_is_told(void **state)
{
    (void)state;
    expect_link_fault(&(trap){.illness = renames_the_client}, "before it accepted the connection: ");
}

/* The broker's keepalive replaces ours: it must hear from us in that time. */
static void the_brokers_keepalive_is_kept(void **state)
{
    static const uint8_t one_second[] = {0x13, 0, 1};
    const trap set = {.properties = one_second, .properties_size = sizeof one_second};
    (void)state;
    ground *it = enter(&set);
    mqtt_bus_await_delivered(&it->bus, EVENTS);
    mqtt_bus_idle(&it->bus, 3000);
    assert_int_equal(atomic_load(&it->receiver.connects), 1);
    expect_recovery(it, 0);
    assert_int_equal(atomic_load(&it->receiver.connects), 1);
    leave(it);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_refused_connection_is_told),
        cmocka_unit_test(a_peer_that_never_answers_is_told),
        cmocka_unit_test(a_disconnect_by_the_broker_is_told),
        cmocka_unit_test(a_disconnect_is_told_even_if_we_are_still_sending),
        cmocka_unit_test(a_lost_connection_is_told),
        cmocka_unit_test(a_missing_acknowledgement_is_told),
        cmocka_unit_test(a_missing_completion_is_told),
        cmocka_unit_test(an_acknowledgement_of_the_wrong_kind_settles_nothing),
        cmocka_unit_test(an_acknowledgement_of_an_unknown_message_settles_nothing),
        cmocka_unit_test(acknowledgements_that_come_twice_count_once),
        cmocka_unit_test(late_acknowledgements_in_any_order_are_taken),
        cmocka_unit_test(an_acknowledgement_that_comes_too_late_costs_a_duplicate),
        cmocka_unit_test(a_refusal_for_now_is_told_counted_and_tried_again),
        cmocka_unit_test(a_refusal_for_good_is_a_dead_letter_at_once),
        cmocka_unit_test(a_used_packet_identifier_is_the_connections_fault),
        cmocka_unit_test(refusals_do_not_use_the_window_up),
        cmocka_unit_test(the_receive_maximum_is_kept),
        cmocka_unit_test(what_is_above_the_maximum_packet_size_is_a_dead_letter),
        cmocka_unit_test(a_maximum_packet_size_that_fits_nothing_is_told),
        cmocka_unit_test(packets_nobody_asked_for_are_survived),
        cmocka_unit_test(a_session_nobody_wanted_is_survived),
        cmocka_unit_test(another_client_id_from_the_broker_is_told),
        cmocka_unit_test(the_brokers_keepalive_is_kept),
    };
    return cmocka_run_group_tests_name("a bus and a broker that misbehaves", cases, NULL, NULL);
}
