/* SPDX-License-Identifier: MIT */
/*
 * The bus's side of an MQTT transport, for tests: starts it, counts its events, waits for them on its descriptor.
 */
#ifndef MQTT_HOST_H
#define MQTT_HOST_H

#include <busbar/mosquitto.h>

#define MQTT_HOST_DEADLINE_MS 20000

typedef struct mqtt_host {
    busbar_transport transport;
    unsigned ups, downs, acked, unmatched, refused;
    bool up;
    uint64_t last_token;
    busbar_transport_event last_up;
    busbar_transport_event last_down;
    busbar_transport_event last_refused;
} mqtt_host;

/* Options for a broker on this machine that waits little between attempts. */
busbar_mosquitto_options mqtt_host_options(unsigned port);
/* Makes and starts the transport. */
void mqtt_host_start(mqtt_host *host, const busbar_mosquitto_options *options);
/* Closes and stops it. */
void mqtt_host_stop(mqtt_host *host);

/* Takes what there is now. */
void mqtt_host_poll(mqtt_host *host);
/* Waits until a counter of the host is so large. */
void mqtt_host_wait(mqtt_host *host, const unsigned *counter, unsigned at_least);
/* Waits for a DOWN whose reason has this text; other reasons may come before. */
void mqtt_host_wait_reason(mqtt_host *host, const char *text);
/* Gives what must not happen so much time, and takes what happened. */
void mqtt_host_idle(mqtt_host *host, unsigned time_ms);

busbar_send_result mqtt_host_send(mqtt_host *host, uint64_t token, const char *topic, const char *payload);

#endif
