/* SPDX-License-Identifier: MIT */
/* Without notes of what is in hand: an event that ends the process is handed over again each time. */
#include "absent.h"
#include "worker.h"

const char bb_worker_poison_text[] = "";

int bb_worker_init_notes(busbar *bus)
{
    if (bus->options.poison_ends == 0)
        return BUSBAR_OK;
    return bb_store_fail(&bus->store, BUSBAR_ENOTSUP, BB_ABSENT("options.poison_ends", "poison"));
}

void bb_worker_begin_notes(bb_worker *worker)
{
    (void)worker;
}

int bb_worker_note(bb_worker *worker, busbar *bus, busbar_lane lane, int64_t seq, bool *out_poison)
{
    (void)worker;
    (void)bus;
    (void)lane;
    (void)seq;
    *out_poison = false;
    return BUSBAR_OK;
}

int bb_worker_mark(bb_worker *worker, busbar *bus, busbar_lane lane, int64_t seq, bool *out_poison)
{
    return bb_worker_note(worker, bus, lane, seq, out_poison);
}

bool bb_worker_other_noted(const bb_worker *worker, const busbar *bus)
{
    (void)worker;
    (void)bus;
    return false;
}

int bb_worker_withdraw(bb_worker *worker, busbar *bus)
{
    (void)worker;
    (void)bus;
    return BUSBAR_OK;
}

int bb_worker_passed(bb_worker *worker, busbar *bus)
{
    (void)worker;
    (void)bus;
    return BUSBAR_OK;
}
