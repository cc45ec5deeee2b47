/* SPDX-License-Identifier: MIT */
/* Where the transport to an MQTT broker comes from: broker.c, or broker_none.c in a build without libmosquitto. */
#ifndef BROKER_H
#define BROKER_H

#include <busbar/mosquitto.h>

/* As busbar_mosquitto_new; BUSBAR_ENOTSUP in a build without it. */
int broker_new(const busbar_mosquitto_options *options, busbar_transport *out_transport, busbar_reason *out_reason);

#endif
