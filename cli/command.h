/* SPDX-License-Identifier: MIT */
/* What a verb is, and how the program ends. Every cmd_<verb>.c defines one command. */
#ifndef COMMAND_H
#define COMMAND_H

#include "arguments.h"

/* Exit codes; the manual page promises them. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_FOUND = 3, /* the database, the event or the consumer that was named */
    EXIT_UNHEALTHY = 4
};

typedef struct command {
    const char *name;
    const char *summary; /* one line of the program's help */
    const char *help;    /* the whole help text of the verb */
    const option *options;
    size_t option_count;
    size_t operands_min;
    size_t operands_max;
    int (*run)(const arguments *args); /* returns an exit_code */
} command;

extern const command cmd_init;
extern const command cmd_publish;
extern const command cmd_list;
extern const command cmd_show;
extern const command cmd_tail;
extern const command cmd_status;
extern const command cmd_check;
extern const command cmd_retry;
extern const command cmd_drop;
extern const command cmd_replay;
extern const command cmd_relay;
extern const command cmd_prune;
extern const command cmd_forget;

#endif
