/* SPDX-License-Identifier: MIT */
/*
 * A bus on a real file with one route over MQTT, stepped the way an application's event loop does it: what a fault of the
 * broker or of the wire means for the one who uses the library. Its events are numbered from 1: {"n":1}.
 */
#ifndef MQTT_BUS_H
#define MQTT_BUS_H

#include <stdatomic.h>

#include <busbar/mosquitto.h>
#include <sqlite3.h>

#include "mqtt_peer.h"
#include "scratch.h"

#define MQTT_BUS_ROUTE       "out"
#define MQTT_BUS_DEADLINE_MS 30000
#define MQTT_BUS_EVENTS_MAX  4000u

typedef struct mqtt_bus {
    char directory[SCRATCH_PATH_SIZE];
    char path[SCRATCH_PATH_SIZE];
    sqlite3 *db;
    busbar *bus;
    unsigned published;
    uint64_t slowest_step_us;
    char last_error[BUSBAR_REASON_SIZE]; /* of the status, as read last; "" for none */
    busbar_progress progress;            /* likewise */
} mqtt_bus;

/* Route options that a test may change: every acknowledgement is recorded at once, and refusals are tried again soon. */
busbar_route mqtt_bus_route(void);
void mqtt_bus_open(mqtt_bus *it, const busbar_route *route, const busbar_mosquitto_options *options);
void mqtt_bus_close(mqtt_bus *it);

/* Publishes so many events / one that carries so many bytes beside its number. */
void mqtt_bus_publish(mqtt_bus *it, unsigned count);
void mqtt_bus_publish_large(mqtt_bus *it, size_t padding);
/* One turn of an event loop that waits at most so long for something to happen. */
void mqtt_bus_step(mqtt_bus *it, unsigned most_ms);
/* Reads progress and last error of the route. */
void mqtt_bus_look(mqtt_bus *it);
/* Steps until the status tells of an error with this text, NULL: of none / until so many events were delivered. */
void mqtt_bus_await_error(mqtt_bus *it, const char *text);
void mqtt_bus_await_delivered(mqtt_bus *it, unsigned count);
/* Steps until a counter is so large. */
void mqtt_bus_await(mqtt_bus *it, atomic_uint *counter, unsigned at_least);
/* Steps for so long. */
void mqtt_bus_idle(mqtt_bus *it, unsigned time_ms);
/* Failed attempts at the event `n`, 0 if it never failed, and the reason if it is a dead letter, else "". */
unsigned mqtt_bus_attempts(mqtt_bus *it, unsigned n);
const char *mqtt_bus_grave(mqtt_bus *it, unsigned n);

/* ---- A receiver of such events in the place of a broker, which is ill at first. -------------------------------------- */

typedef struct mqtt_receiver mqtt_receiver;
/* What the receiver does instead of its duty while it is ill. True if it is done with the packet. */
typedef bool mqtt_illness(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet);

struct mqtt_receiver {
    mqtt_illness *illness;
    unsigned code;             /* for the illness: a reason code */
    const uint8_t *properties; /* of every CONNACK to MQTT 5 */
    size_t properties_size;
    atomic_bool well;
    atomic_uint taken[MQTT_BUS_EVENTS_MAX]; /* how often event n was taken over */
    atomic_uint arrived[MQTT_BUS_EVENTS_MAX];
    atomic_uint connects, publishes, duplicates_flagged;
    mqtt_peer *peer;
    uint16_t mids[MQTT_BUS_EVENTS_MAX]; /* the peer's thread only: what an illness keeps for later */
    unsigned mid_count;
};

void mqtt_receiver_start(mqtt_receiver *it);
void mqtt_receiver_stop(mqtt_receiver *it);
/* The number of the event in a PUBLISH; 0 if there is none. */
unsigned mqtt_receiver_number(const mqtt_peer_packet *packet);
/* What a receiver in good health does. */
void mqtt_receiver_serve(mqtt_receiver *it, mqtt_peer *peer, const mqtt_peer_packet *packet);
/* How many of the events 1 to `count` have been taken at least once. */
unsigned mqtt_receiver_taken(mqtt_receiver *it, unsigned count);

#endif
