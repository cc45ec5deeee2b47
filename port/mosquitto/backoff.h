/* SPDX-License-Identifier: MIT */
/*
 * How long to wait before connecting again: decorrelated jitter, so that a fleet that lost its broker at one instant does
 * not come back at one instant. Pure arithmetic on a seed: no clock, no random source.
 */
#ifndef BB_MOSQUITTO_BACKOFF_H
#define BB_MOSQUITTO_BACKOFF_H

#include <stdint.h>

typedef struct bb_mosquitto_backoff {
    uint32_t min_ms;
    uint32_t max_ms;
    uint32_t last_ms; /* 0: the next wait is the first one */
    uint64_t random;  /* state of the generator */
} bb_mosquitto_backoff;

bb_mosquitto_backoff bb_mosquitto_backoff_start(uint32_t min_ms, uint32_t max_ms, uint64_t seed);
/* The first wait is below min_ms, each further one within [min_ms, 3 times the one before], at most max_ms. */
uint32_t bb_mosquitto_backoff_next(bb_mosquitto_backoff *backoff);
/* The connection was good: the next wait is a first one again. */
void bb_mosquitto_backoff_reset(bb_mosquitto_backoff *backoff);

#endif
