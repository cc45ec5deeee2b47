/* SPDX-License-Identifier: MIT */
/*
 * The link: the private thread of a transport, making connection after connection until it is told to end. It owns the
 * library's handle and decides when to try again and with which version of MQTT.
 */
#ifndef BB_MOSQUITTO_LINK_H
#define BB_MOSQUITTO_LINK_H

#include <mosquitto.h>

#include "exchange.h"
#include "network.h"
#include "settings.h"

typedef struct bb_mosquitto_link {
    struct mosquitto *handle;
    const bb_mosquitto_settings *settings;
    bb_mosquitto_exchange *exchange;
    bb_mosquitto_network network; /* while it runs */
    bool v5;                      /* what to try next */
    const char *bind_address;     /* and from which wildcard address: see connection.h */
    bool other_family;            /* the first one failed just now */
    busbar_reason first_reason;   /* in these words */
} bb_mosquitto_link;

/*
 * Prepares the library and a handle, leaving the process's SIGPIPE disposition as it was. Returns 0, or -1 with errno set.
 * Any thread; transports may be made concurrently.
 */
int bb_mosquitto_link_open(bb_mosquitto_link *link, const bb_mosquitto_settings *settings,
                           bb_mosquitto_exchange *exchange);
/* Serves until the exchange is closing, then releases the handle. The body of the private thread. */
void bb_mosquitto_link_run(bb_mosquitto_link *link);
/* Releases a handle that was never run. */
void bb_mosquitto_link_close(bb_mosquitto_link *link);

#endif
