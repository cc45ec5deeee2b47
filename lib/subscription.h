/* SPDX-License-Identifier: MIT */
/* Local handlers: busbar_subscribe, and the worker that hands events to one handler. */
#ifndef BB_SUBSCRIPTION_H
#define BB_SUBSCRIPTION_H

#include "record.h"
#include "worker.h"

typedef struct bb_subscription {
    bb_worker worker; /* first: a worker is cast to its subscription */
    busbar_handler_fn *fn;
    void *ctx;
    busbar_delivery delivery;
    bool one_by_one;           /* the last batch was undone by a handler that rolled back: find out which */
    uint64_t blocked_until_us; /* too many open exceptions: the lanes stand still until then */
    bb_buffer copy;            /* the event of an outside handler */
} bb_subscription;

/* Runs the handler, guarded: inside it the bus can neither be stepped nor closed. Anything but a verdict counts as RETRY. */
busbar_verdict bb_subscription_call(bb_subscription *subscription, busbar *bus, const busbar_record *record,
                                    busbar_reason *reason);

/* One batch inside a transaction of the bus (transaction_batch.c). *out_wait_us: 0 if there may be more. */
int bb_transaction_batch(bb_subscription *subscription, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us);
/* One batch outside any transaction (outside_batch.c). */
int bb_outside_batch(bb_subscription *subscription, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us);

#endif
