/* SPDX-License-Identifier: MIT */
/* A transport and its scripted broker. */
#define _POSIX_C_SOURCE 200809L

#include "test.h"

#include "mqtt_site.h"

#include <poll.h>

#include "broker.h"

/* ---- The script: on the peer's thread. ------------------------------------------------------------------------------ */

static void answer_connect(mqtt_peer *peer, const mqtt_peer_packet *packet, plan *it)
{
    bool first = packet->connection <= it->times;

    atomic_fetch_add(&it->connects, 1);
    atomic_store(&it->version, packet->version);
    it->connect_size = packet->size < sizeof it->connect_packet ? packet->size : sizeof it->connect_packet;
    memcpy(it->connect_packet, packet->body, it->connect_size);
    it->waiting_count = 0;
    atomic_store(&it->unacked, 0);
    if (it->silent || (it->silent_later && packet->connection > 1)) {
        return;
    }
    if (packet->version == 4) {
        mqtt_peer_connack_v311(peer, first && !it->answer_v311 ? it->refuse_code : 0);
    } else if (it->answer_v311) {
        mqtt_peer_connack_v311(peer, 1);
    } else if (first && it->refuse_code != 0) {
        mqtt_peer_connack(peer, it->refuse_code, it->properties, it->properties_size);
    } else if (packet->connection > 1 && it->later_properties != NULL) {
        mqtt_peer_connack(peer, 0, it->later_properties, it->later_properties_size);
    } else {
        mqtt_peer_connack(peer, 0, it->refuse_code == 0 ? it->properties : NULL,
                          it->refuse_code == 0 ? it->properties_size : 0);
    }
    if (it->leave && packet->connection == 1) {
        mqtt_peer_hang_up(peer, false);
    }
}

static void acknowledge(mqtt_peer *peer, plan *it, uint16_t mid)
{
    if (it->reason_string != NULL) {
        uint8_t packet[128] = {0x40, 0, (uint8_t)(mid >> 8), (uint8_t)mid, (uint8_t)it->puback_code};
        size_t length = strlen(it->reason_string);
        packet[5] = (uint8_t)(length + 3);
        packet[6] = 0x1f;
        packet[7] = 0;
        packet[8] = (uint8_t)length;
        memcpy(packet + 9, it->reason_string, length);
        packet[1] = (uint8_t)(7 + length);
        mqtt_peer_send(peer, packet, 9 + length);
    } else if (atomic_load(&it->version) == 4) {
        const uint8_t packet[] = {0x40, 2, (uint8_t)(mid >> 8), (uint8_t)mid};
        mqtt_peer_send(peer, packet, sizeof packet);
    } else {
        mqtt_peer_puback(peer, mid, it->puback_code);
    }
    atomic_fetch_sub(&it->unacked, 1);
}

static void acknowledge_oldest(mqtt_peer *peer, plan *it)
{
    if (it->waiting_count > 0) {
        acknowledge(peer, it, it->waiting[0]);
        it->waiting_count--;
        memmove(it->waiting, it->waiting + 1, it->waiting_count * sizeof it->waiting[0]);
    }
}

static void answer_publish(mqtt_peer *peer, const mqtt_peer_packet *packet, plan *it)
{
    unsigned number = atomic_fetch_add(&it->publishes, 1) + 1;

    atomic_store(&it->last_wire_size, (unsigned)packet->wire_size);
    atomic_fetch_add(&it->dups, (packet->flags & 0x08) != 0);
    atomic_fetch_add(&it->publishes_on_first, packet->connection == 1);
    if (packet->mid == 0) {
        if (it->on_tick) {
            acknowledge_oldest(peer, it);
        }
        return;
    }
    unsigned unacked = atomic_fetch_add(&it->unacked, 1) + 1;
    if (unacked > atomic_load(&it->most_unacked)) {
        atomic_store(&it->most_unacked, unacked);
    }
    if (number == it->forget) {
        return;
    }
    if (it->disconnect_code != 0 && packet->connection == 1) {
        const uint8_t disconnect[] = {0xe0, 1, (uint8_t)it->disconnect_code};
        mqtt_peer_send(peer, disconnect, sizeof disconnect);
        return;
    }
    if (it->withhold) {
        return;
    }
    if (it->on_tick) {
        it->waiting[it->waiting_count++] = packet->mid;
        return;
    }
    acknowledge(peer, it, packet->mid);
}

static void follow_plan(mqtt_peer *peer, const mqtt_peer_packet *packet, void *context)
{
    plan *it = context;

    switch (packet->type) {
    case MQTT_PEER_ACCEPTED:
        if ((it->reset_at_accept || it->close_at_accept) && packet->connection <= it->times) {
            mqtt_peer_hang_up(peer, it->reset_at_accept);
        }
        break;
    case MQTT_PEER_CONNECT:
        answer_connect(peer, packet, it);
        break;
    case MQTT_PEER_PUBLISH:
        answer_publish(peer, packet, it);
        break;
    case MQTT_PEER_DISCONNECT:
        atomic_fetch_add(&it->disconnects, 1);
        break;
    default: /* a ping: stay silent */
        break;
    }
}

/* ---- The test's side. ------------------------------------------------------------------------------------------------- */

site *site_prepare(const plan *wanted)
{
    site *it = calloc(1, sizeof *it);
    assert_non_null(it);
    memcpy(&it->plan, wanted, sizeof *wanted); /* its atomics are still zero */
    it->peer = mqtt_peer_start(follow_plan, &it->plan);
    it->options = mqtt_host_options(mqtt_peer_port(it->peer));
    return it;
}

site *site_begin(const plan *wanted)
{
    site *it = site_prepare(wanted);
    mqtt_host_start(&it->host, &it->options);
    return it;
}

site *site_begin_up(const plan *wanted)
{
    site *it = site_begin(wanted);
    mqtt_host_wait(&it->host, &it->host.ups, 1);
    return it;
}

void site_finish(site *it)
{
    mqtt_host_stop(&it->host);
    mqtt_peer_stop(it->peer);
    free(it);
}

void site_send(site *it, uint64_t token)
{
    assert_int_equal(mqtt_host_send(&it->host, token, "t", "x"), BUSBAR_SEND_ACCEPTED);
}

void site_wait(site *it, atomic_uint *counter, unsigned at_least)
{
    uint64_t deadline_ms = broker_now_ms() + MQTT_HOST_DEADLINE_MS;
    while (atomic_load(counter) < at_least) {
        assert_true(broker_now_ms() < deadline_ms);
        mqtt_host_idle(&it->host, 2);
    }
}

void site_wait_blindly(atomic_uint *counter, unsigned at_least)
{
    uint64_t deadline_ms = broker_now_ms() + MQTT_HOST_DEADLINE_MS;
    while (atomic_load(counter) < at_least) {
        assert_true(broker_now_ms() < deadline_ms);
        poll(NULL, 0, 1);
    }
}
