/* SPDX-License-Identifier: MIT */
/* When scheduled events are moved to the log: the part of a step that knows the clock and the manners of workers. */
#ifndef BB_SCHEDULE_H
#define BB_SCHEDULE_H

#include "handle.h"

/*
 * Moves what is due, a bounded piece at a time, when courtesy allows it. *out_wait_us: how long there is nothing to do; 0 when
 * something was moved. Outside any transaction. An empty table costs one look per change of the data.
 */
int bb_schedule_turn(busbar *bus, uint64_t *out_wait_us);

#endif
