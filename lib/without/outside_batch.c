/* SPDX-License-Identifier: MIT */
/* Without handlers outside transactions: none is registered, so no batch of theirs ever runs. */
#include "absent.h"
#include "subscription.h"

const char *bb_outside_refusal(void)
{
    return BB_ABSENT("a handler outside transactions", "outside_handlers");
}

int bb_outside_batch(bb_subscription *subscription, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us)
{
    (void)subscription;
    (void)bus;
    (void)deadline_us;
    *out_wait_us = BUSBAR_FOREVER;
    return BUSBAR_OK;
}

int bb_outside_record(bb_subscription *subscription, busbar *bus)
{
    (void)subscription;
    (void)bus;
    return BUSBAR_OK;
}
