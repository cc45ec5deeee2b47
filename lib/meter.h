/* SPDX-License-Identifier: MIT */
/* How fast a consumer passes events while it works: a smoothed rate over spans of at least a second. Pure. */
#ifndef BB_METER_H
#define BB_METER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct bb_meter {
    uint64_t since_us; /* start of the current span; 0: not working */
    int64_t count;
    int64_t rate_mhz; /* events per 1000 seconds; 0: not known */
} bb_meter;

/* `count` more were passed by now; `drained`: nothing is left, so the span ends. */
void bb_meter_add(bb_meter *meter, int64_t count, uint64_t now_us, bool drained);
/* It cannot work for now: the time until it does again does not count. */
void bb_meter_pause(bb_meter *meter);

#endif
