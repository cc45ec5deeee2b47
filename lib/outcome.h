/* SPDX-License-Identifier: MIT */
/*
 * What became of a consumer's events, written in the transaction that moves its cursor: counters, exceptions, parked
 * followers, the text for the status. Subscriptions and routes alike; knows neither handlers nor transports.
 */
#ifndef BB_OUTCOME_H
#define BB_OUTCOME_H

#include "worker.h"

/* An event in a consumer's hands: from the log, or an exception that is tried again. */
typedef struct bb_trial {
    bb_exception_key key;
    uint32_t number; /* of this attempt: 1 is the first; 0: not at hand, the exception knows */
} bb_trial;

/* The trial of the exception that a bb_exception_read statement stands on. */
void bb_trial_read(const bb_store *store, sqlite3_stmt *stmt, bb_trial *out_trial);

/* Why an event did not get through. */
typedef struct bb_fault {
    busbar_verdict verdict; /* BUSBAR_RETRY, BUSBAR_WAIT or BUSBAR_DEAD */
    uint32_t retry_after_ms;
    const char *text; /* NULL or "": none */
} bb_fault;

/*
 * There is no room for one more open exception, or in the file (options.max_bytes) for one more copy of an event: nothing was
 * written, and the event is not passed. Positive.
 */
#define BB_NO_ROOM 3

typedef struct bb_outcome {
    bb_worker *worker;
    busbar *bus;
    bb_advance *advance; /* per lane: where the cursor will be, and what is to be counted */
    bool touched[BUSBAR_LANE_COUNT];
    int32_t open[BUSBAR_LANE_COUNT]; /* exceptions that are not dead */
    bool handled;                    /* something had an outcome: the status may change */
    bool offline;                    /* `failure` is the connection's */
    const char *no_room;             /* why there was none, for the status */
    char failure[BUSBAR_DETAIL_SIZE];
} bb_outcome;

/* `advance` must hold the cursors, and lives as long as the outcome. In a transaction. */
int bb_outcome_begin(bb_outcome *outcome, bb_worker *worker, busbar *bus, bb_advance *advance);

/* The record is NULL where it is no longer at hand; then nothing that needs it (types, outcome events) is told of. */
int bb_outcome_done(bb_outcome *outcome, const bb_trial *trial, const busbar_record *record);
/* BB_NO_ROOM, or a code. */
int bb_outcome_failed(bb_outcome *outcome, const bb_trial *trial, const busbar_record *record, const bb_fault *fault);
/* Its time was over. */
int bb_outcome_expired(bb_outcome *outcome, const bb_trial *trial);
/* The same for a run of events of the log, of which the first ones may be behind the cursor already. */
int bb_outcome_expired_run(bb_outcome *outcome, busbar_lane lane, int64_t first, int64_t last);
/* It waits behind another. BB_NO_ROOM, or a code. */
int bb_outcome_parked(bb_outcome *outcome, const bb_trial *trial);
/* They are passed over: the consumer does not want them. The first ones may be behind the cursor already. */
void bb_outcome_filtered(bb_outcome *outcome, busbar_lane lane, int64_t first, int64_t last);

/* Whether an event of this key (NULL: none) must be parked behind an exception. */
int bb_outcome_must_park(bb_outcome *outcome, busbar_lane lane, const char *key, bool *out_park);
/* The lane stands still behind an exception (BUSBAR_ORDER_STRICT). */
bool bb_outcome_held(const bb_outcome *outcome, busbar_lane lane);
/* What the status should say although no event failed. */
void bb_outcome_say(bb_outcome *outcome, const char *text);

/* Writes cursors, counters and the text for the status. */
int bb_outcome_write(bb_outcome *outcome);

#endif
