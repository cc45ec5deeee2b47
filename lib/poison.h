/* SPDX-License-Identifier: MIT */
/*
 * The notes of which event a worker has in hand, taken because the worker before it may have been ended by an event (P11).
 * Whoever is found noted often enough did it. Knows tables, not what becomes of the event. Inside a write transaction.
 */
#ifndef BB_POISON_H
#define BB_POISON_H

#include "store.h"

/*
 * The event that a worker is about to hand over.
 * *out_ends: how often this very event was noted before, and neither finished nor failed: so often it ended the process.
 */
int bb_poison_mark(bb_store *store, int64_t consumer, busbar_lane lane, int64_t seq, int64_t *out_ends);
/* The event that was noted last has come to an end of its own. */
int bb_poison_unmark(bb_store *store, int64_t consumer);
/* The event that was noted last is not in hand any more: should the process end now, it is not to blame. */
int bb_poison_withdraw(bb_store *store, int64_t consumer);
/* All of a consumer that is removed. */
int bb_poison_forget(bb_store *store, int64_t consumer);

#endif
