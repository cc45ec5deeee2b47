/* SPDX-License-Identifier: MIT */
/* What goes by time or size although nothing was finished: when a worker looks for it. What goes: bound.c, idle.c, prune.c. */
#ifndef BB_LIMITS_H
#define BB_LIMITS_H

#include "handle.h"

/* Between two looks. */
#define BB_LIMITS_PAUSE_US 5000000u

/*
 * Looks, if it is time and the write lock is not the application's. *wait_us becomes smaller if the next look is due sooner.
 * Outside any transaction.
 */
int bb_limits_hold(busbar *bus, uint64_t *wait_us);

/* Has dead letters looked for that are too old (options.keep_dead_ms), if it is time. *wait_us as above. */
void bb_limits_plan_dead(busbar *bus, uint64_t now_us, uint64_t *wait_us);

#endif
