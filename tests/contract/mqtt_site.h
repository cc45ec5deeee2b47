/* SPDX-License-Identifier: MIT */
/*
 * An MQTT transport with a scripted broker at its other end: a plan says what the broker does, and counts what it sees.
 */
#ifndef MQTT_SITE_H
#define MQTT_SITE_H

#include <stdatomic.h>

#include "mqtt_host.h"
#include "mqtt_peer.h"

/* What the peer does. Set before it starts; what it counts is atomic. */
typedef struct plan {
    bool reset_at_accept, close_at_accept; /* on the first `times` connections */
    bool silent;                           /* never answers CONNECT */
    bool silent_later;                     /* nor from the second connection on */
    bool leave;                            /* ends the first connection as soon as it has accepted it */
    unsigned refuse_code;                  /* the CONNACK of the first `times` connections */
    unsigned times;
    bool answer_v311; /* refuses MQTT 5 in the words of MQTT 3.1.1 */
    const uint8_t *properties;
    size_t properties_size;
    const uint8_t *later_properties; /* of the second connection on */
    size_t later_properties_size;
    unsigned disconnect_code; /* instead of the first acknowledgement */
    unsigned puback_code;
    bool withhold;   /* acknowledges nothing */
    unsigned forget; /* the message that is never acknowledged, counted from 1 */
    bool on_tick;    /* acknowledges one message, the oldest, for each QoS 0 message */
    const char *reason_string;

    atomic_uint connects, publishes, dups, disconnects, unacked, most_unacked, version, last_wire_size;
    atomic_uint publishes_on_first;
    uint16_t waiting[512]; /* the peer's thread only */
    unsigned waiting_count;
    uint8_t connect_packet[512]; /* of the latest connection; read it when UP was seen */
    size_t connect_size;
} plan;

typedef struct site {
    plan plan;
    mqtt_peer *peer;
    mqtt_host host;
    busbar_mosquitto_options options;
} site;

/* Starts the peer; the options may still be changed before mqtt_host_start. */
site *site_prepare(const plan *wanted);
/* Starts peer and transport. */
site *site_begin(const plan *wanted);
/* And waits for the connection. */
site *site_begin_up(const plan *wanted);
void site_finish(site *it);

/* Sends a small message, which must be accepted. */
void site_send(site *it, uint64_t token);
/* Waits for a count of the peer's: taking events meanwhile, or leaving them where they are. */
void site_wait(site *it, atomic_uint *counter, unsigned at_least);
void site_wait_blindly(atomic_uint *counter, unsigned at_least);

#endif
