/* SPDX-License-Identifier: MIT */
/*
 * Time to live: how much of it an event has left for a consumer. Within a boot it runs on monotonic time; over boots on what
 * is certain of the time between, so that no event ends early, whatever the wall clock does.
 */
#ifndef BB_EXPIRY_H
#define BB_EXPIRY_H

#include "worker.h"

/* What is stored for BUSBAR_FOREVER, and left then. */
#define BB_EXPIRY_NEVER INT64_MAX

/*
 * How long ago an instant of a boot was at least, and the publishing of the event in the columns from `first` on, in
 * milliseconds. 0 if nothing is certain.
 */
int bb_expiry_since(busbar *bus, int64_t boot, int64_t mono_ms, int64_t *out_ms);
int bb_expiry_age(busbar *bus, sqlite3_stmt *stmt, int first, int64_t *out_ms);
/*
 * How old an event that was published then will be told to have been at `due_ms` (of this boot, not after now): so much is no
 * part of its time to live. INT64_MAX: that may change by any amount, when the wall time becomes trusted.
 */
int bb_expiry_before(busbar *bus, int64_t boot, int64_t mono_ms, int64_t due_ms, int64_t *out_ms);

/*
 * Milliseconds that the event in the columns from `first` on, which is `record`, may still live; BB_EXPIRY_NEVER: for ever;
 * zero or less: its time is over. The smaller counts of its own (or its kind's) time to live and the consumer's.
 */
int bb_expiry_left(const bb_worker *worker, busbar *bus, sqlite3_stmt *stmt, int first, const busbar_record *record,
                   int64_t *out_ms);
/* The same as a question: its time is over. */
int bb_expiry_over(const bb_worker *worker, busbar *bus, sqlite3_stmt *stmt, int first, const busbar_record *record,
                   bool *out_over);

#endif
