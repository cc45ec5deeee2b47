/* SPDX-License-Identifier: MIT */
#include "subscription.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "inline.h"
#include "sequel.h"
#include "text.h"

#define BLOCKED_PAUSE_US 1000000u

bool bb_subscription_blocked(const bb_subscription *subscription, busbar_lane lane, uint64_t now_us)
{
    return now_us < subscription->blocked_until_us[lane];
}

void bb_subscription_block(bb_subscription *subscription, const busbar *bus, busbar_lane lane)
{
    subscription->blocked_until_us[lane] = bb_handle_now_us(bus) + BLOCKED_PAUSE_US;
}

/* Microseconds until a lane has something to do; 0: now. */
static uint64_t wait_of_lanes(const bb_subscription *subscription, const busbar *bus, const bb_cursor *cursors,
                              const int32_t *held)
{
    uint64_t now_us = bb_handle_now_us(bus);
    uint64_t wait_us = BUSBAR_FOREVER;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        uint64_t until_us = subscription->blocked_until_us[lane];
        uint64_t lane_us = until_us > now_us ? until_us - now_us : 0;
        if (cursors[lane].cursor < bus->heads[lane] && held[lane] == 0 && lane_us < wait_us)
            wait_us = lane_us;
    }
    return wait_us;
}

/* Open exceptions that hold their lanes up. */
static int read_held(bb_subscription *subscription, busbar *bus, int32_t out_held[BUSBAR_LANE_COUNT])
{
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        out_held[lane] = 0;
    if (subscription->worker.order != BUSBAR_ORDER_STRICT)
        return BUSBAR_OK;
    return bb_exception_count(&bus->store, subscription->worker.consumer, out_held);
}

/* What there is to do: *out_wait_us 0 for work now, else until the next retry. */
static int look_for_work(bb_subscription *subscription, busbar *bus, uint64_t *out_wait_us)
{
    bb_cursor cursors[BUSBAR_LANE_COUNT] = {{0}};
    int32_t held[BUSBAR_LANE_COUNT] = {0};
    int64_t due_ms = INT64_MAX;
    int result = bb_consumer_cursors(&bus->store, subscription->worker.consumer, cursors);
    if (result == BUSBAR_OK)
        result = bb_exception_next_due(&bus->store, subscription->worker.consumer, bus->boot.id, &due_ms);
    if (result == BUSBAR_OK)
        result = read_held(subscription, bus, held);
    if (result < 0)
        return result;
    uint64_t wait_us = bb_worker_wait_for(bus, due_ms);
    uint64_t lanes_us = wait_of_lanes(subscription, bus, cursors, held);
    if (subscription->has_unrecorded || subscription->broken)
        lanes_us = 0;
    *out_wait_us = lanes_us < wait_us ? lanes_us : wait_us;
    return BUSBAR_OK;
}

/* Another worker may have recorded more by now. */
static void forget_results(bb_subscription *subscription)
{
    free(subscription->broken);
    subscription->broken = NULL;
    subscription->has_unrecorded = false;
}

static int run(bb_worker *worker, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us)
{
    bb_subscription *subscription = (bb_subscription *)worker;
    uint64_t work_us = BUSBAR_FOREVER;
    if (!worker->lease.held)
        forget_results(subscription);
    int result = look_for_work(subscription, bus, &work_us);
    if (result < 0)
        return result;
    uint64_t lease_us = BUSBAR_FOREVER;
    result = bb_worker_hold(worker, bus, work_us == 0, &lease_us);
    if (result == BUSBAR_ELEASE) {
        *out_wait_us = lease_us;
        return BUSBAR_OK;
    }
    if (result < 0 || work_us > 0) {
        *out_wait_us = work_us;
        return result;
    }
    if (subscription->delivery == BUSBAR_OUTSIDE)
        return bb_outside_batch(subscription, bus, deadline_us, out_wait_us);
    return bb_transaction_batch(subscription, bus, deadline_us, out_wait_us);
}

static void stop(bb_worker *worker, busbar *bus)
{
    bb_subscription *subscription = (bb_subscription *)worker;
    if (subscription->has_unrecorded && worker->lease.held)
        (void)bb_outside_record(subscription, bus); /* what cannot be recorded is handled again: at least once */
}

static void free_subscription(bb_worker *worker)
{
    bb_subscription *subscription = (bb_subscription *)worker;
    bb_worker_fini(worker);
    bb_ahead_fini(&subscription->ahead);
    bb_buffer_free(&subscription->copy);
    free(subscription->broken);
    free(subscription);
}

static int watch_nothing(bb_worker *worker, busbar *bus)
{
    (void)worker;
    (void)bus;
    return 0;
}

static const bb_worker_api API = {run, stop, free_subscription, watch_nothing};

busbar_verdict bb_subscription_call(bb_subscription *subscription, busbar *bus, const busbar_record *record,
                                    busbar_reason *reason)
{
    *reason = (busbar_reason){.code = 0};
    bus->in_handler = true;
    busbar_verdict verdict = subscription->fn(bus, record, reason, subscription->ctx);
    bus->in_handler = false;
    reason->text[BUSBAR_REASON_SIZE - 1] = '\0';
    return (unsigned)verdict <= BUSBAR_WAIT ? verdict : BUSBAR_RETRY;
}

/* ---- Registering ---- */

