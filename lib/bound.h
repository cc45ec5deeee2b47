/* SPDX-License-Identifier: MIT */
/*
 * Bounds: the limits on bytes, events and age of options, held by whoever publishes, and on age by workers, too. A publisher
 * counts what it writes and looks at the file only when a credit is used up, so that a limit that is far away costs an
 * addition.
 */
#ifndef BB_BOUND_H
#define BB_BOUND_H

#include "credit.h"
#include "log.h"

/* Checks the limits of options, fills in what is 0, and sets up. BUSBAR_EINVAL. */
int bb_bound_init(busbar *bus);

/* Counts an event. True: bb_bound_admit must be asked for its bytes before it is written. Only with a limit set. */
bool bb_bound_spent(busbar *bus, busbar_lane lane, const bb_log_row *row, size_t *out_size_bytes);
/* There is room, or room was made, for an event of so many bytes. BUSBAR_EBUSFULL. In a scope. */
int bb_bound_admit(busbar *bus, busbar_lane lane, size_t size_bytes);
/* Ends the scope. What has made room stays gone, though it was not enough: the next publish goes on from there. */
int bb_bound_leave(busbar *bus, const bb_scope *scope, int result);
/* After an event was written, published or due: the lane is within its number of events again. In the same scope. */
int bb_bound_trim(busbar *bus, busbar_lane lane);

/*
 * Whether there is room for a worker's own copy of an event of so many bytes: what nobody waits for makes some, half of the
 * reserve is lent, nothing is evicted. In a transaction.
 */
int bb_bound_copy(busbar *bus, size_t size_bytes, bool *out_room);

/* The disk is full: gives the reserve up for what is not publishing. True: there is room now, try again. */
bool bb_bound_relieve(busbar *bus);

/* The WAL takes up more than was set aside for it, as after a long reader; only with a limit on bytes. */
bool bb_bound_wal_high(busbar *bus);
/* Then it is made empty, if nobody reads. Outside any transaction. True: it was, there may be room now. */
bool bb_bound_cut_wal(busbar *bus);

/* A worker's part: evicts a bounded number of events that are too old, and takes the reserve again. Outside any transaction. *out_more: there are more. */
int bb_bound_step(busbar *bus, bool *out_more);

#endif
