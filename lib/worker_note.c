/* SPDX-License-Identifier: MIT */
/* The part of a worker that finds out which event ends the process (P11): it takes notes of what it has in hand. */
#include "poison.h"
#include "worker.h"

#define POISON_DEFAULT 3u

/*
 * How many events are handed over one at a time after a bad end: what a batch or a window of that worker may have had in
 * hand. Should the one that ended it be further behind, the next bad end begins nearer to it.
 */
#define CAREFUL_EVENTS 256u

const char bb_worker_poison_text[] = "the process ended again and again while it had this event in hand";

int bb_worker_init_notes(busbar *bus)
{
    if (bus->options.poison_ends == 0)
        bus->options.poison_ends = POISON_DEFAULT;
    return BUSBAR_OK;
}

void bb_worker_begin_notes(bb_worker *worker)
{
    worker->careful = worker->lease.unclean ? CAREFUL_EVENTS : 0;
    worker->noted = false;
}

/* It has an event in hand. A consumer that another process has taken over, or somebody removed, is no business of ours. */
static bool has_note(const bb_worker *worker)
{
    return worker->noted && worker->lease.held && !worker->removed;
}

static int withdraw_others(const bb_worker *worker, busbar *bus)
{
    int result = BUSBAR_OK;
    for (bb_worker *other = bus->workers; result == BUSBAR_OK && other; other = other->next) {
        if (other == worker || !has_note(other))
            continue;
        result = bb_poison_withdraw(&bus->store, other->consumer);
        other->noted = false;
    }
    return result;
}

int bb_worker_note(bb_worker *worker, busbar *bus, busbar_lane lane, int64_t seq, bool *out_poison)
{
    int64_t ends = 0;
    int result = bb_poison_mark(&bus->store, worker->consumer, lane, seq, &ends);
    if (result == BUSBAR_OK)
        result = withdraw_others(worker, bus);
    if (result < 0)
        return result;
    worker->noted = true;
    *out_poison = ends >= bus->options.poison_ends;
    return BUSBAR_OK;
}

int bb_worker_mark(bb_worker *worker, busbar *bus, busbar_lane lane, int64_t seq, bool *out_poison)
{
    int result = bb_worker_begin_synced(worker, bus);
    if (result < 0)
        return result;
    result = bb_worker_note(worker, bus, lane, seq, out_poison);
    return bb_store_finish(&bus->store, result);
}

bool bb_worker_other_noted(const bb_worker *worker, const busbar *bus)
{
    for (const bb_worker *other = bus->workers; other; other = other->next) {
        if (other != worker && has_note(other))
            return true;
    }
    return false;
}

int bb_worker_withdraw(bb_worker *worker, busbar *bus)
{
    int result = bb_worker_begin(worker, bus);
    if (result < 0)
        return result;
    result = bb_poison_withdraw(&bus->store, worker->consumer);
    result = bb_store_finish(&bus->store, result);
    worker->noted = worker->noted && result < 0;
    return result;
}

int bb_worker_passed(bb_worker *worker, busbar *bus)
{
    if (worker->careful == 0)
        return BUSBAR_OK;
    worker->careful--;
    worker->noted = false;
    return bb_poison_unmark(&bus->store, worker->consumer);
}
