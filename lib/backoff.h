/* SPDX-License-Identifier: MIT */
/* How long a failed event waits for its next attempt. Pure: neither clock nor random source. */
#ifndef BB_BACKOFF_H
#define BB_BACKOFF_H

#include <stdint.h>

#include <busbar/busbar.h>

/*
 * The wait after the failure of attempt number `attempt` (1 is the first): base, 2 base, 4 base … at most cap, shortened by
 * up to half in proportion to `random`, which is uniform over 0..UINT32_MAX. Zero members of `retry` mean their defaults.
 */
uint64_t bb_backoff_wait_ms(const busbar_retry *retry, uint32_t attempt, uint32_t random);

#endif
