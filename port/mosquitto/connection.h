/* SPDX-License-Identifier: MIT */
/*
 * One connection to the broker, from the connect to its end, on the link's thread. The only module that drives
 * libmosquitto's network functions. It knows how to serve a connection and why it ended, not when to make the next.
 */
#ifndef BB_MOSQUITTO_CONNECTION_H
#define BB_MOSQUITTO_CONNECTION_H

#include <mosquitto.h>

#include "exchange.h"
#include "network.h"
#include "pulse.h"
#include "reason.h"
#include "settings.h"

#define BB_MOSQUITTO_LOG_SIZE 200

typedef struct bb_mosquitto_connection {
    struct mosquitto *handle; /* fresh; used for this connection only */
    const bb_mosquitto_settings *settings;
    bb_mosquitto_exchange *exchange;
    bb_mosquitto_network *network;
    const char
        *bind_address; /* the wildcard of the address family to use; NULL: the one that the resolver names first */
    bb_mosquitto_place place;
    bool v5;
    bb_mosquitto_list in_flight; /* handed to the library, in that order */
    bb_mosquitto_list settled;   /* acknowledged in this turn */
    bb_mosquitto_limits limits;
    uint32_t handed_over;  /* messages given to the library */
    uint32_t newest_acked; /* number of the latest message that the broker acknowledged */
    uint64_t now_ms;       /* of this turn */
    uint64_t opened_ms;
    uint64_t accepted_ms;
    uint64_t acked_ms; /* when the broker last acknowledged anything */
    uint64_t misc_ms;
    uint64_t retry_syn_ms; /* when to give a connect up that began before the network changed; 0: it did not */
    bb_mosquitto_pulse pulse;
    int family;           /* of the address that the connect went to; AF_UNSPEC: it failed at once */
    unsigned idle_writes; /* turns in a row in which TLS wanted to write and did not */
    bool reached;         /* TCP is connected */
    bool accepted;        /* the broker accepted the connection */
    bool announced;       /* and the host was told */
    int socket_copy;      /* MQTT 5 without TLS, once announced: to read what the library leaves unread; -1: none */
    bool refused_version;
    bool over;
    bool early;           /* it is over because the network changed: another attempt is due */
    busbar_reason reason; /* why it is over */
    char log[BB_MOSQUITTO_LOG_SIZE];
    mosquitto_property *properties; /* of the message before, for the next one like it */
    char *properties_type;
    uint32_t properties_expiry_s;
} bb_mosquitto_connection;

/* Milliseconds on a clock that counts suspend. */
uint64_t bb_mosquitto_now_ms(void);

/*
 * Connects and serves until the connection is over, or the exchange is closing. The handle must be fresh; afterwards it is
 * used up. Blocks. On return `reason` says why it is over, in_flight has what was not settled, and served_ms how long the
 * broker's acceptance lasted.
 */
void bb_mosquitto_connection_run(bb_mosquitto_connection *connection);
uint64_t bb_mosquitto_connection_served_ms(const bb_mosquitto_connection *connection);
/* Frees what the connection holds but the slots and the handle. */
void bb_mosquitto_connection_free(bb_mosquitto_connection *connection);

#endif
