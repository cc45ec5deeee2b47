/* SPDX-License-Identifier: MIT */
/*
 * Gaps: what a consumer has missed, because it expired or was evicted. A record per run of positions, in the order in which
 * they were lost; adjacent ones merge, and when a consumer that tells nobody has many, the newest takes up what follows.
 * Knows nothing of how gaps are told.
 */
#ifndef BB_GAP_H
#define BB_GAP_H

#include "identity.h"
#include "store.h"

/* Stored numbers; never given another meaning. */
typedef enum bb_gap_reason {
    BB_GAP_EXPIRED = 1, /* their time to live was over */
    BB_GAP_EVICTED = 2, /* a limit on bytes or events */
    BB_GAP_AGED = 3,    /* the limit on age */
    BB_GAP_IDLE = 4,    /* the consumer was away for too long */
    BB_GAP_MISSING = 5  /* somebody deleted them */
} bb_gap_reason;

/* Of one consumer and lane; then the last one grows. */
#define BB_GAP_MAX 32

typedef struct bb_gap {
    int64_t n; /* 0: none */
    int64_t reason;
    int64_t first; /* between these positions, ends included, `count` were lost */
    int64_t last;
    int64_t count;
    char token[BB_IDENTITY_TOKEN_SIZE]; /* of its event's id; "": it was never sent, and may still grow */
} bb_gap;

/* "expired", "evicted", … */
const char *bb_gap_reason_name(int64_t reason);

/* Everything below runs in the transaction that changes the counters. */
int bb_gap_add(bb_store *store, int64_t consumer, busbar_lane lane, const bb_gap *gap);
/* So many of the last ones were not lost after all. */
int bb_gap_shrink(bb_store *store, int64_t consumer, busbar_lane lane, int64_t count);
/* Fixes it, and the id of its event, for good. */
int bb_gap_seal(bb_store *store, int64_t n, const char *token);
/* Only if it is the one that was sealed so. */
int bb_gap_delete(bb_store *store, const bb_gap *gap);
int bb_gap_delete_all(bb_store *store, int64_t consumer);

/* BB_ROW if the consumer has missed something that is still to be told, else BUSBAR_OK. */
int bb_gap_any(bb_store *store, int64_t consumer);
/* How many records a consumer has, and how many events were lost in them. */
int bb_gap_total(bb_store *store, int64_t consumer, int64_t *out_count, int64_t *out_events);

/* The first one with n > after. BB_ROW, or BUSBAR_OK: none. Nothing stays open. */
int bb_gap_next(bb_store *store, int64_t consumer, busbar_lane lane, int64_t after, bb_gap *out_gap);

#endif
