/* SPDX-License-Identifier: MIT */
/* Waiting beside a working relay: tells what happens to it, and knows when it is to end. Looks with a handle of its own. */
#ifndef RELAY_WATCH_H
#define RELAY_WATCH_H

#include <stdbool.h>

#include <busbar/linux.h>

/*
 * Returns when the program is asked to end or, with `drain`, when nothing is left for the consumer `name`: EXIT_DONE, or
 * an exit code after reporting a failure. The runner goes on.
 */
int relay_watch(const char *path, const char *name, busbar_runner *runner, bool drain);

#endif
