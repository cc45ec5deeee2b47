/* SPDX-License-Identifier: MIT */
/* A token bucket: so many per second, with a burst of a tenth of a second. Pure. */
#ifndef BB_THROTTLE_H
#define BB_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct bb_throttle {
    uint32_t rate_per_s; /* 0: no limit */
    uint64_t next_us;    /* when the bucket would be full again */
} bb_throttle;

/* Microseconds until the next one may pass; 0: now. */
uint64_t bb_throttle_wait_us(const bb_throttle *throttle, uint64_t now_us);
/* One passes. */
void bb_throttle_take(bb_throttle *throttle, uint64_t now_us);

#endif