static const busbar_handler *handler_at(const busbar_handler *handlers, size_t index)
{
    return (const busbar_handler *)((const char *)handlers + index * handlers->size);
}

static bb_worker_desc desc_of(const busbar_handler *handler)
{
    bb_worker_desc desc = {
        .name = handler->name,
        .pattern = handler->pattern,
        .class_ = BUSBAR_CLASS_SUBSCRIPTION,
        .from_beginning = handler->start == BUSBAR_START_BEGINNING,
        .retry = &handler->retry,
        .filter = handler->filter,
        .order = handler->order,
        .lanes = handler->lanes,
        .share = handler->share,
        .limit_ms = handler->limit_ms,
        .ttl_ms = handler->ttl_ms,
        .on_success = handler->on_success,
        .on_failure = handler->on_failure,
    };
    return desc;
}

static int check_handler(busbar *bus, const busbar_handler *handler)
{
    if (handler->size != sizeof *handler || !handler->fn || (unsigned)handler->start > BUSBAR_START_BEGINNING ||
        (unsigned)handler->delivery > BUSBAR_INLINE)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL,
                             "a handler has no function, a wrong size, or an unknown start or delivery");
    if (handler->name && bb_inline_named(bus->inlines, handler->name))
        return bb_store_fail(&bus->store, BUSBAR_EEXISTS, "an inline handler has this name already");
    if (handler->delivery == BUSBAR_INLINE && (handler->on_success || handler->on_failure))
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "an inline handler has no outcome events");
    bb_worker_desc desc = desc_of(handler);
    int result = bb_worker_check(bus, &desc);
    if (result == BUSBAR_OK && handler->delivery == BUSBAR_OUTSIDE)
        result = bb_worker_refuse(bus, bb_outside_refusal());
    if (result == BUSBAR_OK && (handler->on_success || handler->on_failure))
        result = bb_worker_refuse(bus, bb_sequel_refusal());
    return result;
}

static int check_all(busbar *bus, const busbar_handler *handlers, size_t count)
{
    int result = BUSBAR_OK;
    for (size_t i = 0; result == BUSBAR_OK && i < count; i++) {
        result = check_handler(bus, handler_at(handlers, i));
        for (size_t j = 0; result == BUSBAR_OK && j < i; j++) {
            if (strcmp(handler_at(handlers, i)->name, handler_at(handlers, j)->name) == 0)
                result = bb_store_fail(&bus->store, BUSBAR_EEXISTS, "two handlers of the table have the same name");
        }
    }
    return result;
}

static int make(busbar *bus, const busbar_handler *handler, bb_worker **out_worker)
{
    bb_subscription *subscription = calloc(1, sizeof *subscription);
    if (!subscription)
        return bb_store_fail_plain(&bus->store, BUSBAR_ENOMEM);
    subscription->fn = handler->fn;
    subscription->ctx = handler->ctx;
    subscription->delivery = handler->delivery;
    bb_worker_desc desc = desc_of(handler);
    int result = bb_worker_init(&subscription->worker, &API, bus, &desc);
    if (result < 0) {
        free_subscription(&subscription->worker);
        return result;
    }
    assert(out_worker);
    *out_worker = &subscription->worker;
    return BUSBAR_OK;
}

/* What a table makes, before the bus has it. */
typedef struct registration {
    bb_worker *workers; /* chained by `next` */
    bb_inline *inlines;
} registration;

/* In a transaction. */
static int make_all(busbar *bus, const busbar_handler *handlers, size_t count, registration *out)
{
    bb_worker **end = &out->workers;
    int result = bb_handle_ensure_schema(bus);
    for (size_t i = 0; result == BUSBAR_OK && i < count; i++) {
        const busbar_handler *handler = handler_at(handlers, i);
        bb_inline *made = NULL;
        if (handler->delivery != BUSBAR_INLINE) {
            result = make(bus, handler, end);
            assert(result < 0 || *end);
            end = result == BUSBAR_OK ? &(*end)->next : end;
            continue;
        }
        result = bb_inline_new(bus, handler, &made);
        bb_inline_append(&out->inlines, made);
    }
    return result;
}

static void free_chain(bb_worker *chain)
{
    while (chain) {
        bb_worker *next = chain->next;
        chain->api->free(chain);
        chain = next;
    }
}

static void hand_over(busbar *bus, const registration *made)
{
    bus->schema_confirmed = true;
    if (made->workers)
        bb_worker_enlist(made->workers, bus);
    bb_inline_append(&bus->inlines, made->inlines);
}

int busbar_subscribe(busbar *bus, const busbar_handler *handlers, size_t count)
{
    if (!bus)
        return BUSBAR_EINVAL;
    if (!handlers || count == 0 || handlers->size != sizeof *handlers)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "no handlers, or their size is not sizeof(busbar_handler)");
    int result = bb_handle_idle(bus);
    if (result == BUSBAR_OK)
        result = check_all(bus, handlers, count);
    if (result < 0)
        return result;
    registration made = {.workers = NULL};
    bb_scope scope;
    result = bb_store_enter(&bus->store, &scope);
    if (result == BUSBAR_OK)
        result = bb_store_leave(&bus->store, &scope, make_all(bus, handlers, count, &made));
    if (result < 0) {
        free_chain(made.workers);
        bb_inline_free_all(made.inlines);
        return result;
    }
    hand_over(bus, &made);
    return BUSBAR_OK;
}
