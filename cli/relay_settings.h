/* SPDX-License-Identifier: MIT */
/*
 * What busbar relay was asked to do: the command line over the configuration file over the environment, checked. Passwords
 * come from a file or the environment, never from where other users of the machine can read them.
 */
#ifndef RELAY_SETTINGS_H
#define RELAY_SETTINGS_H

#include "buffer.h"
#include "relay_config.h"
#include "relay_match.h"

#include <busbar/busbar.h>
#include <busbar/mosquitto.h>

typedef struct relay_settings {
    busbar_route route;
    busbar_mosquitto_options broker;
    busbar_options bus;
    bool drain;
    bool stats;
    const char *values[RELAY_OPTION_COUNT]; /* the words that count */
    relay_config config;
    relay_match match;
    buffer host;
    buffer password;
} relay_settings;

/* Returns EXIT_DONE, or an exit code after reporting what is wrong; release *out in any case, and do not move it before. */
int relay_settings_read(relay_settings *out, const arguments *args);

/* Overwrites the password. */
void relay_settings_free(relay_settings *self);

#endif
