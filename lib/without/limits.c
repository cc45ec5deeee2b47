/* SPDX-License-Identifier: MIT */
/* Without limits nothing goes by time or size. */
#include "limits.h"

int bb_limits_hold(busbar *bus, uint64_t *wait_us)
{
    (void)bus;
    (void)wait_us;
    return BUSBAR_OK;
}

void bb_limits_plan_dead(busbar *bus, uint64_t now_us, uint64_t *wait_us)
{
    (void)bus;
    (void)now_us;
    (void)wait_us;
}
