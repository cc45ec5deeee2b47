/* SPDX-License-Identifier: MIT */
/* The options of busbar relay by their numbers, for the command line and the configuration file alike. */
#ifndef RELAY_OPTIONS_H
#define RELAY_OPTIONS_H

#include "arguments.h"

enum relay_option {
    RELAY_URL,
    RELAY_TOPIC,
    RELAY_NAME,
    RELAY_TYPE,
    RELAY_MATCH,
    RELAY_MATCH_NOT,
    RELAY_QOS,
    RELAY_FORMAT,
    RELAY_WINDOW,
    RELAY_RATE,
    RELAY_UNMATCHED,
    RELAY_DRAIN,
    RELAY_STATS,
    RELAY_CONFIG,
    RELAY_USER,
    RELAY_PASSWORD_FILE,
    RELAY_CA,
    RELAY_CERT,
    RELAY_KEY_FILE,
    RELAY_CLIENT_ID,
    RELAY_MQTT,
    RELAY_TTL,
    RELAY_MAX_BYTES,
    RELAY_MAX_EVENT_AGE,
    RELAY_RESERVE_BYTES,
    RELAY_KEEP_EVENTS,
    RELAY_KEEP_AGE,
    RELAY_KEEP_BYTES,
    RELAY_KEEP_IDS,
    RELAY_KEEP_DEAD,
    RELAY_KEEP_DEAD_AGE,
    RELAY_CONSUMER_IDLE,
    RELAY_OPTION_COUNT
};

extern const option relay_options[RELAY_OPTION_COUNT];

#endif
