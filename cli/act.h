/* SPDX-License-Identifier: MIT */
/*
 * What retry, drop and replay have in common: which events are chosen, the question whether it is meant, and the report.
 * Each verb brings its words.
 */
#ifndef ACT_H
#define ACT_H

#include "command.h"

#include <busbar/busbar.h>

/* Indexes of the options that all of them take. */
enum act_option {
    ACT_CONSUMER,
    ACT_TYPE,
    ACT_OLDER_THAN,
    ACT_NEWER_THAN,
    ACT_SINCE,
    ACT_LIMIT,
    ACT_ALL,
    ACT_DRY_RUN,
    ACT_YES,
    ACT_JSON,
    ACT_OPTION_COUNT
};

extern const option act_options[ACT_OPTION_COUNT];

/* The database, and as many ids as fit. */
#define ACT_OPERANDS_MAX ARGUMENTS_OPERANDS_MAX

/* The part of each help text that is the same for all. */
#define ACT_HELP_CHOICE                                                                                                \
    "  --type PATTERN      only events of these types; * is one segment, # any number: door.#\n"                       \
    "  --older-than AGE    only events published longer ago than this: 90s, 10m, 2h, 1d\n"                             \
    "  --newer-than AGE    only events published within this time\n"                                                   \
    "  --since TIME        only events published since: 2026-05-01T12:00:00Z, 2026-05-01, 2h\n"                        \
    "  --limit N           at most N events, the oldest of each lane first\n"
#define ACT_HELP_MANNERS                                                                                               \
    "  --dry-run           say how many there are, and change nothing\n"                                               \
    "  --yes               do not ask; needed where there is no terminal to ask on\n"                                  \
    "  --json              one object: action, count, dry_run\n"                                                       \
    "\n"                                                                                                               \
    "Events whose time is not known meet no condition on time. Exit code 3 if there are none.\n"

typedef struct act_verb {
    busbar_action action;
    const char *name; /* "retry" */
    const char *past; /* "retried" */
    const char *noun; /* of the events that it is for: "event that failed" */
    const char *nouns;
    bool needs_consumer;
} act_verb;

int act_run(const arguments *args, const act_verb *verb);

#endif
