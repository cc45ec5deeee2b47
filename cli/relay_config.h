/* SPDX-License-Identifier: MIT */
/* The configuration file of busbar relay: one JSON object with the names of the options. Knows JSON, not what they mean. */
#ifndef RELAY_CONFIG_H
#define RELAY_CONFIG_H

#include "relay_options.h"

typedef struct relay_config {
    char *values[RELAY_OPTION_COUNT]; /* as they would stand on the command line; NULL: not given */
    char *many[ARGUMENTS_MANY_MAX];   /* as in arguments: of the options that can be given more than once */
    size_t many_option[ARGUMENTS_MANY_MAX];
    size_t many_count;
} relay_config;

/* Reads the file. False after reporting what is wrong with it; release it in any case. */
bool relay_config_read(relay_config *out, const char *path);
void relay_config_free(relay_config *self);

#endif
