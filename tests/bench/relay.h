/* SPDX-License-Identifier: MIT */
/* Busbar as a relay: the runner with one route, as `busbar relay` has it. For measured processes. */
#ifndef BENCH_RELAY_H
#define BENCH_RELAY_H

#include <busbar/linux.h>

#include "measure.h"
#include "spy.h"

#define RELAY_WINDOW 100
#define RELAY_TOPIC  "devices/{lane}/{type}"

typedef struct relay {
    const char *path;
    unsigned port;             /* of the broker on this machine; 0: a loopback transport */
    const busbar_options *bus; /* NULL: defaults */
    unsigned cache_pages;      /* of the connection; 0: as SQLite has it */
    spy *spy;                  /* zeroed but for `watched` */
    busbar_runner *runner;
} relay;

void relay_start(relay *it);
/* Until so many messages are acknowledged. */
void relay_wait(const relay *it, uint64_t count);
/* Until a message to the topic that the spy watches was sent. */
void relay_wait_watched(const relay *it);
void relay_stop(relay *it);

/* All of that, measured from the connection to the last acknowledgement. */
void relay_drain(relay *it, uint64_t count, measurement *out);

/* A loopback or MQTT transport for a window of RELAY_WINDOW. */
busbar_transport relay_transport(unsigned port);
int relay_add_route(busbar *bus, busbar_transport transport);

#endif
