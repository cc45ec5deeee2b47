/* SPDX-License-Identifier: MIT */
#include "subscription.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define BLOCKED_PAUSE_US 1000000u

bool bb_subscription_blocked(const bb_subscription *subscription, busbar_lane lane, uint64_t now_us)
{
    return now_us < subscription->blocked_until_us[lane];
}

const char *bb_subscription_block(bb_subscription *subscription, const busbar *bus, busbar_lane lane)
{
    subscription->blocked_until_us[lane] = bb_handle_now_us(bus) + BLOCKED_PAUSE_US;
    return "1,000 events wait for retry, the most there may be: the lane waits until some are settled";
}

/* Microseconds until a lane has something to do; 0: now. */
static uint64_t wait_of_lanes(const bb_subscription *subscription, const busbar *bus, const bb_cursor *cursors)
{
    uint64_t now_us = bb_handle_now_us(bus);
    uint64_t wait_us = BUSBAR_FOREVER;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        uint64_t until_us = subscription->blocked_until_us[lane];
        uint64_t lane_us = until_us > now_us ? until_us - now_us : 0;
        if (cursors[lane].cursor < bus->heads[lane] && lane_us < wait_us)
            wait_us = lane_us;
    }
    return wait_us;
}

/* What there is to do: *out_wait_us 0 for work now, else until the next retry. */
static int look_for_work(bb_subscription *subscription, busbar *bus, uint64_t *out_wait_us)
{
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    int64_t due_ms = INT64_MAX;
    int result = bb_consumer_cursors(&bus->store, subscription->worker.consumer, cursors);
    if (result == BUSBAR_OK)
        result = bb_exception_next_due(&bus->store, subscription->worker.consumer, bus->boot.id, &due_ms);
    if (result < 0)
        return result;
    uint64_t wait_us = bb_worker_wait_for(bus, due_ms);
    uint64_t lanes_us = wait_of_lanes(subscription, bus, cursors);
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
    reason->code = 0;
    reason->text[0] = '\0';
    bus->in_handler = true;
    busbar_verdict verdict = subscription->fn(bus, record, reason, subscription->ctx);
    bus->in_handler = false;
    reason->text[BUSBAR_REASON_SIZE - 1] = '\0';
    return verdict == BUSBAR_DONE || verdict == BUSBAR_DEAD ? verdict : BUSBAR_RETRY;
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
        .retry = handler->retry,
    };
    return desc;
}

static int check_handler(busbar *bus, const busbar_handler *handler)
{
    if (handler->size != sizeof *handler || !handler->fn || (unsigned)handler->start > BUSBAR_START_BEGINNING ||
        (unsigned)handler->delivery > BUSBAR_OUTSIDE)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL,
                             "a handler has no function, a wrong size, or an unknown start or delivery");
    bb_worker_desc desc = desc_of(handler);
    return bb_worker_check(bus, &desc);
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
        return bb_store_fail(&bus->store, BUSBAR_ENOMEM, busbar_error_text(BUSBAR_ENOMEM));
    subscription->fn = handler->fn;
    subscription->ctx = handler->ctx;
    subscription->delivery = handler->delivery;
    bb_worker_desc desc = desc_of(handler);
    int result = bb_worker_init(&subscription->worker, &API, bus, &desc);
    if (result < 0) {
        free(subscription);
        return result;
    }
    *out_worker = &subscription->worker;
    return BUSBAR_OK;
}

/* Makes all workers, chained by `next`. In a transaction. */
static int make_all(busbar *bus, const busbar_handler *handlers, size_t count, bb_worker **out_chain)
{
    bb_worker **end = out_chain;
    int result = bb_handle_ensure_schema(bus);
    for (size_t i = 0; result == BUSBAR_OK && i < count; i++) {
        result = make(bus, handler_at(handlers, i), end);
        if (result == BUSBAR_OK) {
            assert(*end);
            end = &(*end)->next;
        }
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
    bb_worker *chain = NULL;
    bb_scope scope;
    result = bb_store_enter(&bus->store, &scope);
    if (result == BUSBAR_OK)
        result = bb_store_leave(&bus->store, &scope, make_all(bus, handlers, count, &chain));
    if (result < 0) {
        free_chain(chain);
        return result;
    }
    bus->schema_confirmed = true;
    bb_worker_enlist(chain, bus);
    return BUSBAR_OK;
}
