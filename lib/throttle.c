/* SPDX-License-Identifier: MIT */
#include "throttle.h"

#define BURST_US 100000u

uint64_t bb_throttle_wait_us(const bb_throttle *throttle, uint64_t now_us)
{
    if (throttle->rate_per_s == 0 || throttle->next_us <= now_us + BURST_US)
        return 0;
    return throttle->next_us - now_us - BURST_US;
}

void bb_throttle_take(bb_throttle *throttle, uint64_t now_us)
{
    if (throttle->rate_per_s == 0)
        return;
    if (throttle->next_us < now_us)
        throttle->next_us = now_us;
    throttle->next_us += 1000000u / throttle->rate_per_s;
}
