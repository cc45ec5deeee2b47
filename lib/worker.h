/* SPDX-License-Identifier: MIT */
/* What subscriptions and routes have in common: a consumer, its lease, its turn, and manners towards the application. */
#ifndef BB_WORKER_H
#define BB_WORKER_H

#include "consumer.h"
#include "exception.h"
#include "filter.h"
#include "handle.h"
#include "lease.h"
#include "meter.h"
#include "turns.h"

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
    bool matches_all;
    bool removed; /* the consumer is gone: another handle removed it */
    bb_filter *filter;
    busbar_order order;
    bool order_due;         /* the lease is new: what waits may be parked by the order of the one that had it before */
    uint32_t lanes;         /* a bit per lane that is wanted */
    const char *on_success; /* types of outcome events, or NULL; both stand in `types` */
    const char *on_failure;
    char *types;
    busbar_retry retry;
    uint64_t ttl_ms; /* 0: none */
    bb_lease lease;
    bb_meter meter;
    bb_turns turns;
    uint32_t careful; /* so many events are handed over one at a time, each noted before: the last worker ended badly */
    bool noted;       /* an event is noted in the database, and may still be in hand */
    char name[BUSBAR_NAME_MAX + 1];
    char pattern[BUSBAR_PATTERN_MAX + 1];
};

/* What subscriptions and routes tell of themselves. Everything is checked and copied. */
typedef struct bb_worker_desc {
    const char *name;
    const char *pattern;
    busbar_class class_;
    bool from_beginning;
    const busbar_retry *retry;
    const busbar_filter *filter;
    busbar_order order;
    uint32_t lanes;
    uint32_t share;
    uint32_t limit_ms;
    uint64_t ttl_ms;
    const char *on_success;
    const char *on_failure;
} bb_worker_desc;
/* Checks a desc: BUSBAR_ENAME, BUSBAR_EPATTERN, BUSBAR_EEXISTS, BUSBAR_ERETRY, BUSBAR_ELANE, BUSBAR_ETYPE, BUSBAR_EINVAL, BUSBAR_ENOTSUP. */
int bb_worker_check(busbar *bus, const bb_worker_desc *desc);
/* BUSBAR_ENOTSUP with this text, unless it is NULL. */
int bb_worker_refuse(busbar *bus, const char *text);
/* Fills the common part and makes the consumer durable. In a transaction. bb_worker_fini also after a failure. */
int bb_worker_init(bb_worker *worker, const bb_worker_api *api, busbar *bus, const bb_worker_desc *desc);
void bb_worker_fini(bb_worker *worker);
/* Hands the worker to the bus. */
void bb_worker_enlist(bb_worker *worker, busbar *bus);
bb_worker *bb_worker_find(const busbar *bus, const char *name);

/* The event type is wanted. */
bool bb_worker_wants(const bb_worker *worker, const char *type);
/* And by its filter, which needs the whole event. */
bool bb_worker_wants_event(const bb_worker *worker, const busbar_record *record);
bool bb_worker_wants_lane(const bb_worker *worker, busbar_lane lane);

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

/* Microseconds from now until a retry is due at due_ms (INT64_MAX: BUSBAR_FOREVER). */
uint64_t bb_worker_wait_for(const busbar *bus, int64_t due_ms);

/* Begins a write transaction that only the holder of the lease gets into: BUSBAR_ELEASE if it was lost. */
int bb_worker_begin(bb_worker *worker, busbar *bus);
/* The same, but its commit is synced as that of bb_store_begin_synced. */
int bb_worker_begin_synced(bb_worker *worker, busbar *bus);

/* Fills in options.poison_ends. BUSBAR_ENOTSUP where this library has no notes. (worker_note.c, also what follows) */
int bb_worker_init_notes(busbar *bus);
/* The lease was taken: notes begin if its last holder ended badly. */
void bb_worker_begin_notes(bb_worker *worker);
/*
 * Notes, in the transaction that is open, that an event is about to be handed over. *out_poison: it must not be, because it
 * has ended the process too often. One event of the whole bus is in hand as far as the notes tell: a message of a route
 * that is still on its way is not to blame for what the event that is noted now may do.
 */
int bb_worker_note(bb_worker *worker, busbar *bus, busbar_lane lane, int64_t seq, bool *out_poison);
/* The same in a transaction of its own that would survive a power cut. */
int bb_worker_mark(bb_worker *worker, busbar *bus, busbar_lane lane, int64_t seq, bool *out_poison);
/* Another worker of this bus has an event in hand that is noted. */
bool bb_worker_other_noted(const bb_worker *worker, const busbar *bus);
/* The event that is noted is not in hand any more, and had no outcome. In a transaction of its own. */
int bb_worker_withdraw(bb_worker *worker, busbar *bus);
/* What is said of such an event. */
extern const char bb_worker_poison_text[];
/* An event that was noted has an outcome: in the transaction that records it. */
int bb_worker_passed(bb_worker *worker, busbar *bus);

#endif
