/* SPDX-License-Identifier: MIT */
/* Without scheduled events: none is put off. */
#include "postpone.h"

#include "absent.h"

int bb_postpone_check(busbar *bus, const busbar_event *event)
{
    (void)event;
    return bb_store_fail(&bus->store, BUSBAR_ENOTSUP, BB_ABSENT("delay_ms and not_before_ms", "schedule"));
}

int bb_postpone(busbar *bus, const busbar_event *event, const bb_log_row *row, uint64_t now_us, int64_t *out_n,
                busbar_id *out_id)
{
    (void)row;
    (void)now_us;
    (void)out_n;
    (void)out_id;
    return bb_postpone_check(bus, event);
}
