/* SPDX-License-Identifier: MIT */
/* Local handlers: busbar_subscribe, and the worker that hands events to one handler. */
#ifndef BB_SUBSCRIPTION_H
#define BB_SUBSCRIPTION_H

#include "ahead.h"
#include "outcome.h"
#include "record.h"

struct bb_broken; /* transaction_batch.c */

typedef struct bb_subscription {
    bb_worker worker; /* first: a worker is cast to its subscription */
    busbar_handler_fn *fn;
    void *ctx;
    busbar_delivery delivery;
    uint32_t one_by_one; /* so many events come one to a batch: a handler among them rolls back, find out which */
    uint64_t blocked_until_us[BUSBAR_LANE_COUNT]; /* too many open exceptions: the lane stands still until then */
    bb_buffer copy;                               /* the event in the handler's hands */
    bb_advance unrecorded[BUSBAR_LANE_COUNT];     /* results of an outside handler that no commit has recorded yet */
    bb_outcome outcome;                           /* of these */
    bool has_unrecorded;
    struct bb_broken *broken; /* a batch whose handler committed it, and whose progress no commit has recorded yet */
    bb_ahead ahead;           /* events behind the one in hand; empty between batches */
} bb_subscription;

/* Runs the handler, guarded: inside it the bus can neither be stepped nor closed. Anything but a verdict counts as RETRY. */
busbar_verdict bb_subscription_call(bb_subscription *subscription, busbar *bus, const busbar_record *record,
                                    busbar_reason *reason);

/* The lane stands still: there is no room for one more exception. */
bool bb_subscription_blocked(const bb_subscription *subscription, busbar_lane lane, uint64_t now_us);
/* Lets the lane stand still for a while. */
void bb_subscription_block(bb_subscription *subscription, const busbar *bus, busbar_lane lane);

/* One batch inside a transaction of the bus (transaction_batch.c). *out_wait_us: 0 if there may be more. */
int bb_transaction_batch(bb_subscription *subscription, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us);
/* What is to be said to who registers a handler outside transactions; NULL where this library has them (outside_batch.c). */
const char *bb_outside_refusal(void);
/* One batch outside any transaction (outside_batch.c). */
int bb_outside_batch(bb_subscription *subscription, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us);

/* Records the results of an outside handler that no commit has recorded yet. */
int bb_outside_record(bb_subscription *subscription, busbar *bus);

#endif
