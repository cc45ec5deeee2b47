/* SPDX-License-Identifier: MIT */
#include "backoff.h"

#define BASE_DEFAULT_MS 1000u
#define CAP_DEFAULT_MS  300000u

uint64_t bb_backoff_wait_ms(const busbar_retry *retry, uint32_t attempt, uint32_t random)
{
    uint64_t cap = retry->cap_ms > 0 ? retry->cap_ms : CAP_DEFAULT_MS;
    uint64_t wait = retry->base_ms > 0 ? retry->base_ms : BASE_DEFAULT_MS;
    for (uint32_t i = 1; i < attempt && wait < cap; i++)
        wait *= 2;
    if (wait > cap)
        wait = cap;
    return wait - wait * random / UINT32_MAX / 2;
}
