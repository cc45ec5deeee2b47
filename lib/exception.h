/* SPDX-License-Identifier: MIT */
/*
 * Exceptions: events that a consumer could not finish. Each owns a copy of its event, so that the log can be pruned behind
 * it. Times are monotonic with their boot: retry never depends on wall time, and another boot means due at once.
 *
 * A parked one waits until the one before it is settled: in its lane (BUSBAR_ORDER_STRICT) or of its key (BUSBAR_ORDER_KEY).
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
    BB_EXCEPTION_FIRST_BOOT, /* of the first and the last failure; 0: it has not failed */
    BB_EXCEPTION_FIRST_MS,
    BB_EXCEPTION_LAST_BOOT,
    BB_EXCEPTION_LAST_MS,
    BB_EXCEPTION_LOG
};

/* Which exception: a number is given again when the newest is deleted, so the position goes with it. */
typedef struct bb_exception_key {
    int64_t n; /* 0: none, the event is in the log only */
    busbar_lane lane;
    int64_t seq;
} bb_exception_key;

typedef struct bb_failure {
    int64_t consumer;
    bb_exception_key key;
    busbar_state state; /* BUSBAR_STATE_RETRY, _PARKED or _DEAD */
    uint32_t attempts;
    const char *reason;
    int64_t boot;
    int64_t now_ms;
    bool spent;     /* an attempt: it has failed, and does not just wait */
    int64_t due_ms; /* RETRY */
    int64_t wait_ms;
    int64_t age_ms; /* since the first failure, counted while the machine ran */
} bb_failure;

/* What is known of an event's failures so far. */
typedef struct bb_history {
    uint32_t attempts;
    int64_t wait_ms;
    int64_t age_ms;
    int64_t last_boot;
    int64_t last_ms;
    busbar_retry retry; /* the event's own policy; untouched if it has none */
} bb_history;

/* Copies the event at its position from the log. In the transaction that moves the cursor past it. */
int bb_exception_add(bb_store *store, const bb_failure *failure);
/* How many bytes the copy of an event of the log takes, about; 0: it is not there. */
int bb_exception_bytes(bb_store *store, busbar_lane lane, int64_t seq, int64_t *out_size_bytes);
/* Another failure of an event that is an exception already. BB_ROW, or BUSBAR_OK: it is not open any more. */
int bb_exception_update(bb_store *store, const bb_failure *failure);
/* Settled. BB_ROW, or BUSBAR_OK: it was not open any more. */
int bb_exception_delete(bb_store *store, int64_t consumer, const bb_exception_key *key);
/* Somebody does not want it any more, dead or not. In the transaction that found it. */
int bb_exception_forget(bb_store *store, int64_t n);
/* Reads the failures of an event so far. */
int bb_exception_history(bb_store *store, const bb_exception_key *key, bb_history *inout_history);

/*
 * Makes the first one that is parked behind this one due now, unless another one goes before it. Before this one is deleted;
 * of no effect without order.
 */
int bb_exception_release(bb_store *store, int64_t consumer, busbar_order order, const bb_exception_key *key);
/* Makes the one that was parked at this position, with order by key, due now if none is left that it waits for. */
int bb_exception_unpark(bb_store *store, int64_t consumer, const bb_exception_key *key);
/* Makes those due that are parked behind nobody: the worker before this one may have known of another order. BB_ROW: some. */
int bb_exception_free(bb_store *store, int64_t consumer, busbar_order order);
/* The consumer's order has changed to this one: of those that go behind each other now one is due, the others are parked. */
int bb_exception_reorder(bb_store *store, int64_t consumer, busbar_order order);

/* Whether another open one holds this one up, by the consumer's order. */
int bb_exception_blocked(bb_store *store, int64_t consumer, busbar_order order, const bb_exception_key *key,
                         bool *out_blocked);
/* As if it had never failed: due now (BUSBAR_STATE_RETRY), or BUSBAR_STATE_PARKED. */
int bb_exception_revive(bb_store *store, const bb_exception_key *key, busbar_state state);
/* One that waits for retry is due now. */
int bb_exception_hurry(bb_store *store, const bb_exception_key *key);

/* The newest dead letter of a consumer that is beyond the newest `keep`; 0: there are no more than these. */
int bb_exception_beyond(bb_store *store, int64_t consumer, uint32_t keep, int64_t *out_until);

/* Which dead letters: by their number, or (boot not 0) by their last failure. */
typedef struct bb_dead_choice {
    int64_t consumer;
    int64_t until;     /* none above this number */
    int64_t boot;      /* 0: by number */
    int64_t before_ms; /* failed last in this boot, and not after this */
    bool former_boots; /* or in a former one */
} bb_dead_choice;
/* The first dead letter of a choice with n > after: its number and lane. BB_ROW, or BUSBAR_OK: none. */
int bb_exception_next_dead(bb_store *store, const bb_dead_choice *choice, int64_t after, bb_exception_key *out_key);

/* Open exceptions (not dead) of a consumer, by lane. */
int bb_exception_count(bb_store *store, int64_t consumer, int32_t out_count[BUSBAR_LANE_COUNT]);
/* Whether an event of this key is among the open ones of a lane. */
int bb_exception_holds(bb_store *store, int64_t consumer, busbar_lane lane, const char *key, bool *out_holds);
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
