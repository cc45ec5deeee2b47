/* SPDX-License-Identifier: MIT */
/* Publishing an event that is not due yet: when it will be, and under which id it waits. */
#ifndef BB_POSTPONE_H
#define BB_POSTPONE_H

#include "handle.h"

/* Of an event with delay_ms or not_before_ms. BUSBAR_ESCHEDULE. */
int bb_postpone_check(busbar *bus, const busbar_event *event);
/* Stores the checked event, whose row has everything but perhaps an id. *out_n: its number. In a scope. BUSBAR_EBOUND. */
int bb_postpone(busbar *bus, const busbar_event *event, const bb_log_row *row, uint64_t now_us, int64_t *out_n,
                busbar_id *out_id);

#endif
