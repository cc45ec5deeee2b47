/* SPDX-License-Identifier: MIT */
/* The clocks of the machine. */
#include "clock.h"

#include <sys/timex.h>
#include <time.h>

/* 2024-01-01T00:00:00Z. A clock before it was never set: it stands where the hardware or the file system left it. */
#define PLAUSIBLE_MS INT64_C(1704067200000)

/* CLOCK_BOOTTIME and not CLOCK_MONOTONIC: leases and retries must see the time that the machine was suspended. */
uint64_t bb_linux_clock_mono_us(void *ctx)
{
    (void)ctx;
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

busbar_clock_quality bb_linux_clock_judge(int64_t wall_ms, bool synchronised)
{
    if (wall_ms < PLAUSIBLE_MS)
        return BUSBAR_CLOCK_UNKNOWN;
    return synchronised ? BUSBAR_CLOCK_TRUSTED : BUSBAR_CLOCK_ESTIMATED;
}

/* Reading needs no privilege. Where a sandbox forbids it, the clock counts as free-running. */
static bool is_synchronised(void)
{
    struct timex state = {0};
    return adjtimex(&state) >= 0 && (state.status & STA_UNSYNC) == 0;
}

busbar_clock_quality bb_linux_clock_wall_ms(void *ctx, int64_t *out_ms)
{
    (void)ctx;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return BUSBAR_CLOCK_UNKNOWN;
    *out_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    return bb_linux_clock_judge(*out_ms, is_synchronised());
}
