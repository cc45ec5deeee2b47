/* SPDX-License-Identifier: MIT */
/* A bus with a route over MQTT, and a receiver for it. */
#include "test.h"

#include "mqtt_bus.h"

#include <busbar/linux.h>
#include <poll.h>
#include <stdio.h>

#include "mqtt_host.h"

#define STEP_BUDGET_US 10000

/* ---- The bus ---------------------------------------------------------------------------------------------------------- */

static void require(const mqtt_bus *it, int code, const char *what)
{
    busbar_error error = {.code = 0};

    if (code != BUSBAR_OK) {
        busbar_error_get(it->bus, &error);
        fail_msg("%s: %s: %s", what, busbar_error_name(code), error.text);
    }
}

busbar_route mqtt_bus_route(void)
{
    return (busbar_route){.size = sizeof(busbar_route),
                          .name = MQTT_BUS_ROUTE,
                          .topic = "t",
                          .ack_delay_ms = 1,
                          .retry = {.base_ms = 20, .cap_ms = 50, .max_attempts = 1000}};
}

void mqtt_bus_open(mqtt_bus *it, const busbar_route *route, const busbar_mosquitto_options *options)
{
    const busbar_options bus = {
        .size = sizeof bus, .port = busbar_linux_port(), .source = "urn:test:traps", .keep_events = 100000};
    busbar_transport transport;
    busbar_reason reason = {0};

    memset(it, 0, sizeof *it);
    scratch_make(it->directory);
    scratch_path(it->directory, "device.db", it->path);
    assert_int_equal(sqlite3_open(it->path, &it->db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(it->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(busbar_open(&it->bus, it->db, &bus, NULL), BUSBAR_OK);
    if (busbar_mosquitto_new(options, &transport, &reason) != BUSBAR_OK) {
        fail_msg("%s", reason.text);
    }
    require(it, busbar_route_add(it->bus, route, transport), "add the route");
    assert_true(busbar_fd(it->bus) >= 0);
}

void mqtt_bus_close(mqtt_bus *it)
{
    require(it, busbar_close(it->bus), "close");
    assert_int_equal(sqlite3_close(it->db), SQLITE_OK);
    scratch_remove(it->directory);
}

void mqtt_bus_publish(mqtt_bus *it, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char data[32];
        (void)snprintf(data, sizeof data, "{\"n\":%u}", ++it->published);
        const busbar_event event = {
            .size = sizeof event, .type = "trap.set", .data = data, .data_size_bytes = strlen(data)};
        require(it, busbar_publish(it->bus, &event, NULL), "publish");
    }
}

void mqtt_bus_publish_large(mqtt_bus *it, size_t padding)
{
    char *data = malloc(padding + 64);

    assert_non_null(data);
    int length = snprintf(data, 64, "{\"n\":%u,\"padding\":\"", ++it->published);
    memset(data + length, 'x', padding);
    memcpy(data + length + padding, "\"}", 3);
    const busbar_event event = {
        .size = sizeof event, .type = "trap.set", .data = data, .data_size_bytes = strlen(data)};
    require(it, busbar_publish(it->bus, &event, NULL), "publish");
    free(data);
}

void mqtt_bus_step(mqtt_bus *it, unsigned most_ms)
{
    struct pollfd fd = {.fd = busbar_fd(it->bus), .events = POLLIN};
    uint64_t wait_us = 0;
    uint64_t begun_us = scratch_now_us();

    require(it, busbar_step(it->bus, STEP_BUDGET_US, &wait_us), "step");
    uint64_t took_us = scratch_now_us() - begun_us;
    it->slowest_step_us = took_us > it->slowest_step_us ? took_us : it->slowest_step_us;
    if (wait_us > 0) {
        bool soon = wait_us < (uint64_t)most_ms * 1000;
        (void)poll(&fd, 1, soon ? (int)((wait_us + 999) / 1000) : (int)most_ms);
    }
}

static int look_at(const busbar_consumer_status *consumer, void *context)
{
    mqtt_bus *it = context;

    it->progress = consumer->progress[BUSBAR_NORMAL];
    (void)snprintf(it->last_error, sizeof it->last_error, "%s",
                   consumer->last_error != NULL ? consumer->last_error : "");
    return 0;
}

void mqtt_bus_look(mqtt_bus *it)
{
    require(it, busbar_consumer_list(it->bus, look_at, it), "list the consumers");
}

static void check_patience(const mqtt_bus *it, uint64_t begun_us, const char *what)
{
    if (scratch_now_us() - begun_us > (uint64_t)MQTT_BUS_DEADLINE_MS * 1000) {
        fail_msg("no %s: of %u events %d are delivered, %d dead, %d wait for retry; the last error: '%s'", what,
                 it->published, (int)it->progress.delivered, (int)it->progress.dead, (int)it->progress.retrying,
                 it->last_error);
    }
}

static bool tells(const mqtt_bus *it, const char *text)
{
    return text != NULL ? strstr(it->last_error, text) != NULL : it->last_error[0] == '\0';
}

void mqtt_bus_await_error(mqtt_bus *it, const char *text)
{
    uint64_t begun_us = scratch_now_us();

    for (mqtt_bus_look(it); !tells(it, text); mqtt_bus_look(it)) {
        check_patience(it, begun_us, text != NULL ? text : "end of the error");
        mqtt_bus_step(it, 20);
    }
}

void mqtt_bus_await_delivered(mqtt_bus *it, unsigned count)
{
    uint64_t begun_us = scratch_now_us();

    for (mqtt_bus_look(it); it->progress.delivered < count; mqtt_bus_look(it)) {
        check_patience(it, begun_us, "delivery");
        mqtt_bus_step(it, 20);
    }
}

void mqtt_bus_await(mqtt_bus *it, atomic_uint *counter, unsigned at_least)
{
    uint64_t begun_us = scratch_now_us();

    while (atomic_load(counter) < at_least) {
        check_patience(it, begun_us, "such count");
        mqtt_bus_step(it, 20);
    }
}

void mqtt_bus_idle(mqtt_bus *it, unsigned time_ms)
{
    uint64_t until_us = scratch_now_us() + (uint64_t)time_ms * 1000;

    while (scratch_now_us() < until_us) {
        mqtt_bus_step(it, 20);
    }
}

typedef struct wanted {
    unsigned n;
    unsigned attempts;
    bool dead;
    char reason[BUSBAR_REASON_SIZE];
} wanted;

static int pick(const busbar_record *event, const busbar_standing *standing, void *context)
{
    wanted *it = context;

    if (event->seq == it->n && standing != NULL) {
        it->attempts = standing->attempts;
        it->dead = standing->state == BUSBAR_STATE_DEAD;
        (void)snprintf(it->reason, sizeof it->reason, "%s", standing->reason != NULL ? standing->reason : "");
    }
    return 0;
}

static wanted find(mqtt_bus *it, unsigned n)
{
    const busbar_query query = {.size = sizeof query, .consumer = MQTT_BUS_ROUTE};
    wanted found = {.n = n};

    require(it, busbar_list(it->bus, &query, pick, &found), "list the events");
    return found;
}

unsigned mqtt_bus_attempts(mqtt_bus *it, unsigned n)
{
    return find(it, n).attempts;
}

const char *mqtt_bus_grave(mqtt_bus *it, unsigned n)
{
    static char reason[BUSBAR_REASON_SIZE];
    wanted found = find(it, n);

    (void)snprintf(reason, sizeof reason, "%s", found.dead ? found.reason : "");
    return reason;
}

/* ---- The receiver: on the peer's thread --------------------------------------------------------------------------------- */

unsigned mqtt_receiver_number(const mqtt_peer_packet *packet)
{
    static const char sign[] = "\"data\":{\"n\":";
    const uint8_t *at =
        packet->payload_size > 0 ? memmem(packet->payload, packet->payload_size, sign, sizeof sign - 1) : NULL;
    unsigned number = 0;

    for (size_t i = at != NULL ? (size_t)(at - packet->payload) + sizeof sign - 1 : packet->payload_size;
         i < packet->payload_size && packet->payload[i] >= '0' && packet->payload[i] <= '9'; i++) {
        number = number * 10 + (unsigned)(packet->payload[i] - '0');
    }
    return number < MQTT_BUS_EVENTS_MAX ? number : 0;
}

static void serve_publish(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    atomic_fetch_add(&it->taken[mqtt_receiver_number(packet)], 1);
    if ((packet->flags & 0x06) == 0x02) {
        mqtt_peer_acknowledge(peer, MQTT_PEER_PUBACK, packet->mid, 0);
    } else if (packet->mid != 0) {
        mqtt_peer_acknowledge(peer, MQTT_PEER_PUBREC, packet->mid, 0);
    }
}

void mqtt_receiver_serve(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet)
{
    switch (packet->type) {
    case MQTT_PEER_CONNECT:
        if (packet->version == 5) {
            mqtt_peer_connack(peer, 0, it->properties, it->properties_size);
        } else {
            mqtt_peer_accept(peer);
        }
        break;
    case MQTT_PEER_PUBLISH:
        serve_publish(it, peer, packet);
        break;
    case MQTT_PEER_PUBREL:
        mqtt_peer_acknowledge(peer, MQTT_PEER_PUBCOMP, packet->mid, 0);
        break;
    case MQTT_PEER_PINGREQ:
        mqtt_peer_pong(peer);
        break;
    default:
        break;
    }
}

static void receive(mqtt_peer *peer, const mqtt_peer_packet *packet, void *context)
{
    mqtt_receiver *it = context;

    if (packet->type == MQTT_PEER_CONNECT) {
        it->mid_count = 0;
        atomic_fetch_add(&it->connects, 1);
    } else if (packet->type == MQTT_PEER_PUBLISH) {
        atomic_fetch_add(&it->publishes, 1);
        atomic_fetch_add(&it->duplicates_flagged, (packet->flags & 0x08) != 0);
        atomic_fetch_add(&it->arrived[mqtt_receiver_number(packet)], 1);
    }
    if (atomic_load(&it->well) || it->illness == NULL || !it->illness(it, peer, packet)) {
        mqtt_receiver_serve(it, peer, packet);
    }
}

void mqtt_receiver_start(mqtt_receiver *it)
{
    it->peer = mqtt_peer_start(receive, it);
}

void mqtt_receiver_stop(mqtt_receiver *it)
{
    mqtt_peer_stop(it->peer);
}

unsigned mqtt_receiver_taken(mqtt_receiver *it, unsigned count)
{
    unsigned taken = 0;

    for (unsigned n = 1; n <= count; n++) {
        taken += atomic_load(&it->taken[n]) > 0;
    }
    return taken;
}
