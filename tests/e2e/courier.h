/* SPDX-License-Identifier: MIT */
/* A runner with one route inside the test program, for tests that want to choose how its MQTT transport behaves. */
#ifndef COURIER_H
#define COURIER_H

#include <busbar/linux.h>
#include <busbar/mosquitto.h>

#define COURIER_ACK_GROUP 100 /* a route's default */

typedef struct courier {
    const busbar_mosquitto_options *options;
    busbar_transport transport; /* the runner's */
    busbar_runner *runner;      /* NULL: not started */
} courier;

/* Starts one that works on the device's database. The route has the options' window. */
void courier_start(courier *it, const char *database, const busbar_mosquitto_options *options);
void courier_stop(courier *it);

#endif
