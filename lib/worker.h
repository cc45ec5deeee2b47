/* SPDX-License-Identifier: MIT */
/* What subscriptions and routes have in common: a consumer, its lease, its turn, and manners towards the application. */
#ifndef BB_WORKER_H
#define BB_WORKER_H

#include "consumer.h"
#include "exception.h"
#include "handle.h"
#include "lease.h"
#include "meter.h"

typedef struct bb_worker bb_worker;

typedef struct bb_worker_api {
    /*
     * One piece of work, until deadline_us or its own end. *out_wait_us: how long there is nothing to do (0: more now).
     * A code is an environment's; the work is not lost. Outside any transaction.
     */
    int (*run)(bb_worker *worker, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us);
    /* Lets go of the network, and records results that have arrived. Outside any transaction. */
    void (*stop)(bb_worker *worker, busbar *bus);
    /* Frees everything. The lease was given back before. */
    void (*free)(bb_worker *worker);
    /* Has the bus's wake object, which is open, watch what wakes this worker. Returns 0, or -1 when it is refused. */
    int (*watch)(bb_worker *worker, busbar *bus);
} bb_worker_api;

struct bb_worker {
    const bb_worker_api *api;
    bb_worker *next;
    int64_t consumer;
    char name[BUSBAR_NAME_MAX + 1];
    char pattern[BUSBAR_PATTERN_MAX + 1];
    bool matches_all;
    bool removed; /* the consumer is gone: another handle removed it */
    busbar_retry retry;
    bb_lease lease;
    bb_meter meter;
};

/* Fills the common part and makes the consumer durable. In a transaction. */
typedef struct bb_worker_desc {
    const char *name;
    const char *pattern;
    busbar_class class_;
    bool from_beginning;
    busbar_retry retry;
} bb_worker_desc;
/* Checks a desc: BUSBAR_ENAME, BUSBAR_EPATTERN, BUSBAR_EEXISTS. */
int bb_worker_check(busbar *bus, const bb_worker_desc *desc);
int bb_worker_init(bb_worker *worker, const bb_worker_api *api, busbar *bus, const bb_worker_desc *desc);
/* Hands the worker to the bus. */
void bb_worker_enlist(bb_worker *worker, busbar *bus);
bb_worker *bb_worker_find(const busbar *bus, const char *name);

/* The event type is wanted. */
bool bb_worker_wants(const bb_worker *worker, const char *type);

/*
 * The lease is held (BUSBAR_OK, and a competitor's claim is answered), or not (BUSBAR_ELEASE, *out_wait_us set).
 * `wanted`: there is work.
 */
int bb_worker_hold(bb_worker *worker, busbar *bus, bool wanted, uint64_t *out_wait_us);

/* Microseconds for which the write lock is still the application's. */
uint64_t bb_worker_courtesy_us(const busbar *bus, uint64_t now_us);
/* Notes that the transaction that bb_store_begin began, if it could, has just ended. */
void bb_worker_wrote(busbar *bus);

/* Raises the watermark to the head, unless courtesy forbids it now (then *out_wait_us says how long). */
int bb_worker_raise_watermark(busbar *bus, uint64_t *out_wait_us);

/* Describes a failed attempt by the retry policy: RETRY with its due time, or DEAD. The boot's row is made. In a transaction. */
int bb_worker_failure(bb_worker *worker, busbar *bus, busbar_lane lane, uint32_t attempts, bool dead,
                      const char *reason, bb_failure *out_failure);

/* Microseconds from now until a retry is due at due_ms (INT64_MAX: BUSBAR_FOREVER). */
uint64_t bb_worker_wait_for(const busbar *bus, int64_t due_ms);

/* Begins a write transaction that only the holder of the lease gets into: BUSBAR_ELEASE if it was lost. */
int bb_worker_begin(bb_worker *worker, busbar *bus);

#endif
