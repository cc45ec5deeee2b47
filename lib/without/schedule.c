/* SPDX-License-Identifier: MIT */
/* Without scheduled events: those that another library has put off wait until it comes back. */
#include "schedule.h"

int bb_schedule_turn(busbar *bus, uint64_t *out_wait_us)
{
    (void)bus;
    *out_wait_us = BUSBAR_FOREVER;
    return BUSBAR_OK;
}
