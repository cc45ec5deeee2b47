/* SPDX-License-Identifier: MIT */
/* Without limits: nothing is evicted, and nothing kept but by number. Consumers pass over what other handles evict. */
#include "bound.h"

#include "absent.h"
#include "handle.h"

static bool asked(const busbar_options *o)
{
    bool lanes = false;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        lanes = lanes || o->max_events[lane] != 0 || o->max_age_ms[lane] != 0;
    return lanes ||
           (o->max_bytes | o->reserve_bytes | o->keep_ms | o->keep_bytes | o->keep_dead_ms | o->consumer_idle_ms) != 0;
}

int bb_bound_init(busbar *bus)
{
    if (!asked(&bus->options))
        return BUSBAR_OK;
    return bb_store_fail(
        &bus->store, BUSBAR_ENOTSUP,
        BB_ABSENT("options.max_bytes, reserve_bytes, max_events, max_age_ms, keep_ms, keep_bytes, keep_dead_ms and "
                  "consumer_idle_ms",
                  "bounds"));
}

bool bb_bound_spent(busbar *bus, busbar_lane lane, const bb_log_row *row, size_t *out_size_bytes)
{
    (void)bus;
    (void)lane;
    (void)row;
    (void)out_size_bytes;
    return false;
}

int bb_bound_admit(busbar *bus, busbar_lane lane, size_t size_bytes)
{
    (void)bus;
    (void)lane;
    (void)size_bytes;
    return BUSBAR_OK;
}

int bb_bound_trim(busbar *bus, busbar_lane lane)
{
    (void)bus;
    (void)lane;
    return BUSBAR_OK;
}

int bb_bound_copy(busbar *bus, size_t size_bytes, bool *out_room)
{
    (void)bus;
    (void)size_bytes;
    *out_room = true;
    return BUSBAR_OK;
}

int bb_bound_leave(busbar *bus, const bb_scope *scope, int result)
{
    return bb_store_leave(&bus->store, scope, result);
}

bool bb_bound_cut_wal(busbar *bus)
{
    (void)bus;
    return false;
}

bool bb_bound_relieve(busbar *bus)
{
    (void)bus;
    return false;
}
