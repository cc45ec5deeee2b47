/* SPDX-License-Identifier: MIT */
#include "limits.h"

#include "bound.h"
#include "idle.h"
#include "prune.h"
#include "worker.h"

#define DEAD_LOOK_MIN_US 1000000u /* between two looks for dead letters that have become too old */
#define DEAD_LOOK_MAX_US UINT64_C(3600000000)

static bool has_limits(busbar *bus)
{
    const busbar_options *o = &bus->options;
    bool aged = bb_bound_wal_high(bus) || o->reserve_bytes != 0 || o->keep_ms != 0 || o->keep_bytes != 0 ||
                o->consumer_idle_ms != 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        aged = aged || o->max_age_ms[lane] != 0;
    return aged;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

int bb_limits_hold(busbar *bus, uint64_t *wait_us)
{
    uint64_t now_us = bb_handle_now_us(bus);
    uint64_t pause_us = bb_worker_courtesy_us(bus, now_us);
    bool aged = false;
    bool pruned = false;
    if (!has_limits(bus))
        return BUSBAR_OK;
    if (bus->limits_due_us > now_us + pause_us)
        pause_us = bus->limits_due_us - now_us;
    if (pause_us > 0) {
        *wait_us = sooner(*wait_us, pause_us);
        return BUSBAR_OK;
    }
    int result = bb_bound_step(bus, &aged);
    if (result == BUSBAR_OK && bus->options.consumer_idle_ms != 0)
        result = bb_idle_step(bus);
    if (result == BUSBAR_OK)
        result = bb_prune_step(bus, &pruned);
    bus->limits_due_us = aged || pruned ? 0 : now_us + BB_LIMITS_PAUSE_US;
    if (aged || pruned)
        bb_worker_wrote(bus);
    bus->prune_wanted =
        bus->prune_wanted || bus->options.consumer_idle_ms != 0; /* something may not be held any more */
    uint64_t next_us = aged || pruned ? bb_worker_courtesy_us(bus, bb_handle_now_us(bus)) : BB_LIMITS_PAUSE_US;
    *wait_us = sooner(*wait_us, next_us);
    return result == BUSBAR_ELOCKED || result == BUSBAR_ESTALE ? BUSBAR_OK : result;
}

/* Dead letters become too old without anybody's doing: they are looked for from time to time. */
void bb_limits_plan_dead(busbar *bus, uint64_t now_us, uint64_t *wait_us)
{
    uint64_t keep_ms = bus->options.keep_dead_ms;
    if (keep_ms == 0)
        return;
    if (now_us >= bus->dead_due_us) {
        uint64_t pause_us = keep_ms < DEAD_LOOK_MAX_US / 100 ? keep_ms * 100 : DEAD_LOOK_MAX_US;
        bus->dead_due_us = now_us + (pause_us > DEAD_LOOK_MIN_US ? pause_us : DEAD_LOOK_MIN_US);
        bus->dead_wanted = true;
        bus->prune_wanted = true;
    }
    *wait_us = sooner(*wait_us, bus->dead_due_us - now_us);
}
