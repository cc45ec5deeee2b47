/* SPDX-License-Identifier: MIT */
/* Retry policies: how long a failed event waits for its next attempt, and when there is none. Neither clock nor random source. */
#ifndef BB_BACKOFF_H
#define BB_BACKOFF_H

#include <stdint.h>

#include <busbar/busbar.h>

#include "text.h"

/* Size of a policy as text. */
#define BB_BACKOFF_TEXT_SIZE 72

/* BUSBAR_ERETRY: an unknown jitter, or an age out of range. */
int bb_backoff_check(const busbar_retry *retry);

/*
 * The wait after the failure of attempt number `attempt` (1 is the first), by the policy; zero members mean their defaults.
 * last_ms: the wait before that attempt, 0 if there was none. `random` is uniform over 0..UINT32_MAX.
 */
uint64_t bb_backoff_wait_ms(const busbar_retry *retry, uint32_t attempt, uint64_t last_ms, uint32_t random);

/* No further attempt after so many, when the event has been failing for age_ms. */
bool bb_backoff_over(const busbar_retry *retry, uint32_t attempts, uint64_t age_ms);

/* A policy as it is stored with an event. */
void bb_backoff_write(const busbar_retry *retry, bb_text *text);
/* False, and *out_retry untouched, if the text is none. */
bool bb_backoff_read(const char *text, busbar_retry *out_retry);

#endif
