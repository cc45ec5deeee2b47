/* SPDX-License-Identifier: MIT */
/* Waits between attempts to connect. */
#include "backoff.h"

bb_mosquitto_backoff bb_mosquitto_backoff_start(uint32_t min_ms, uint32_t max_ms, uint64_t seed)
{
    bb_mosquitto_backoff backoff = {.min_ms = min_ms, .max_ms = max_ms, .random = seed};
    return backoff;
}

/* SplitMix64: any seed will do, and neighbouring seeds give unrelated waits. */
static uint64_t draw(bb_mosquitto_backoff *backoff)
{
    backoff->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = backoff->random;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

uint32_t bb_mosquitto_backoff_next(bb_mosquitto_backoff *backoff)
{
    if (backoff->last_ms == 0) {
        backoff->last_ms = backoff->min_ms;
        return (uint32_t)(draw(backoff) % backoff->min_ms);
    }
    uint64_t span = (uint64_t)backoff->last_ms * 3 - backoff->min_ms + 1;
    uint64_t wait_ms = backoff->min_ms + draw(backoff) % span;
    backoff->last_ms = wait_ms < backoff->max_ms ? (uint32_t)wait_ms : backoff->max_ms;
    return backoff->last_ms;
}

void bb_mosquitto_backoff_reset(bb_mosquitto_backoff *backoff)
{
    backoff->last_ms = 0;
}
