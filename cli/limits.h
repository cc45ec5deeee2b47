/* SPDX-License-Identifier: MIT */
/*
 * The limits of a bus as options of a verb: those that its publisher holds, and what its worker keeps. Knows them by the
 * names of the options; each verb chooses which of them it has.
 */
#ifndef LIMITS_H
#define LIMITS_H

#include "arguments.h"

#include <busbar/busbar.h>

/* What the publisher holds, and what the worker does, for the help of the verbs. */
#define LIMITS_HELP_PUBLISHER                                                                                          \
    "  --max-bytes SIZE     of the database file and its WAL: 500000, 512K, 64M, 2G; 256K at least\n"                  \
    "  --max-events [LANE=]N  stored events of a lane, or of each\n"
#define LIMITS_HELP_BOTH                                                                                               \
    "  --max-event-age [LANE=]DURATION  older events are deleted, finished or not, and counted as\n"                   \
    "                       evicted; urgent ones too\n"                                                                \
    "  --reserve-bytes SIZE room that is kept for everything but publishing, in a file of its own\n"                   \
    "                       beside the database\n"
#define LIMITS_HELP_WORKER                                                                                             \
    "  --max-bytes SIZE     the WAL is checkpointed early enough for this limit of the publishers\n"                   \
    "  --keep-events N      finished events of each lane that stay to be looked at and replayed\n"                     \
    "                       (default 1000)\n"                                                                          \
    "  --keep-age DURATION  of these, only younger ones\n"                                                             \
    "  --keep-bytes SIZE    of these, only as long as the database has no more in use\n"                               \
    "  --keep-ids N         given ids that are remembered, to tell duplicates (default 100000)\n"                      \
    "  --keep-dead N        dead letters of each consumer, the newest (default 10000)\n"                               \
    "  --keep-dead-age DURATION  of these, only younger ones\n"                                                        \
    "  --consumer-idle DURATION  a consumer that no worker runs keeps events for so long; then it is\n"                \
    "                       moved on, and what it missed is told when it comes back (default: for ever)\n"

/* True if the option of this name is one of them. */
bool limits_know(const char *name);

/*
 * Reads the word of one option into *options. Returns EXIT_DONE, or EXIT_USAGE after reporting what is wrong with it.
 */
int limits_take(const arguments *args, const char *name, const char *word, busbar_options *options);

/* Once all are read: whether they go together. The same results. */
int limits_check(const arguments *args, const busbar_options *options);

/* All of a command line. The same results. */
int limits_read(const arguments *args, busbar_options *options);

#endif
