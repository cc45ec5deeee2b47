/* SPDX-License-Identifier: MIT */
/* Consumers: durable readers of the log, with a cursor and counters per lane, and the lease of the worker that holds one. */
#ifndef BB_CONSUMER_H
#define BB_CONSUMER_H

#include "store.h"

typedef struct bb_cursor {
    int64_t start;
    int64_t cursor; /* everything up to here is finished, or is an exception */
} bb_cursor;

/* What one piece of work adds to a lane. */
typedef struct bb_advance {
    int64_t cursor; /* new position */
    int64_t passed; /* events of the log that it has an outcome for, whatever that is */
    int64_t filtered;
    int64_t delivered;
    int64_t dead;
    int64_t expired;
    int64_t unmatched;
} bb_advance;

/* What is kept of a consumer for others to see and to act by. */
typedef struct bb_consumer_desc {
    const char *name;
    busbar_class class_;
    const char *pattern;
    const char *filter; /* for people; NULL: none */
    busbar_order order;
    uint32_t limit_ms;
    bool from_beginning;
} bb_consumer_desc;

/*
 * Makes the consumer durable if it is not, and keeps what is known of it up to date. In a transaction. *out_id: its number.
 * BUSBAR_ECLASS if the name is of the other class.
 */
int bb_consumer_ensure(bb_store *store, const bb_consumer_desc *desc, int64_t *out_id);
/* BUSBAR_ENOTFOUND, with a detail that names it. */
int bb_consumer_find(bb_store *store, const char *name, int64_t *out_id);
/* Deletes the consumer with its cursors and exceptions. In a transaction. */
int bb_consumer_delete(bb_store *store, int64_t id);

/* One consumer as a person sees it. */
typedef struct bb_consumer_view {
    int64_t id;
    int64_t class_;
    busbar_order order;
    int64_t limit_ms;
    char name[BUSBAR_NAME_MAX + 1];
    char pattern[BUSBAR_PATTERN_MAX + 1];
    char filter[BUSBAR_DETAIL_SIZE];     /* "": none */
    char worker[BUSBAR_DETAIL_SIZE];     /* "": nobody */
    char last_error[BUSBAR_DETAIL_SIZE]; /* "": none */
} bb_consumer_view;

/* The first one by name after `after` ("" for the first of all). BB_ROW, or BUSBAR_OK: no more. Nothing stays open. */
int bb_consumer_next(bb_store *store, const char *after, bb_consumer_view *out_view);
/* Counters and rate of every lane; `retrying` and `parked` are counted from the exceptions. */
int bb_consumer_progress(bb_store *store, int64_t id, busbar_progress out_progress[BUSBAR_LANE_COUNT],
                         int64_t *out_rate_mhz);
/* When, in this boot, one of its cursors moved last; 0: not in this boot. */
int bb_consumer_moved(bb_store *store, int64_t id, int64_t boot, int64_t *out_moved_ms);

int bb_consumer_cursors(bb_store *store, int64_t id, bb_cursor out_cursors[BUSBAR_LANE_COUNT]);
/* When a cursor moves, and how fast. */
typedef struct bb_pace {
    int64_t rate_mhz; /* passed per 1000 seconds; 0: not known */
    int64_t boot;
    int64_t now_ms;
} bb_pace;
/*
 * Moves a lane's cursor and adds to its counters. The stored cursor may have moved meanwhile: somebody has evicted events
 * that this worker had in hand. These have the outcome that it gives them, and do not count as evicted; what it never saw
 * does.
 */
int bb_consumer_advance(bb_store *store, int64_t id, busbar_lane lane, const bb_advance *advance, const bb_pace *pace);

/* One lane's cursor. */
int bb_consumer_cursor(bb_store *store, int64_t id, busbar_lane lane, int64_t *out_cursor);
/* The next consumer by number after *inout_id whose cursor is below a position. BB_ROW, or BUSBAR_OK: none. */
int bb_consumer_behind(bb_store *store, busbar_lane lane, int64_t position, int64_t *inout_id);
/* Moves a lane's cursor on; what lies between counts as evicted. */
int bb_consumer_evict(bb_store *store, int64_t id, busbar_lane lane, int64_t position);

/* What somebody's act, or a limit on dead letters, adds to a lane's counters. */
typedef struct bb_account {
    int64_t dead; /* negative: tried again */
    int64_t dropped;
    int64_t replayed;
} bb_account;
int bb_consumer_account(bb_store *store, int64_t id, busbar_lane lane, const bb_account *account);

/* Counts a batch begun, and gives its number: tells afterwards whether the batch's transaction was committed. */
int bb_consumer_begin_batch(bb_store *store, int64_t id, int64_t *out_batch);
int bb_consumer_last_batch(bb_store *store, int64_t id, int64_t *out_batch);
/*
 * Text of the last failure, NULL to clear it. `offline`: it is the connection's, no event's. Notes since when there is one
 * of its sort; `delivered` ends that of events. Writes only a change.
 */
int bb_consumer_note_error(bb_store *store, int64_t id, const char *text, bool offline, bool delivered,
                           const bb_pace *now);
/* What it noted, of the connection if that is lost; 0 since: nothing. Untouched if the consumer is gone. */
int bb_consumer_failing(bb_store *store, int64_t id, bool *out_offline, int64_t *out_boot, int64_t *out_since_ms);

/* The lowest position that some consumer still needs is above *out_floor. INT64_MAX if there is no consumer at all. */
int bb_consumer_floor(bb_store *store, busbar_lane lane, int64_t *out_floor);

#endif
