/* SPDX-License-Identifier: MIT */
/*
 * Exceptions: events that a consumer could not finish. Each owns a copy of its event, so that the log can be pruned behind
 * it. Times are monotonic with their boot: retry never depends on wall time, and another boot means due at once.
 */
#ifndef BB_EXCEPTION_H
#define BB_EXCEPTION_H

#include "store.h"

/* Most open exceptions of one consumer; at the bound it stops at the next failing event until some are settled. */
#define BB_EXCEPTION_MAX 1000

/* Columns before the log's in bb_exception_read statements; the log's columns follow (bb_log_column + BB_EXCEPTION_LOG). */
enum bb_exception_column {
    BB_EXCEPTION_N,
    BB_EXCEPTION_LANE,
    BB_EXCEPTION_STATE,
    BB_EXCEPTION_ATTEMPTS,
    BB_EXCEPTION_REASON,
    BB_EXCEPTION_LOG
};

typedef struct bb_failure {
    int64_t consumer;
    busbar_lane lane;
    busbar_state state; /* BUSBAR_STATE_RETRY or BUSBAR_STATE_DEAD */
    uint32_t attempts;
    const char *reason;
    int64_t boot;
    int64_t now_ms;
    int64_t due_ms; /* RETRY */
} bb_failure;

/* Copies the event at `seq` from the log. In the transaction that moves the cursor past it. */
int bb_exception_add(bb_store *store, const bb_failure *failure, int64_t seq);
/* Another failure of an event that is an exception already. */
int bb_exception_update(bb_store *store, const bb_failure *failure, int64_t n);
/* Settled. */
int bb_exception_delete(bb_store *store, int64_t n);

/* Whether it is there and not dead. */
int bb_exception_is_open(bb_store *store, int64_t n, int64_t consumer, busbar_lane lane, int64_t seq, bool *out_open);

/* Open exceptions (not dead) of a consumer. */
int bb_exception_count(bb_store *store, int64_t consumer, int64_t *out_count);
/* When the next retry is due, milliseconds of this boot's clock; 0: now; INT64_MAX: none waits. */
int bb_exception_next_due(bb_store *store, int64_t consumer, int64_t boot, int64_t *out_due_ms);
/* The first one that waits for retry, is due, and has n > after. BB_ROW (bb_store_end it) or BUSBAR_OK: none. */
int bb_exception_read_due(bb_store *store, int64_t consumer, int64_t boot, int64_t now_ms, int64_t after,
                          sqlite3_stmt **out_stmt);
/* The first of a consumer and lane with seq > after. BB_ROW (bb_store_end it) or BUSBAR_OK: none. */
int bb_exception_read_after(bb_store *store, int64_t consumer, busbar_lane lane, int64_t after,
                            sqlite3_stmt **out_stmt);
/* The one at a position. BB_ROW (bb_store_end it) or BUSBAR_OK: none. */
int bb_exception_read_at(bb_store *store, int64_t consumer, busbar_lane lane, int64_t seq, sqlite3_stmt **out_stmt);

/* Any consumer's copy of the event at a position. BB_ROW (bb_store_end it) or BUSBAR_OK: none. */
int bb_exception_read_any(bb_store *store, busbar_lane lane, int64_t seq, sqlite3_stmt **out_stmt);

#endif
