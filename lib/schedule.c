/* SPDX-License-Identifier: MIT */
#include "schedule.h"

#include "bound.h"
#include "clock.h"
#include "expiry.h"
#include "worker.h"

#define LOCKED_PAUSE_US 2000u     /* before trying again when another connection holds the lock */
#define CHUNK_ROWS      256u      /* moved in one transaction, at most */
#define UNTRUSTED_US    5000000u  /* between two looks whether the wall time is trusted by now */
#define TRUSTED_US      60000000u /* and, while it is, whether it was set forward */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bb_later_now now_of(const busbar *bus)
{
    bb_later_now now = {.boot = bus->boot.id, .mono_ms = bb_handle_now_ms(bus)};
    now.trusted = bus->port->wall_ms(bus->port->ctx, &now.wall_ms) == BUSBAR_CLOCK_TRUSTED;
    return now;
}

/* What waits, if it may have changed since the last look. */
static int look(busbar *bus)
{
    bb_schedule *schedule = &bus->schedule;
    uint32_t version = bb_store_data_version(&bus->store);
    if (schedule->looked && version != 0 && version == schedule->version && schedule->boot == bus->boot.id)
        return BUSBAR_OK;
    int result = bb_later_look(&bus->store, bus->boot.id, &schedule->view);
    /* A former process of this boot may have left some that wait anew. */
    if (result == BUSBAR_OK && !schedule->searched && schedule->view.relative_ms != INT64_MAX) {
        result = bb_later_has_rebased(&bus->store, bus->boot.id, &schedule->rebased);
        schedule->searched = result == BUSBAR_OK;
    }
    if (result < 0)
        return result;
    schedule->looked = true;
    schedule->version = version;
    schedule->boot = bus->boot.id;
    return BUSBAR_OK;
}

static bool empty(const bb_schedule *schedule)
{
    const bb_later_view *view = &schedule->view;
    return view->relative_ms == INT64_MAX && view->absolute_ms == INT64_MAX && !view->foreign;
}

static bool due(const bb_schedule *schedule, const bb_later_now *now)
{
    const bb_later_view *view = &schedule->view;
    return view->foreign || view->relative_ms <= now->mono_ms ||
           (now->trusted && ((schedule->rebased && now->boot != 0) || view->absolute_ms <= now->wall_ms));
}

/* Microseconds until something is due, or may be found to be: the port does not tell when the wall time is set. */
static uint64_t wait_for(const bb_schedule *schedule, const bb_later_now *now, uint64_t now_us)
{
    const bb_later_view *view = &schedule->view;
    uint64_t wait_us = BUSBAR_FOREVER;
    if (view->relative_ms != INT64_MAX) {
        uint64_t due_us = (uint64_t)view->relative_ms * 1000;
        wait_us = due_us > now_us ? due_us - now_us : 0;
    }
    if (view->absolute_ms != INT64_MAX && now->trusted) {
        uint64_t left_ms = (uint64_t)view->absolute_ms - (uint64_t)now->wall_ms;
        wait_us = sooner(wait_us, left_ms < TRUSTED_US / 1000 ? left_ms * 1000 : TRUSTED_US);
    }
    if (!now->trusted && (view->absolute_ms != INT64_MAX || schedule->rebased))
        wait_us = sooner(wait_us, UNTRUSTED_US);
    return wait_us;
}

/* Events of former boots are measured by this one's clock. */
static int adopt(busbar *bus, bb_later_now *now)
{
    int result = bb_boot_ensure(&bus->boot, &bus->store);
    if (result == BUSBAR_OK)
        result = bb_clock_note(&bus->store, bus->port, bus->boot.id);
    if (result < 0)
        return result;
    now->boot = bus->boot.id;
    now->mono_ms++; /* it was rounded down: nothing may be early */
    result = bb_later_rebase(&bus->store, now, CHUNK_ROWS);
    now->mono_ms--;
    if (!now->trusted) {
        bus->schedule.rebased = true;
        bus->schedule.looked_through = 0;
    }
    return result;
}

/* What waited anew, when the wall time is trusted; a piece of the table. */
static int bring_forward(busbar *bus, const bb_later_now *now)
{
    bb_schedule *schedule = &bus->schedule;
    if (!schedule->rebased || !now->trusted || now->boot == 0)
        return BUSBAR_OK;
    int result = bb_later_forward(&bus->store, now, CHUNK_ROWS, &schedule->looked_through);
    if (result == BUSBAR_OK)
        schedule->rebased = false;
    return result < 0 ? result : BUSBAR_OK;
}

/* Moves the one that was due first. BB_ROW, or BUSBAR_OK: none is due. */
static int append_first(busbar *bus, const bb_later_now *now)
{
    bb_later_first first;
    int64_t waited_ms = 0;
    int result = bb_later_first_due(&bus->store, now, &first);
    if (result != BB_ROW)
        return result;
    result = bb_expiry_before(bus, first.boot, first.mono_ms, first.due_ms, &waited_ms);
    if (result == BUSBAR_OK)
        result = bb_later_append(&bus->store, &first, waited_ms);
    if (result == BUSBAR_OK)
        result = bb_bound_trim(bus, (busbar_lane)first.lane);
    return result == BUSBAR_OK ? BB_ROW : result;
}

static int append_due(busbar *bus, const bb_later_now *now)
{
    int result = BB_ROW;
    for (uint32_t moved = 0; result == BB_ROW && moved < CHUNK_ROWS; moved++) {
        if (moved > 0 && bb_store_held_us(&bus->store) >= bus->options.write_hold_us)
            return BUSBAR_OK;
        result = append_first(bus, now);
    }
    return result < 0 ? result : BUSBAR_OK;
}

static int move_in_transaction(busbar *bus, bb_later_now *now)
{
    int result = bus->schedule.view.foreign ? adopt(bus, now) : BUSBAR_OK;
    if (result == BUSBAR_OK)
        result = bring_forward(bus, now);
    return result == BUSBAR_OK ? append_due(bus, now) : result;
}

static int move(busbar *bus, bb_later_now *now)
{
    bb_schedule *schedule = &bus->schedule;
    int result = bb_store_begin(&bus->store);
    if (result < 0)
        return result;
    result = move_in_transaction(bus, now);
    result = bb_store_finish(&bus->store, result);
    bb_worker_wrote(bus);
    schedule->looked = false;
    if (result == BUSBAR_OK) {
        bus->boot.confirmed = bus->boot.confirmed || schedule->view.foreign;
        return BUSBAR_OK;
    }
    schedule->searched = false; /* nothing of it was kept */
    schedule->looked_through = 0;
    if (!bus->boot.confirmed)
        bus->boot.id = 0; /* its row, if it was made here, was taken back */
    return result;
}

int bb_schedule_turn(busbar *bus, uint64_t *out_wait_us)
{
    *out_wait_us = BUSBAR_FOREVER;
    int result = look(bus);
    if (result < 0 || empty(&bus->schedule))
        return result;
    uint64_t now_us = bb_handle_now_us(bus);
    bb_later_now now = now_of(bus);
    if (!due(&bus->schedule, &now)) {
        *out_wait_us = wait_for(&bus->schedule, &now, now_us);
        return BUSBAR_OK;
    }
    *out_wait_us = bb_worker_courtesy_us(bus, now_us);
    if (*out_wait_us > 0)
        return BUSBAR_OK;
    result = move(bus, &now);
    if (result == BUSBAR_ELOCKED || result == BUSBAR_ESTALE) {
        *out_wait_us = LOCKED_PAUSE_US;
        return BUSBAR_OK;
    }
    return result;
}
